"""Pairwise comparison of methods over images: differences, intervals, tests and effect sizes.

Methods are run on the same images, so the signed-rank test of the paired differences is the appropriate one.
The unpaired Mann-Whitney U test is given as well because the literature reports it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.lazy import lazy

if TYPE_CHECKING:
    from scipy import stats
else:
    stats = lazy("scipy.stats")

RESAMPLES = 2000
_BATCH = 100


@dataclass(frozen=True)
class Comparison:
    """Two methods compared by one metric, over the images for which it is defined for both.

    images                : number of these images.
    difference, low, high : mean of first minus second, and its 95 % bootstrap interval.
    mann_whitney          : p of the two-sided Mann-Whitney U test.
    cliffs_delta          : effect size of that test: P(first > second) - P(first < second), -1 to 1.
    wilcoxon, holm        : p of the two-sided Wilcoxon signed-rank test of the pairs, before and after
                            Holm's correction for all comparisons by this metric.
    rank_biserial         : effect size of that test: the share of the rank sum in favour of the first minus
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
        """Significance stars of the Mann-Whitney test, as in the figures."""
        return stars(self.mann_whitney)


def compare(metric: str, values: Mapping[str, ArrayLike]) -> list[Comparison]:
    """Compare every pair of methods by one metric.

    values : method -> (n,) its value on each image, in the same order; NaN where undefined.
    """
    columns = {name: np.asarray(column, np.float64) for name, column in values.items()}
    pairs = list(combinations(columns, 2))
    both = [_defined(columns[a], columns[b]) for a, b in pairs]
    corrected = holm([wilcoxon(x, y)[0] for x, y in both])
    comparisons = []
    for (a, b), (x, y), after in zip(pairs, both, corrected, strict=True):
        unpaired, delta = mann_whitney(x, y)
        paired, biserial = wilcoxon(x, y)
        low, high = bootstrap_interval(x - y)
        difference = float((x - y).mean()) if len(x) else math.nan
        comparisons.append(
            Comparison(metric, a, b, len(x), difference, low, high, unpaired, delta, paired, after, biserial)
        )
    return comparisons


def mann_whitney(first: ArrayLike, second: ArrayLike) -> tuple[float, float]:
    """p of the two-sided Mann-Whitney U test, and Cliff's delta; NaN without values."""
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if not len(x) or not len(y):
        return math.nan, math.nan
    if np.ptp(np.concatenate([x, y])) == 0:
        return 1.0, 0.0
    result = stats.mannwhitneyu(x, y, alternative="two-sided")
    return float(result.pvalue), float(2 * result.statistic / (len(x) * len(y)) - 1)


def wilcoxon(first: ArrayLike, second: ArrayLike) -> tuple[float, float]:
    """p of the two-sided signed-rank test of pairs, and the rank-biserial correlation; NaN without values.

    Pairs without a difference are included in the ranking (Pratt 1959).
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
    """p values after Holm's step-down correction (Holm 1979), in the same order; NaN stays NaN."""
    values = np.asarray(p, np.float64)
    corrected = np.full(len(values), np.nan)
    order = [int(i) for i in np.argsort(values) if not math.isnan(values[i])]
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * float(values[index])))
        corrected[index] = highest
    return corrected.tolist()


def stars(p: float) -> str:
    """Significance stars: ns (p > 0.05), * (p ≤ 0.05), ** (0.01), *** (0.001), **** (0.0001); "" for NaN."""
    if math.isnan(p):
        return ""
    return "*" * sum(p <= limit for limit in (0.05, 0.01, 0.001, 0.0001)) or "ns"


def bootstrap_interval(
    values: ArrayLike, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over images (Efron and Tibshirani 1993).

    values : (n,) one value per image; NaN is ignored.
    Returns (NaN, NaN) with fewer than two values. Equal seeds give equal intervals.
    """
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    if len(known) < 2:
        return math.nan, math.nan
    # In batches: all resamples of thousands of images at once would not fit into memory.
    interval = stats.bootstrap(
        (known,),
        np.mean,
        n_resamples=resamples,
        batch=_BATCH,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def difference_interval(
    first: tuple[int, int], second: tuple[int, int], kinds: int = 1, level: float = 0.95
) -> tuple[float, float]:
    """Interval of the difference of two shares, first minus second (Newcombe 1998, from Wilson's intervals).

    first, second : (detected, all).
    kinds         : number of such intervals that shall hold together (Bonferroni).
    Returns (-1, 1), which says nothing, where either is of no nuclei.
    """
    if not first[1] or not second[1]:
        return -1.0, 1.0
    z = float(stats.norm.isf((1 - level) / 2 / kinds))
    (low_1, p_1, high_1), (low_2, p_2, high_2) = (_wilson(*pair, z) for pair in (first, second))
    difference = p_1 - p_2
    return (
        difference - math.hypot(p_1 - low_1, high_2 - p_2),
        difference + math.hypot(high_1 - p_1, p_2 - low_2),
    )


def _wilson(detected: int, count: int, z: float) -> tuple[float, float, float]:
    """Wilson's interval of a share, with the share itself in the middle."""
    share = detected / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return middle - half, share, middle + half


def _defined(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    known = ~np.isnan(x) & ~np.isnan(y)
    return x[known], y[known]
