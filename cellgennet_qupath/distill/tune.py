"""Few thresholds, chosen on validation windows from a small grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..evaluate.metrics import aggregated_jaccard, dice, f1_score, panoptic_quality
from ..supervision.windows import LabelledWindow

Candidate = TypeVar("Candidate")


@dataclass(frozen=True)
class Scores:
    """Means over windows; see ``evaluate.metrics`` for the definitions."""

    pq: float
    aji: float
    f1: float
    dice: float

    def sentence(self) -> str:
        """The scores for a message."""
        return f"PQ {self.pq:.3f}, AJI {self.aji:.3f}, F1@0.5 {self.f1:.3f}, Dice {self.dice:.3f}"

    def as_dict(self) -> dict[str, float]:
        """The scores for a card, rounded to what they are worth."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def score_windows(
    predicted: Sequence[NDArray[np.int32]], windows: Sequence[LabelledWindow], stride: int = 1
) -> Scores:
    """Scores of label images against windows, where objects are known.

    Predicted objects that lie for the most part on unknown samples count neither for nor against.
    ``stride`` is the number of window samples per sample of ``predicted``.
    """
    rows = []
    for labels, window in zip(predicted, windows, strict=True):
        truth = window.labels.objects[::stride, ::stride]
        unknown = truth < 0
        guess = _known_objects(labels[: truth.shape[0], : truth.shape[1]], unknown)
        truth = np.maximum(truth, 0)
        if truth.any():
            rows.append(
                (
                    panoptic_quality(truth, guess).pq,
                    aggregated_jaccard(truth, guess),
                    f1_score(truth, guess, 0.5),
                    dice(truth > 0, guess > 0),
                )
            )
    return Scores(*(float(v) for v in np.mean(rows, axis=0))) if rows else Scores(0.0, 0.0, 0.0, 0.0)


def _known_objects(labels: NDArray[np.int32], unknown: NDArray[np.bool_]) -> NDArray[np.int32]:
    count = int(labels.max(initial=0)) + 1
    area = np.bincount(labels.ravel(), minlength=count)
    hidden = np.bincount(labels[unknown], minlength=count)
    keep = hidden * 2 <= area
    keep[0] = False
    return np.where(keep[labels] & ~unknown, labels, 0).astype(np.int32)


def best_of(
    candidates: Sequence[Candidate], score: Callable[[Candidate], Scores]
) -> tuple[Candidate, Scores]:
    """The candidate with the highest PQ; of equals the one nearest to the middle of the list."""
    scored = [(score(c), -abs(i - len(candidates) / 2), i) for i, c in enumerate(candidates)]
    top = max(scored, key=lambda s: (round(s[0].pq, 4), s[1]))
    return candidates[top[2]], top[0]
