"""Scores of a segmentation against the ground truth, per image and averaged over images.

Where neither image contains an object the scores are NaN (undefined); where only one does they are 0.
Means over images ignore NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .error_kinds import error_kinds
from .matching import MATCH_IOU, LabelMatching, Matches, Overlaps, match, match_labels

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Counts:
    """True positives, false negatives and false positives at one IoU threshold."""

    true_positive: int
    false_negative: int
    false_positive: int

    @property
    def precision(self) -> float:
        """TP / (TP + FP): share of the predicted objects that match a true one."""
        return _ratio(self.true_positive, self.true_positive + self.false_positive, self._total)

    @property
    def recall(self) -> float:
        """TP / (TP + FN): share of the true objects that were detected."""
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
    """The scores of one image.

    dice, iou  : of foreground against background, in samples.
    tpr, fpr   : true positive rate (share of the true foreground predicted as such) and false positive rate
                 (share of the true background predicted as foreground), in samples; NaN where there is no
                 true foreground or background.
    aji        : aggregated Jaccard index (Kumar et al. 2017): every true object is paired with the
                 predicted one of highest IoU, which may be used more than once. Where several have the
                 highest IoU, the choice depends on their size and position, not on their labels.
    pq, sq, rq : panoptic quality at IoU 0.5 and its factors (Kirillov et al. 2019): the mean IoU of the
                 matched objects, and their F1.
    merged_objects, split_objects : true objects that were merged with others, or split (``error_kinds``).
    false_objects                 : predicted objects where there is no true one.
    counts                        : IoU threshold -> TP, FN and FP.
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
    merged_objects: int
    split_objects: int
    false_objects: int
    counts: dict[float, Counts] = field(default_factory=dict)

    @property
    def count_error(self) -> float:
        """(predicted - true) / true objects; NaN without true objects."""
        if not self.true_objects:
            return math.nan
        return (self.predicted_objects - self.true_objects) / self.true_objects

    def as_dict(self) -> dict[str, float]:
        """All scores by name, for a table or JSON; F1, precision and recall as ``f1@0.5`` and so on."""
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
            "merged_objects": self.merged_objects,
            "split_objects": self.split_objects,
            "false_objects": self.false_objects,
        }
        for threshold, counts in self.counts.items():
            flat[f"f1@{threshold:g}"] = counts.f1
            flat[f"precision@{threshold:g}"] = counts.precision
            flat[f"recall@{threshold:g}"] = counts.recall
        return flat


def score(
    true: NDArray[np.integer],
    predicted: NDArray[np.integer],
    unknown: NDArray[np.bool_] | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Scores:
    """Score a predicted label image against the true one; the arguments are those of ``match_labels``.

    Raises ValueError where the shapes differ.
    """
    return score_matching(match_labels(true, predicted, unknown), thresholds)


def score_matching(matching: LabelMatching, thresholds: Sequence[float] = THRESHOLDS) -> Scores:
    """The scores of two label images that have been matched."""
    pairs, matches = matching.overlaps, matching.matches
    counts = {t: _count(pairs, matches if t == MATCH_IOU else match(pairs, t)) for t in thresholds}
    at_half = _count(pairs, matches)
    kinds = error_kinds(pairs, matches)
    something = len(pairs.true_area) + len(pairs.predicted_area)
    quality = float(matches.iou.mean()) if len(matches) else _ratio(0, 0, something)
    shared = int(pairs.intersection.sum())
    foreground, predicted = int(pairs.true_area.sum()), int(pairs.predicted_area.sum())
    areas = foreground + predicted
    unknown = 0 if matching.unknown is None else int(matching.unknown.sum())
    background = matching.true.size - unknown - foreground
    return Scores(
        dice=_ratio(2 * shared, areas, something),
        iou=_ratio(shared, areas - shared, something),
        tpr=_ratio(shared, foreground, 0),
        fpr=_ratio(predicted - shared, background, 0),
        aji=_aggregated_jaccard(pairs),
        pq=quality * at_half.f1,
        sq=quality,
        rq=at_half.f1,
        true_objects=len(pairs.true_area),
        predicted_objects=len(pairs.predicted_area),
        merged_objects=len(kinds.merged),
        split_objects=len(kinds.split),
        false_objects=len(kinds.false),
        counts=counts,
    )


def mean_scores(scores: Sequence[Scores]) -> dict[str, float]:
    """The mean over images of every number in ``Scores.as_dict``, ignoring NaN; object counts are summed."""
    tables = [one.as_dict() for one in scores]
    means: dict[str, float] = {}
    for name in tables[0] if tables else ():
        known = [table[name] for table in tables if not math.isnan(table[name])]
        if name.endswith("_objects"):
            means[name] = sum(known)
        else:
            means[name] = sum(known) / len(known) if known else math.nan
    return means


def _count(pairs: Overlaps, matches: Matches) -> Counts:
    matched = len(matches)
    return Counts(matched, len(pairs.true_area) - matched, len(pairs.predicted_area) - matched)


def _aggregated_jaccard(pairs: Overlaps) -> float:
    """AJI; of several predicted objects with the highest IoU, the one whose union with the true object is
    smallest counts, and of equal ones the first in the image (the order of ``objects``)."""
    order = np.lexsort((pairs.predicted, pairs.union, -pairs.iou, pairs.true))
    true, first = np.unique(pairs.true[order], return_index=True)
    best = order[first]
    used = np.unique(pairs.predicted[best])
    missed = pairs.true_area.sum() - pairs.true_area[true].sum()
    unused = pairs.predicted_area.sum() - pairs.predicted_area[used].sum()
    union = int(pairs.union[best].sum() + missed + unused)
    return _ratio(int(pairs.intersection[best].sum()), union, union)


def _ratio(numerator: float, denominator: float, something: int) -> float:
    """The quotient; 0 / 0 is NaN where there are no objects at all and 0 otherwise."""
    if denominator:
        return numerator / denominator
    return 0.0 if something else math.nan
