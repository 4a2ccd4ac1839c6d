"""Is one method better than another, by how much, and how sure is that: tests over images.

Methods are run on the same images, so the signed-rank test of the paired differences is the one to go
by. The unpaired Mann-Whitney U test stands beside it because the literature reports it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

RESAMPLES = 2000


@dataclass(frozen=True)
class Comparison:
    """Two methods by one metric, over the n images on which it is defined for both.

    difference, low, high : mean of first minus second, and its 95 % bootstrap interval.
    mann_whitney          : p of the Mann-Whitney U test, two-sided; stars of it as figures show them.
    cliffs_delta          : effect size of that test: how much more often a value of the first is higher
                            than one of the second than lower, -1 to 1.
    wilcoxon, holm        : p of the Wilcoxon signed-rank test of the pairs, two-sided; the same after
                            Holm's correction for all comparisons by this metric.
    rank_biserial         : effect size of that test: the share of rank sums in favour of the first minus
                            that in favour of the second, -1 to 1.
    """

    metric: str
    first: str
    second: str
    images: int
    difference: float
    low: float
    high: float
    mann_whitney: float
    cliffs_delta: float
    wilcoxon: float
    holm: float
    rank_biserial: float

    @property
    def stars(self) -> str:
        """Stars of the Mann-Whitney test."""
        return stars(self.mann_whitney)


def compare(metric: str, values: Mapping[str, ArrayLike]) -> list[Comparison]:
    """Every pair of methods by one metric.

    values : method -> its value on each image, the same images in the same order; NaN where undefined.
    """
    columns = {name: np.asarray(column, np.float64) for name, column in values.items()}
    pairs = list(combinations(columns, 2))
    both = [_defined(columns[a], columns[b]) for a, b in pairs]
    corrected = holm([wilcoxon(x, y)[0] for x, y in both])
    found = []
    for (a, b), (x, y), after in zip(pairs, both, corrected, strict=True):
        unpaired, delta = mann_whitney(x, y)
        paired, biserial = wilcoxon(x, y)
        low, high = bootstrap_interval(x - y)
        difference = float((x - y).mean()) if len(x) else math.nan
        found.append(
            Comparison(metric, a, b, len(x), difference, low, high, unpaired, delta, paired, after, biserial)
        )
    return found


def mann_whitney(first: ArrayLike, second: ArrayLike) -> tuple[float, float]:
    """Two-sided p of the Mann-Whitney U test, and Cliff's delta. NaN without values."""
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if not len(x) or not len(y):
        return math.nan, math.nan
    if np.ptp(np.concatenate([x, y])) == 0:
        return 1.0, 0.0
    result = stats.mannwhitneyu(x, y, alternative="two-sided")
    return float(result.pvalue), float(2 * result.statistic / (len(x) * len(y)) - 1)


def wilcoxon(first: ArrayLike, second: ArrayLike) -> tuple[float, float]:
    """Two-sided p of the signed-rank test of pairs, and the rank-biserial correlation. NaN without values.

    Pairs without a difference take part in the ranking (Pratt 1959).
    """
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    if not len(difference):
        return math.nan, math.nan
    if not difference.any():
        return 1.0, 0.0
    p = float(stats.wilcoxon(difference, zero_method="pratt").pvalue)
    rank = stats.rankdata(np.abs(difference))
    up, down = rank[difference > 0].sum(), rank[difference < 0].sum()
    return p, float((up - down) / (up + down))


def holm(p: Sequence[float]) -> list[float]:
    """p values after Holm's step-down correction (Holm 1979), in the given order; NaN stay NaN."""
    values = np.asarray(p, np.float64)
    corrected = np.full(len(values), np.nan)
    order = [int(i) for i in np.argsort(values) if not math.isnan(values[i])]
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * float(values[index])))
        corrected[index] = highest
    return corrected.tolist()


def stars(p: float) -> str:
    """ns (p > 0.05), * (0.05 or less), ** (0.01), *** (0.001), **** (0.0001); "" for NaN."""
    if math.isnan(p):
        return ""
    return "*" * sum(p <= limit for limit in (0.05, 0.01, 0.001, 0.0001)) or "ns"


def bootstrap_interval(
    values: ArrayLike, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over images; NaN left out, (NaN, NaN) below two values."""
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    if len(known) < 2:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    # A few resamples at a time: with thousands of images all together would not fit into memory.
    sizes = [min(100, resamples - done) for done in range(0, resamples, 100)]
    means = np.concatenate([known[rng.integers(0, len(known), (n, len(known)))].mean(axis=1) for n in sizes])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _defined(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    known = ~np.isnan(x) & ~np.isnan(y)
    return x[known], y[known]
