"""One-to-one matching of the objects of two label images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..core.lazy import lazy

if TYPE_CHECKING:
    from scipy import optimize, sparse
else:
    optimize = lazy("scipy.optimize")
    sparse = lazy("scipy.sparse")

MATCH_IOU = 0.5
"""IoU from which a predicted object counts as a detection of the true one."""

_TABLE_LIMIT = 1 << 24
"""Up to this highest label a lookup table of all labels is built; above it, the labels are sorted."""


@dataclass(frozen=True)
class Overlaps:
    """Every pair of objects that share a sample, of n true and m predicted objects.

    true, predicted             : (k,) int64 rows of the pairs: 0 ... n - 1 and 0 ... m - 1.
    intersection                : (k,) int64 shared samples.
    true_area, predicted_area   : (n,) and (m,) int64 samples of every object.
    true_label, predicted_label : (n,) and (m,) int64 their labels in the label images.

    Rows are in the order of ``objects``, and pairs in the order of their rows.
    """

    true: NDArray[np.int64]
    predicted: NDArray[np.int64]
    intersection: NDArray[np.int64]
    true_area: NDArray[np.int64]
    predicted_area: NDArray[np.int64]
    true_label: NDArray[np.int64]
    predicted_label: NDArray[np.int64]

    @property
    def union(self) -> NDArray[np.int64]:
        """(k,) samples in either object of each pair."""
        areas: NDArray[np.int64] = self.true_area[self.true] + self.predicted_area[self.predicted]
        return areas - self.intersection

    @property
    def iou(self) -> NDArray[np.float64]:
        """(k,) intersection over union of each pair."""
        return np.asarray(self.intersection / self.union, np.float64)


@dataclass(frozen=True)
class Matches:
    """Pairs in which each object occurs at most once: rows of ``Overlaps`` and their IoU, (k,) each."""

    true: NDArray[np.int64]
    predicted: NDArray[np.int64]
    iou: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.iou)


@dataclass(frozen=True)
class LabelMatching:
    """Two label images matched: computed once, and the source of every score that compares them.

    true, predicted : integer (h, w), without what is unknown (see ``hide_unknown``).
    unknown         : bool (h, w); None where everything is known.
    overlaps        : every pair of overlapping objects.
    matches         : the pairs at IoU 0.5 (``MATCH_IOU``).
    """

    true: NDArray[np.integer]
    predicted: NDArray[np.integer]
    unknown: NDArray[np.bool_] | None
    overlaps: Overlaps
    matches: Matches

    @property
    def outcome(self) -> Outcome:
        """Which objects were detected, missed, correct and false positives."""
        detected = self.overlaps.true_label[self.matches.true]
        correct = self.overlaps.predicted_label[self.matches.predicted]
        return Outcome(
            detected=detected,
            missed=np.setdiff1d(self.overlaps.true_label, detected),
            correct=correct,
            false_positive=np.setdiff1d(self.overlaps.predicted_label, correct),
        )


@dataclass(frozen=True)
class Outcome:
    """Labels of the true objects that were detected or missed, and of the predicted objects that are
    correct or false positives, int64 (k,) each."""

    detected: NDArray[np.int64]
    missed: NDArray[np.int64]
    correct: NDArray[np.int64]
    false_positive: NDArray[np.int64]


def match_labels(
    true: NDArray[np.integer],
    predicted: NDArray[np.integer],
    unknown: NDArray[np.bool_] | None = None,
) -> LabelMatching:
    """Match a predicted label image with the true one.

    true, predicted : integer (h, w), 0 for background.
    unknown         : bool (h, w), where nothing is known: objects with more than half of their samples
                      there are left out on both sides; other objects lose the samples there.
    Raises ValueError where the shapes differ.
    """
    if unknown is not None:
        true, predicted = hide_unknown(true, unknown), hide_unknown(predicted, unknown)
    pairs = overlaps(true, predicted)
    return LabelMatching(true, predicted, unknown, pairs, match(pairs, MATCH_IOU))


def hide_unknown(labels: NDArray[np.integer], unknown: NDArray[np.bool_]) -> NDArray[np.integer]:
    """Labels without what is unknown: 0 there, without objects of which more than half is unknown."""
    number, row, area = objects(labels)
    hidden = np.bincount(row[unknown & (row >= 0)], minlength=len(number))
    # Row -1, the background, is the last of the table.
    kept = np.append(np.where(2 * hidden > area, 0, number), 0)
    return np.where(unknown, 0, kept[row])


def overlaps(true: NDArray[np.integer], predicted: NDArray[np.integer]) -> Overlaps:
    """The overlaps of two label images of equal shape; 0 (and below) is background.

    Raises ValueError where the shapes differ.
    """
    if true.shape != predicted.shape:
        raise ValueError(f"label images of different shape: {true.shape} and {predicted.shape}")
    true_label, true_row, true_area = objects(true)
    predicted_label, predicted_row, predicted_area = objects(predicted)
    both = (true_row >= 0) & (predicted_row >= 0)
    # A sparse matrix sums equal pairs without sorting every sample.
    shared = sparse.coo_array(
        (np.ones(int(both.sum()), np.int32), (true_row[both], predicted_row[both])),
        shape=(max(len(true_label), 1), max(len(predicted_label), 1)),
    ).tocsr()
    shared.sort_indices()
    rows = np.repeat(np.arange(shared.shape[0]), np.diff(shared.indptr))
    return Overlaps(
        rows.astype(np.int64),
        shared.indices.astype(np.int64),
        shared.data.astype(np.int64),
        true_area,
        predicted_area,
        true_label,
        predicted_label,
    )


def match(pairs: Overlaps, threshold: float) -> Matches:
    """The pairs of IoU at or above a threshold: as many as possible, then of the highest total IoU.

    Above 0.5 no object can be in two such pairs; below, the assignment problem is solved. Of several equally
    good solutions, the one taken depends on the position of the objects, not on their labels.
    """
    iou = pairs.iou
    kept = np.flatnonzero(iou >= threshold)
    rows, columns = pairs.true[kept], pairs.predicted[kept]
    rival = (np.bincount(rows)[rows] > 1) | (np.bincount(columns)[columns] > 1)
    chosen = np.sort(
        np.concatenate([kept[~rival], kept[rival][_assign(rows[rival], columns[rival], iou[kept[rival]])]])
    )
    return Matches(pairs.true[chosen], pairs.predicted[chosen], iou[chosen])


def _assign(
    rows: NDArray[np.int64], columns: NDArray[np.int64], iou: NDArray[np.float64]
) -> NDArray[np.intp]:
    """The pairs to keep so that each row and column occurs at most once: most pairs, then highest IoU."""
    if not len(rows):
        return np.empty(0, np.intp)
    _, row = np.unique(rows, return_inverse=True)
    _, column = np.unique(columns, return_inverse=True)
    shape = (row.max() + 1, column.max() + 1)
    gain = np.zeros(shape)
    gain[row, column] = 1 + iou / (2 * min(shape))
    pair_at = np.full(shape, -1, np.intp)
    pair_at[row, column] = np.arange(len(rows))
    taken = pair_at[optimize.linear_sum_assignment(gain, maximize=True)]
    return taken[taken >= 0]


def objects(
    labels: NDArray[np.integer],
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """The objects of a label image: their labels (n,), the row of each sample's object (h, w), -1 for
    background (0 and below), and their areas in samples (n,).

    Rows are in the order of each object's first sample, row by row. So nothing that is computed from rows,
    not even the choice between equal candidates or the order of a sum, depends on how objects are numbered.
    """
    flat = labels.reshape(-1)
    highest = int(labels.max(initial=0))
    if highest <= _TABLE_LIMIT:
        flat = np.maximum(flat, 0)
        area = np.bincount(flat, minlength=highest + 1)
        first = np.full(highest + 1, -1, np.int64)
        # Of repeated indices the last assignment holds: the first sample, seen from the end.
        first[flat[::-1]] = np.arange(len(flat) - 1, -1, -1)
        area[0] = 0
        number = np.flatnonzero(area)
        number = number[np.argsort(first[number])]
        row_of = np.full(highest + 1, -1, np.int32)
        row_of[number] = np.arange(len(number), dtype=np.int32)
        return number.astype(np.int64), row_of[flat].reshape(labels.shape), area[number].astype(np.int64)
    values, begin, inverse, counted = np.unique(
        flat, return_index=True, return_inverse=True, return_counts=True
    )
    background = int(np.searchsorted(values, 1))
    order = background + np.argsort(begin[background:])
    rank = np.full(len(values), -1, np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return (
        values[order].astype(np.int64),
        rank[inverse].reshape(labels.shape),
        counted[order].astype(np.int64),
    )
