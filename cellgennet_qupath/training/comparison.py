"""Start and result on the same validation nuclei, and which of the two to use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..annotations.windows import Place
from ..metrics.statistics import Clusters, bootstrap_error, clusters_of, t_interval
from .tally import Tally, pooled_pq

MOST_NUCLEI = 2000
_OF_STANDARD = (
    " These are the numbers of the standard settings: the new model was fitted to this region, so its own "
    "score there would be too high."
)


@dataclass(frozen=True)
class PairedComparison:
    """The panoptic quality of a result and of its start on the same nuclei.

    nuclei           : outlined nuclei that both were scored on.
    start, result    : panoptic quality of all nuclei together.
    low, high        : 95 % interval of result - start, NaN with too little to resample.
    error            : bootstrap standard error of the difference, NaN likewise.
    clusters         : what was resampled, "5 slides" or "8 regions".
    of_standard      : whether the result was scored with the standard share and rule, although it has others.
    """

    nuclei: int
    start: float
    result: float
    low: float
    high: float
    error: float
    clusters: str
    of_standard: bool = False

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
                + (_OF_STANDARD if self.of_standard else "")
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

    The interval is that of ``t_interval``, from the bootstrap standard error of the difference in pooled
    panoptic quality.
    """
    clusters = clusters_of([place.slide for place in places], places)
    first, second = (_summed(tallies, clusters) for tallies in (start, result))
    before, after = sum(start, Tally()), sum(result, Tally())

    def difference(chosen: NDArray[np.int_]) -> NDArray[np.float64]:
        return pooled_pq(second[chosen].sum(axis=1)) - pooled_pq(first[chosen].sum(axis=1))

    error = bootstrap_error(difference, clusters.count, seed)
    low, high = t_interval(after.pq - before.pq, error, clusters.count)
    return PairedComparison(after.true, before.pq, after.pq, low, high, error, clusters.what)


def _summed(tallies: Sequence[Tally], clusters: Clusters) -> NDArray[np.float64]:
    """(count, 2) sum of IoU, and true plus predicted nuclei, of each cluster."""
    sums = np.zeros((clusters.count, 2))
    terms = np.array([[t.iou, t.true + t.predicted] for t in tallies]).reshape(-1, 2)
    np.add.at(sums, clusters.group, terms)
    return sums
