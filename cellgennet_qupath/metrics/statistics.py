"""Pairwise comparison of methods over images: differences, intervals, tests and effect sizes.

Methods are run on the same images, so the signed-rank test of the paired differences is the appropriate one.
The unpaired Mann-Whitney U test is given as well because the literature reports it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
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
FEWEST_CLUSTERS = 3
"""Of fewer regions or slides no interval can be given."""
FEW_SLIDES = 5
"""From so many slides on, slides are resampled; below, the regions of all slides."""
_BATCH = 100
_MOST_DRAWN = 2_000_000
"""Clusters that are drawn at once, in all resamples of a batch."""


@dataclass(frozen=True)
class Comparison:
    """Two methods compared by one metric, over the images for which it is defined for both.

    images                : number of these images.
    difference, low, high : mean of first minus second, and its 95 % interval (``mean_interval``).
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


@dataclass(frozen=True)
class Clusters:
    """What is resampled together, as its values are alike.

    group : int (n,), the cluster of each value, from 0.
    count : how many there are; ``what``: in words, "5 slides" or "8 regions".
    """

    group: NDArray[np.int_]
    count: int
    what: str


def clusters_of(slides: Sequence[Hashable], regions: Sequence[Hashable]) -> Clusters:
    """With ``FEW_SLIDES`` slides or more these, as nuclei of one slide are alike; else the regions.

    slides, regions : (n,) the slide and the region of each value.
    """
    by_slide = len(set(slides)) >= FEW_SLIDES
    clusters = list(slides if by_slide else regions)
    number = {one: k for k, one in enumerate(dict.fromkeys(clusters))}
    word = "slide" if by_slide else "region"
    what = f"{len(number)} {word}{'' if len(number) == 1 else 's'}"
    return Clusters(np.array([number[one] for one in clusters], int), len(number), what)


def bootstrap_error(
    statistic: Callable[[NDArray[np.int_]], NDArray[np.float64]], count: int, seed: int = 0
) -> float:
    """The bootstrap standard error of a statistic of clusters; NaN for fewer than ``FEWEST_CLUSTERS``.

    It is multiplied by sqrt(k / (k - 1)) for k clusters, as the bootstrap's variance is that of a population.

    statistic : returns its value, NaN where undefined, for each row of an array of clusters (resamples, k).
    """
    if count < FEWEST_CLUSTERS:
        return math.nan
    rng = np.random.default_rng(seed)
    batches, left = [], RESAMPLES
    while left > 0:  # all resamples of thousands of clusters at once would not fit into memory
        rows = min(left, max(_BATCH, _MOST_DRAWN // count))
        batches.append(statistic(rng.integers(count, size=(rows, count))))
        left -= rows
    values = np.concatenate(batches)
    values = values[~np.isnan(values)]
    return float(values.std()) * math.sqrt(count / (count - 1)) if len(values) else math.nan


def t_interval(middle: float, error: float, count: int, level: float = 0.95) -> tuple[float, float]:
    """middle +- t s, with Student's t of k - 1 degrees of freedom; (NaN, NaN) without a standard error s.

    Percentiles of the bootstrap would be too narrow where clusters are few: of two equally good models one
    would be "better" on three regions in 25 of 100 projects, on five slides in 18.
    """
    if math.isnan(error):
        return math.nan, math.nan
    half = float(stats.t.ppf((1 + level) / 2, count - 1)) * error
    return middle - half, middle + half


def mean_interval(
    values: ArrayLike, clusters: Clusters | None = None, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Interval of a mean whose values come in clusters (see ``bootstrap_error`` and ``t_interval``).

    values   : (n,) NaN is ignored.
    clusters : of these values; None where each is one of its own.
    Returns (NaN, NaN) with fewer than ``FEWEST_CLUSTERS``. Equal seeds give equal intervals.
    """
    every = np.asarray(values, np.float64)
    known = ~np.isnan(every)
    group = np.arange(len(every)) if clusters is None else clusters.group
    names, group = np.unique(group[known], return_inverse=True)
    total = np.bincount(group, every[known], len(names))
    number = np.bincount(group, minlength=len(names)).astype(np.float64)
    error = bootstrap_error(
        lambda chosen: total[chosen].sum(axis=1) / number[chosen].sum(axis=1), len(names), seed
    )
    return t_interval(float(every[known].mean()) if known.any() else math.nan, error, len(names), level)


def compare(
    metric: str, values: Mapping[str, ArrayLike], clusters: Clusters | None = None
) -> list[Comparison]:
    """Compare every pair of methods by one metric.

    values   : method -> (n,) its value on each image, in the same order; NaN where undefined.
    clusters : of the images, for the interval; None where each is one of its own.
    """
    columns = {name: np.asarray(column, np.float64) for name, column in values.items()}
    pairs = list(combinations(columns, 2))
    both = [_defined(columns[a], columns[b]) for a, b in pairs]
    corrected = holm([wilcoxon(x, y)[0] for x, y in both])
    comparisons = []
    for (a, b), (x, y), after in zip(pairs, both, corrected, strict=True):
        unpaired, delta = mann_whitney(x, y)
        paired, biserial = wilcoxon(x, y)
        low, high = mean_interval(columns[a] - columns[b], clusters)
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
