"""Scores of a segmentation against the truth, per image and over images.

With both images empty of nuclei the scores are NaN (there is nothing to be right or wrong about);
with one of them empty they are 0. Means over images leave NaN out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .matching import Overlaps, match, objects, overlaps

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Counts:
    """Objects found (matched), missed and invented at one IoU threshold."""

    true_positive: int
    false_negative: int
    false_positive: int

    @property
    def precision(self) -> float:
        """Share of the predicted objects that are true."""
        return _ratio(self.true_positive, self.true_positive + self.false_positive, self._total)

    @property
    def recall(self) -> float:
        """Share of the true objects that were found."""
        return _ratio(self.true_positive, self.true_positive + self.false_negative, self._total)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN)."""
        return _ratio(2 * self.true_positive, self.true_positive + self._total, self._total)

    @property
    def _total(self) -> int:
        return self.true_positive + self.false_negative + self.false_positive


@dataclass(frozen=True)
class Scores:
    """How well one image was segmented.

    dice, iou  : of foreground against background, in samples.
    tpr, fpr   : share of the true foreground that was found, and of the true background that was taken
                 for foreground, in samples; NaN where there is no such foreground or background.
    aji        : aggregated Jaccard index (Kumar et al. 2017): every true object with the predicted
                 one of highest IoU, which may serve twice.
    pq, sq, rq : panoptic quality at IoU 0.5 and its factors (Kirillov et al. 2019): the mean IoU of the
                 matched objects, and their F1.
    counts     : IoU threshold -> objects found, missed and invented.
    """

    dice: float
    iou: float
    tpr: float
    fpr: float
    aji: float
    pq: float
    sq: float
    rq: float
    true_objects: int
    predicted_objects: int
    counts: dict[float, Counts] = field(default_factory=dict)

    @property
    def count_error(self) -> float:
        """Predicted minus true objects, as a share of the true ones; NaN where there is none."""
        if not self.true_objects:
            return math.nan
        return (self.predicted_objects - self.true_objects) / self.true_objects

    def as_dict(self) -> dict[str, float]:
        """Flat, for a table or JSON; F1, precision and recall as ``f1@0.5`` and so on."""
        flat: dict[str, float] = {
            "f1@0.5": self.rq,
            "aji": self.aji,
            "pq": self.pq,
            "sq": self.sq,
            "rq": self.rq,
            "dice": self.dice,
            "iou": self.iou,
            "tpr": self.tpr,
            "fpr": self.fpr,
            "count_error": self.count_error,
            "true_objects": self.true_objects,
            "predicted_objects": self.predicted_objects,
        }
        for threshold, found in self.counts.items():
            flat[f"f1@{threshold:g}"] = found.f1
            flat[f"precision@{threshold:g}"] = found.precision
            flat[f"recall@{threshold:g}"] = found.recall
        return flat


def score(
    true: NDArray[np.integer],
    predicted: NDArray[np.integer],
    unknown: NDArray[np.bool_] | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Scores:
    """Compare a label image with the true one.

    true, predicted : integer (h, w), 0 for background.
    unknown         : bool (h, w), where nothing is known: objects with more than half of their samples
                      there are left out on both sides, of the others those samples are.
    Raises ValueError where the shapes differ.
    """
    if unknown is not None:
        true, predicted = hide_unknown(true, unknown), hide_unknown(predicted, unknown)
    pairs = overlaps(true, predicted)
    counts = {threshold: _count(pairs, threshold) for threshold in thresholds}
    matches = match(pairs, 0.5)
    objects = _count(pairs, 0.5)
    something = len(pairs.true_area) + len(pairs.predicted_area)
    quality = float(matches.iou.mean()) if len(matches) else _ratio(0, 0, something)
    shared = int(pairs.intersection.sum())
    foreground, painted = int(pairs.true_area.sum()), int(pairs.predicted_area.sum())
    areas = foreground + painted
    background = true.size - (0 if unknown is None else int(unknown.sum())) - foreground
    return Scores(
        dice=_ratio(2 * shared, areas, something),
        iou=_ratio(shared, areas - shared, something),
        tpr=_ratio(shared, foreground, 0),
        fpr=_ratio(painted - shared, background, 0),
        aji=_aggregated_jaccard(pairs),
        pq=quality * objects.f1,
        sq=quality,
        rq=objects.f1,
        true_objects=len(pairs.true_area),
        predicted_objects=len(pairs.predicted_area),
        counts=counts,
    )


def mean_scores(scores: Sequence[Scores]) -> dict[str, float]:
    """The mean over images of every number in ``Scores.as_dict``, NaN left out; object counts summed."""
    tables = [one.as_dict() for one in scores]
    means: dict[str, float] = {}
    for name in tables[0] if tables else ():
        known = [table[name] for table in tables if not math.isnan(table[name])]
        if name.endswith("_objects"):
            means[name] = sum(known)
        else:
            means[name] = sum(known) / len(known) if known else math.nan
    return means


def _count(pairs: Overlaps, threshold: float) -> Counts:
    found = len(match(pairs, threshold))
    return Counts(found, len(pairs.true_area) - found, len(pairs.predicted_area) - found)


def _aggregated_jaccard(pairs: Overlaps) -> float:
    order = np.lexsort((-pairs.iou, pairs.true))
    true, first = np.unique(pairs.true[order], return_index=True)
    best = order[first]
    used = np.unique(pairs.predicted[best])
    missed = pairs.true_area.sum() - pairs.true_area[true].sum()
    invented = pairs.predicted_area.sum() - pairs.predicted_area[used].sum()
    below = int(pairs.union[best].sum() + missed + invented)
    return _ratio(int(pairs.intersection[best].sum()), below, below)


def hide_unknown(labels: NDArray[np.integer], unknown: NDArray[np.bool_]) -> NDArray[np.integer]:
    """Labels without what is unknown: 0 there, and without objects more than half of which lie there."""
    number, row, area = objects(labels)
    hidden = np.bincount(row[unknown & (row >= 0)], minlength=len(number))
    # Row -1, the background, is the last of the table.
    kept = np.append(np.where(2 * hidden > area, 0, number), 0)
    return np.where(unknown, 0, kept[row])


def _ratio(above: float, below: float, something: int) -> float:
    """above / below; where that is 0 / 0, NaN if there is nothing at all and 0 otherwise."""
    if below:
        return above / below
    return 0.0 if something else math.nan
