"""Distances between predicted and true outlines: Hausdorff distance, HD95, boundary F1."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..geometry.distance import distance_to_zero
from .matching import LabelMatching, hide_unknown

TOLERANCE = 2.0
"""Samples by which an outline may be off and still count as correct in the boundary F1."""


@dataclass(frozen=True)
class BoundaryScores:
    """Distances in samples; NaN where neither image has an outline.

    hausdorff   : the largest distance from an outline sample of one foreground to the other's outline.
    hd95        : the same with the 95th percentile instead of the maximum; the larger of both directions.
    boundary_f1 : F1 of the samples of the single objects' outlines that are within the tolerance of the
                  other image's outlines (Csurka et al. 2013).
    Where only one image has an outline, the distances are the length of the image's diagonal, the largest
    possible, and ``boundary_f1`` is 0.
    """

    hausdorff: float
    hd95: float
    boundary_f1: float


def boundary_scores(
    true: NDArray[np.integer],
    predicted: NDArray[np.integer],
    unknown: NDArray[np.bool_] | None = None,
    tolerance: float = TOLERANCE,
) -> BoundaryScores:
    """Compare the outlines of two label images; the arguments are those of ``matching.match_labels``.

    tolerance : samples, for ``boundary_f1``.
    An outline beside unknown samples may come from the cut there and is ignored. Raises ValueError where the
    shapes differ.
    """
    if true.shape != predicted.shape:
        raise ValueError(f"label images of different shape: {true.shape} and {predicted.shape}")
    if unknown is not None:
        true, predicted = hide_unknown(true, unknown), hide_unknown(predicted, unknown)
    return _scores(true, predicted, unknown, tolerance)


def matching_boundary_scores(matching: LabelMatching, tolerance: float = TOLERANCE) -> BoundaryScores:
    """The boundary scores of two label images that have been matched."""
    return _scores(matching.true, matching.predicted, matching.unknown, tolerance)


def _scores(
    true: NDArray[np.integer],
    predicted: NDArray[np.integer],
    unknown: NDArray[np.bool_] | None,
    tolerance: float,
) -> BoundaryScores:
    usable = np.ones(true.shape, bool)
    if unknown is not None:
        usable = cv2.dilate(unknown.view(np.uint8), np.ones((3, 3), np.uint8)) == 0
    here, there = (outlines(labels > 0) & usable for labels in (true, predicted))
    forward, backward = _distances(here, there), _distances(there, here)
    if not len(forward) or not len(backward):
        hausdorff = hd95 = math.hypot(*true.shape) if len(forward) or len(backward) else math.nan
    else:
        hausdorff = float(max(forward.max(), backward.max()))
        hd95 = float(max(np.percentile(forward, 95), np.percentile(backward, 95)))
    here, there = (outlines(labels) & usable for labels in (true, predicted))
    return BoundaryScores(hausdorff, hd95, _f1(_distances(here, there), _distances(there, here), tolerance))


def outlines(labels: NDArray[np.integer] | NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Samples of objects (labels above 0) with a 4-neighbour outside their object, or outside the image."""
    around = np.pad(np.maximum(labels, 0), 1)
    middle = around[1:-1, 1:-1]
    inner = np.ones(labels.shape, bool)
    for neighbour in (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]):
        inner &= neighbour == middle
    return np.asarray((middle != 0) & ~inner, bool)


def _distances(here: NDArray[np.bool_], there: NDArray[np.bool_]) -> NDArray[np.float64]:
    """From every sample of one outline to the nearest of the other; infinite if the other is empty."""
    if not there.any():
        return np.full(int(here.sum()), np.inf)
    return distance_to_zero(~there)[here]


def _f1(forward: NDArray[np.float64], backward: NDArray[np.float64], tolerance: float) -> float:
    if not len(forward) and not len(backward):
        return math.nan
    recall = float((forward <= tolerance).mean()) if len(forward) else 0.0
    precision = float((backward <= tolerance).mean()) if len(backward) else 0.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
