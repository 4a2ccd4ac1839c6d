"""Start and result on the same validation nuclei, and which of the two to use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ..annotations.windows import Place
from .tally import Tally, pooled_pq

RESAMPLES = 2000
FEWEST_CLUSTERS = 3
"""Of fewer regions or slides no interval can be given."""
FEW_SLIDES = 5
"""From so many slides on, slides are resampled; below, the regions of all slides."""
MOST_NUCLEI = 2000


@dataclass(frozen=True)
class PairedComparison:
    """The panoptic quality of a result and of its start on the same nuclei.

    nuclei           : outlined nuclei that both were scored on.
    start, result    : panoptic quality of all nuclei together.
    low, high        : 95 % interval of result - start, NaN with too little to resample.
    error            : bootstrap standard error of the difference, NaN likewise.
    clusters         : what was resampled, "5 slides" or "8 regions".
    """

    nuclei: int
    start: float
    result: float
    low: float
    high: float
    error: float
    clusters: str

    @property
    def difference(self) -> float:
        """Result minus start."""
        return self.result - self.start

    @property
    def outcome(self) -> str:
        """ "better", "worse", or "cannot tell" where the interval includes 0 or is missing."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "cannot tell"

    @property
    def prefers_start(self) -> bool:
        """Whether the start is to be used: the result is worse by more than one standard error.

        Training pays in the mean (docs/results.md), so it takes evidence to discard its result. Without an
        interval the error is that of two independent shares of n nuclei, sqrt(2 q (1 - q) / n).
        """
        error = self.error
        if math.isnan(error) and self.nuclei:
            error = math.sqrt(2 * self.start * (1 - self.start) / self.nuclei)
        return self.difference < -error

    def numbers(self) -> dict[str, float]:
        """The numbers for a card."""
        return {
            "nuclei": self.nuclei,
            "start": self.start,
            "result": self.result,
            "low": self.low,
            "high": self.high,
        }

    def sentence(self, start: str) -> str:
        """The comparison in words; ``start`` is the start's name."""
        if not self.nuclei or math.isnan(self.difference):
            return f"There is no validation nucleus to compare the new model with {start}."
        numbers = f"PQ {self.result:.2f}, {start} {self.start:.2f}, difference {self.difference:+.2f}"
        if math.isnan(self.low):
            return (
                f"Too few regions to tell whether the new model is better than {start} "
                f"({numbers}, on {self.nuclei} nuclei in {self.clusters})."
            )
        interval = f"95 % interval {self.low:+.2f} to {self.high:+.2f}, {self.clusters}"
        if self.outcome == "cannot tell":
            return (
                f"{self.nuclei} validation nuclei cannot tell whether the new model is better than {start} "
                f"({numbers}, {interval}). {self._would_tell()}"
            )
        return (
            f"On the same {self.nuclei} validation nuclei the new model is {self.outcome} than {start} "
            f"({numbers}, {interval})."
        )

    def _would_tell(self) -> str:
        """How many nuclei would show a difference of this size, as intervals shrink with their root."""
        half = (self.high - self.low) / 2
        needed = self.nuclei * (half / self.difference) ** 2 if self.difference else math.inf
        if needed > MOST_NUCLEI:
            return f"The difference is too small to be shown with {MOST_NUCLEI:,} nuclei."
        rounded = math.ceil(needed / 10) * 10
        return f"About {max(rounded, self.nuclei + 10):,} would show a difference of this size."


def compare_paired(
    start: Sequence[Tally], result: Sequence[Tally], places: Sequence[Place], seed: int = 0
) -> PairedComparison:
    """Compare two models on the same windows.

    start, result : (n,) the nuclei of each window.
    places        : (n,) where each window is. With ``FEW_SLIDES`` slides or more these are resampled, as
                    nuclei of one slide are alike; else the regions, each with all windows of it.

    The standard error s of the difference d in pooled panoptic quality is the bootstrap's, times
    sqrt(k / (k - 1)) as its variance is that of a population, and the interval d +- t s, with Student's t of
    k - 1 degrees of freedom for k regions or slides. Percentiles of the bootstrap would be too narrow: of two
    equally good models one would be "better" on three regions in 25 of 100 projects, on five slides in 18.
    """
    by_slide = len({place.slide for place in places}) >= FEW_SLIDES
    clusters = [place.slide if by_slide else place for place in places]
    names = {one: number for number, one in enumerate(dict.fromkeys(clusters))}
    group, count = np.array([names[one] for one in clusters], int), len(names)
    first, second = _summed(start, group, count), _summed(result, group, count)
    total = sum(result, Tally())
    what = f"{count} {'slide' if by_slide else 'region'}{'' if count == 1 else 's'}"
    low = high = error = math.nan
    if count >= FEWEST_CLUSTERS:
        chosen = np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))
        differences = pooled_pq(second[chosen].sum(axis=1)) - pooled_pq(first[chosen].sum(axis=1))
        differences = differences[~np.isnan(differences)]
        if len(differences):
            error = float(differences.std()) * math.sqrt(count / (count - 1))
            half, middle = float(stats.t.ppf(0.975, count - 1)) * error, total.pq - sum(start, Tally()).pq
            low, high = middle - half, middle + half
    return PairedComparison(total.true, sum(start, Tally()).pq, total.pq, low, high, error, what)


def _summed(tallies: Sequence[Tally], group: NDArray[np.int_], count: int) -> NDArray[np.float64]:
    """(count, 2) sum of IoU, and true plus predicted nuclei, of each group."""
    sums = np.zeros((count, 2))
    np.add.at(sums, group, np.array([[t.iou, t.true + t.predicted] for t in tallies]).reshape(-1, 2))
    return sums
