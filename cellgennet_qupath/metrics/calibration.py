"""Does a probability mean what it says: of nuclei given 80 %, are 80 % true?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .matching import match, overlaps
from .scores import hide_unknown

BINS = 10


@dataclass(frozen=True)
class Reliability:
    """Predicted nuclei by their probability, in bins of equal width; empty bins are left out.

    probability : (b,) mean probability in each bin.
    correct     : (b,) share of the bin's nuclei that match a true one at IoU 0.5.
    count       : (b,) nuclei.
    """

    probability: NDArray[np.float64]
    correct: NDArray[np.float64]
    count: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error: the mean distance of both, weighted by the nuclei. NaN without any."""
        if not self.count.sum():
            return float("nan")
        return float(np.average(np.abs(self.probability - self.correct), weights=self.count))

    @property
    def bias(self) -> float:
        """Mean probability minus the share of true ones: above 0 is overconfident."""
        if not self.count.sum():
            return float("nan")
        return float(np.average(self.probability - self.correct, weights=self.count))


def correctness(
    true: NDArray[np.integer],
    predicted: NDArray[np.integer],
    probability: NDArray[np.floating],
    unknown: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Probability, and whether it matches a true nucleus at IoU 0.5, of each known predicted nucleus.

    probability : (n,) of the nuclei labelled 1 ... n; those with NaN are left out.
    """
    if unknown is not None:
        true, predicted = hide_unknown(true, unknown), hide_unknown(predicted, unknown)
    pairs = overlaps(true, predicted)
    right = np.zeros(len(pairs.predicted_label), bool)
    right[match(pairs, 0.5).predicted] = True
    stated = np.asarray(probability, np.float64)[pairs.predicted_label - 1]
    known = ~np.isnan(stated)
    return stated[known], right[known]


def reliability(probability: NDArray[np.floating], right: NDArray[np.bool_], bins: int = BINS) -> Reliability:
    """Bin (n,) probabilities and whether each nucleus is a true one."""
    row = np.minimum((np.asarray(probability) * bins).astype(np.intp), bins - 1)
    count = np.bincount(row, minlength=bins)
    kept = count > 0
    mean = np.bincount(row, weights=probability, minlength=bins)[kept] / count[kept]
    share = np.bincount(row, weights=right, minlength=bins)[kept] / count[kept]
    return Reliability(mean, share, count[kept].astype(np.int64))
