"""What went wrong with the nuclei that do not match: merged, split, or detected where there is none.

At IoU 0.5, from overlaps alone. A nucleus has at most one kind: merged before split.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .matching import Matches, Overlaps

HALF = 0.5


@dataclass(frozen=True)
class ErrorKinds:
    """Labels of objects by kind of error, int64 (k,) each.

    merged : true objects that do not match, half of which is in a predicted object that matches none and
             contains half of another true object too.
    split  : other true objects that do not match, with two or more predicted objects half inside them.
    false  : predicted objects that match none and are less than half inside true objects.
    """

    merged: NDArray[np.int64]
    split: NDArray[np.int64]
    false: NDArray[np.int64]


def error_kinds(pairs: Overlaps, matches: Matches) -> ErrorKinds:
    """The kinds of error of two label images whose objects have been matched (``matching.match_labels``)."""
    unmatched_true = _others(len(pairs.true_area), matches.true)
    unmatched = _others(len(pairs.predicted_area), matches.predicted)
    covered = pairs.intersection >= HALF * pairs.true_area[pairs.true]
    together = np.bincount(pairs.predicted[covered], minlength=len(unmatched)) >= 2
    by_one = covered & (unmatched & together)[pairs.predicted] & unmatched_true[pairs.true]
    merged = np.zeros(len(unmatched_true), np.bool_)
    merged[pairs.true[by_one]] = True
    inside = pairs.intersection >= HALF * pairs.predicted_area[pairs.predicted]
    parts = np.bincount(pairs.true[inside], minlength=len(merged))
    split = unmatched_true & ~merged & (parts >= 2)
    on_nuclei = np.bincount(pairs.predicted, pairs.intersection, minlength=len(unmatched))
    false = unmatched & (on_nuclei < HALF * pairs.predicted_area)
    return ErrorKinds(pairs.true_label[merged], pairs.true_label[split], pairs.predicted_label[false])


def _others(number: int, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Of so many rows those that are not among ``rows``, as a mask."""
    mask = np.ones(number, np.bool_)
    mask[rows] = False
    return mask
