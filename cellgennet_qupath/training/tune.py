"""A few thresholds, chosen on validation windows from a small grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..annotations.labels import UNKNOWN
from ..annotations.windows import Window
from ..metrics.scores import mean_scores, score

Candidate = TypeVar("Candidate")


def score_windows(
    predicted: Sequence[NDArray[np.int32]], windows: Sequence[Window], stride: int = 1
) -> dict[str, float]:
    """Mean scores of label images against windows, where the window's objects are known.

    stride : window samples per sample of ``predicted``, along each side.
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


def rounded(scores: dict[str, float]) -> dict[str, float]:
    """Scores to four digits, for files."""
    return {name: round(value, 4) for name, value in scores.items()}


def best_of(
    standard: Candidate, candidates: Sequence[Candidate], evaluate: Callable[[Candidate], dict[str, float]]
) -> tuple[Candidate, dict[str, float]]:
    """The candidate of highest PQ if it beats ``standard`` by more than chance, else that; with its scores.

    Chance is one standard error of the standard's PQ q over the n true nuclei, sqrt(q (1 - q) / n): with
    few nuclei to validate on, the rule that has worked elsewhere is kept.
    """
    scores = evaluate(standard)
    quality, nuclei = scores["pq"], scores["true_objects"]
    if not nuclei or math.isnan(quality):
        return standard, scores
    scored = [(evaluate(candidate), candidate) for candidate in candidates]
    best, chosen = max(
        scored, key=lambda pair: -1.0 if math.isnan(pair[0]["pq"]) else round(pair[0]["pq"], 4)
    )
    if best["pq"] - quality > math.sqrt(quality * (1 - quality) / nuclei):
        return chosen, best
    return standard, scores
