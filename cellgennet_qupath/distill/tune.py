"""Few thresholds, chosen on validation windows from a small grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..evaluate.metrics import mean_scores, score
from ..supervision.labels import UNKNOWN
from ..supervision.windows import LabelledWindow

Candidate = TypeVar("Candidate")


def score_windows(
    predicted: Sequence[NDArray[np.int32]], windows: Sequence[LabelledWindow], stride: int = 1
) -> dict[str, float]:
    """Mean scores of label images against windows, where objects are known.

    ``stride`` is the number of window samples per sample of ``predicted``.
    """
    scores = []
    for labels, window in zip(predicted, windows, strict=True):
        truth = window.labels.objects[::stride, ::stride]
        unknown = truth == UNKNOWN
        guess = labels[: truth.shape[0], : truth.shape[1]]
        scores.append(score(np.maximum(truth, 0), guess, unknown, thresholds=(0.5, 0.7)))
    return mean_scores(scores)


def sentence(scores: dict[str, float]) -> str:
    """Scores for a message."""
    return (
        f"PQ {scores['pq']:.3f}, AJI {scores['aji']:.3f}, F1@0.5 {scores['f1@0.5']:.3f}, "
        f"Dice {scores['dice']:.3f}"
    )


def best_of(
    candidates: Sequence[Candidate], evaluate: Callable[[Candidate], dict[str, float]]
) -> tuple[Candidate, dict[str, float]]:
    """The candidate with the highest PQ and its scores; of equals the one nearest the middle of the list."""
    scored = [(evaluate(c), -abs(i - len(candidates) / 2), i) for i, c in enumerate(candidates)]
    top = max(scored, key=lambda s: (round(s[0]["pq"], 4) if s[0]["pq"] == s[0]["pq"] else -1.0, s[1]))
    return candidates[top[2]], top[0]
