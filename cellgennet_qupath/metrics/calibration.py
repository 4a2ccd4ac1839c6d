"""Calibration of probabilities: of the nuclei with a probability of 80 %, are 80 % true?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .matching import LabelMatching

BINS = 10


@dataclass(frozen=True)
class CalibrationCurve:
    """Predicted nuclei binned by probability, in bins of equal width; empty bins are left out.

    probability : float64 (b,) mean probability of each bin.
    correct     : float64 (b,) share of the bin's nuclei that match a true one at IoU 0.5.
    count       : int64 (b,) nuclei.
    """

    probability: NDArray[np.float64]
    correct: NDArray[np.float64]
    count: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error: mean |probability - correct|, weighted by nuclei; NaN without any."""
        if not self.count.sum():
            return float("nan")
        return float(np.average(np.abs(self.probability - self.correct), weights=self.count))

    @property
    def bias(self) -> float:
        """Mean of probability - correct, weighted by nuclei: above 0 is overconfident; NaN without any."""
        if not self.count.sum():
            return float("nan")
        return float(np.average(self.probability - self.correct, weights=self.count))


def correctness(
    matching: LabelMatching, probability: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Probability of each predicted nucleus, and whether it matches a true one at IoU 0.5, (k,) each.

    probability : (n,) of the nuclei labelled 1 ... n; nuclei with NaN are left out.
    """
    labels = matching.overlaps.predicted_label
    correct = np.zeros(len(labels), bool)
    correct[matching.matches.predicted] = True
    own = np.asarray(probability, np.float64)[labels - 1]
    known = ~np.isnan(own)
    return own[known], correct[known]


def calibration_curve(
    probability: NDArray[np.floating], correct: NDArray[np.bool_], bins: int = BINS
) -> CalibrationCurve:
    """Bin nuclei by probability (n,); ``correct`` (n,) says which of them match a true one."""
    row = np.minimum((np.asarray(probability) * bins).astype(np.intp), bins - 1)
    count = np.bincount(row, minlength=bins)
    filled = count > 0
    mean = np.bincount(row, weights=probability, minlength=bins)[filled] / count[filled]
    share = np.bincount(row, weights=correct, minlength=bins)[filled] / count[filled]
    return CalibrationCurve(mean, share, count[filled].astype(np.int64))
