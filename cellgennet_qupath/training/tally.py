"""Matches between predicted and outlined nuclei, added up over windows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..annotations.labels import UNKNOWN
from ..metrics.matching import LabelMatching, match_labels


@dataclass(frozen=True)
class Tally:
    """Counts of nuclei at IoU 0.5 in one or more windows; tallies can be added.

    true, predicted, matched : numbers of nuclei; ``iou`` is the sum over the matched ones.
    """

    true: int = 0
    predicted: int = 0
    matched: int = 0
    iou: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.true + other.true,
            self.predicted + other.predicted,
            self.matched + other.matched,
            self.iou + other.iou,
        )

    @property
    def pq(self) -> float:
        """Panoptic quality of all nuclei together (Kirillov et al. 2019); NaN where there are none."""
        both = self.true + self.predicted
        return 2 * self.iou / both if both else math.nan


def tally(
    true: NDArray[np.integer], predicted: NDArray[np.integer], unknown: NDArray[np.bool_] | None = None
) -> Tally:
    """Match two label images of equal shape; the arguments are those of ``match_labels``."""
    return tally_of(match_labels(true, predicted, unknown))


def tally_of(matching: LabelMatching) -> Tally:
    """The counts of two label images that have been matched."""
    pairs, matches = matching.overlaps, matching.matches
    return Tally(len(pairs.true_area), len(pairs.predicted_area), len(matches), float(matches.iou.sum()))


def match_maps(labels: NDArray[np.int32], objects: NDArray[np.int32], stride: int) -> LabelMatching:
    """Match labels on the student's grid with the true objects on the image's, -1 where unknown."""
    truth = objects[::stride, ::stride]
    return match_labels(np.maximum(truth, 0), labels[: truth.shape[0], : truth.shape[1]], truth == UNKNOWN)


def tally_maps(labels: NDArray[np.int32], objects: NDArray[np.int32], stride: int) -> Tally:
    """The counts of ``match_maps``."""
    return tally_of(match_maps(labels, objects, stride))


def pooled_pq(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Panoptic quality of sums of IoU, and of true plus predicted nuclei, (..., 2); NaN of nothing."""
    with np.errstate(invalid="ignore"):
        quality: NDArray[np.float64] = 2 * sums[..., 0] / sums[..., 1]
    return quality
