"""Nuclei that grow into cells chunk by chunk, each beside the neighbours that a cell ends at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from ..nuclei import Nuclei, NucleiChunks, concat

Grow = Callable[[Nuclei, NDArray[np.intp]], Nuclei]
"""Grows the nuclei of some rows; what the others become is of no interest, but their places are."""


@dataclass(frozen=True)
class GrownNuclei:
    """Nuclei from top to bottom (``assemble``), grown; a few chunks are in memory at a time.

    reach : pixels in y between the middles of two nuclei beyond which neither matters to the other.
    """

    nuclei: NucleiChunks
    reach: float
    grow: Grow

    def __len__(self) -> int:
        return len(self.nuclei)

    def chunks(self) -> Iterator[Nuclei]:
        """The grown nuclei in the same chunks (see ``NucleiChunks``)."""
        source = self.nuclei.chunks()
        above: list[Nuclei] = []
        waiting: list[Nuclei] = []
        ended = False
        while True:
            while not ended and not self._suffices(waiting):
                chunk = next(source, None)
                ended = chunk is None
                if chunk is not None:
                    waiting.append(chunk)
            if not waiting:
                return
            own = waiting.pop(0)
            yield self._grown(above, own, waiting)
            following = _middles(waiting[0]) if waiting else np.empty(0)
            start = following.min(initial=np.inf) - self.reach
            above = [one for one in [*above, own] if _middles(one).max(initial=-np.inf) >= start]

    def _suffices(self, waiting: list[Nuclei]) -> bool:
        """Whether everything that matters to the first chunk has been read."""
        if not waiting:
            return False
        first, last = (_middles(one).max(initial=-np.inf) for one in (waiting[0], waiting[-1]))
        return bool(last > first + self.reach)

    def _grown(self, above: list[Nuclei], own: Nuclei, below: list[Nuclei]) -> Nuclei:
        middles = _middles(own)
        low, high = middles.min(initial=np.inf) - self.reach, middles.max(initial=-np.inf) + self.reach
        before = [one.take(_middles(one) >= low) for one in above]
        after = [one.take(_middles(one) <= high) for one in below]
        first = sum(map(len, before))
        return self.grow(concat([*before, own, *after]), np.arange(first, first + len(own)))


def _middles(nuclei: Nuclei) -> NDArray[np.float64]:
    """(n,) y of the middle of each bounding box."""
    y: NDArray[np.float64] = shapely.bounds(nuclei.polygons).reshape(-1, 4)[:, 1::2].mean(axis=1)
    return y
