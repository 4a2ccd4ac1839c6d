"""How far predicted outlines lie from the true ones: Hausdorff distance, HD95, boundary F1."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .scores import hide_unknown

TOLERANCE = 2.0
"""Samples by which an outline may lie off and still count as right in the boundary F1."""


@dataclass(frozen=True)
class BoundaryScores:
    """Distances in samples; NaN where neither image has an outline.

    hausdorff   : the largest distance from an outline sample of one foreground to the other's outline.
    hd95        : the same with the 95th percentile in place of the maximum, the larger of both directions.
    boundary_f1 : of the outlines of single objects: F1 of the samples that lie within the tolerance of the
                  other's outlines (Csurka et al. 2013).
    Where only one image has an outline, the distances are the length of the image's diagonal (there is
    no larger one in it) and boundary_f1 is 0.
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
    """Compare the outlines of two label images.

    true, predicted : integer (h, w), 0 for background.
    unknown         : bool (h, w), where nothing is known, as in ``metrics.score``; an outline beside
                      unknown samples may be the work of the cut and does not count.
    tolerance       : samples, for boundary_f1.
    Raises ValueError where the shapes differ.
    """
    if true.shape != predicted.shape:
        raise ValueError(f"label images of different shape: {true.shape} and {predicted.shape}")
    usable = np.ones(true.shape, bool)
    if unknown is not None:
        true, predicted = hide_unknown(true, unknown), hide_unknown(predicted, unknown)
        usable = cv2.dilate(unknown.view(np.uint8), np.ones((3, 3), np.uint8)) == 0
    here, there = (outlines(labels > 0) & usable for labels in (true, predicted))
    forth, back = _distances(here, there), _distances(there, here)
    diagonal = math.hypot(*true.shape)
    if not len(forth) or not len(back):
        hausdorff = hd95 = diagonal if len(forth) or len(back) else math.nan
    else:
        hausdorff = float(max(forth.max(), back.max()))
        hd95 = float(max(np.percentile(forth, 95), np.percentile(back, 95)))
    here, there = (outlines(labels) & usable for labels in (true, predicted))
    return BoundaryScores(hausdorff, hd95, _f1(_distances(here, there), _distances(there, here), tolerance))


def outlines(labels: NDArray[np.integer] | NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Samples of objects with a 4-neighbour outside their object, or outside the image."""
    around = np.pad(labels, 1)
    middle = around[1:-1, 1:-1]
    inner = np.ones(labels.shape, bool)
    for neighbour in (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]):
        inner &= neighbour == middle
    return np.asarray((middle != 0) & ~inner, bool)


def _distances(here: NDArray[np.bool_], there: NDArray[np.bool_]) -> NDArray[np.float64]:
    """From every sample of one outline to the nearest of the other; infinite where there is none."""
    if not there.any():
        return np.full(int(here.sum()), np.inf)
    away = cv2.distanceTransform((~there).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(away[here], np.float64)


def _f1(forth: NDArray[np.float64], back: NDArray[np.float64], tolerance: float) -> float:
    if not len(forth) and not len(back):
        return math.nan
    recall = float((forth <= tolerance).mean()) if len(forth) else 0.0
    precision = float((back <= tolerance).mean()) if len(back) else 0.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
