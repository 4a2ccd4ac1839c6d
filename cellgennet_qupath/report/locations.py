"""Where a slide's nuclei are, how large and how certain: three columns that a million nuclei fit into."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from ..nuclei import Nuclei


@dataclass(frozen=True)
class Locations:
    """The nuclei of a slide that have an outline, without their outlines.

    centres     : float32 (n, 2), x and y of the middle of each bounding box, in full-resolution pixels.
    area        : float32 (n,), in full-resolution px².
    probability : float32 (n,), NaN where unknown.
    """

    centres: NDArray[np.float32]
    area: NDArray[np.float32]
    probability: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.centres)

    @property
    def median_area(self) -> float | None:
        """In px²; None without nuclei."""
        return float(np.median(self.area)) if len(self) else None

    @property
    def mean_probability(self) -> float | None:
        """None where none is known."""
        known = self.probability[~np.isnan(self.probability)]
        return float(known.mean(dtype=np.float64)) if len(known) else None


def locate(chunks: Iterable[Nuclei]) -> Locations:
    """Read nuclei in chunks; outlines are in memory one chunk at a time."""
    centres, area = [np.empty((0, 2), np.float32)], [np.empty(0, np.float32)]
    probability = [np.empty(0, np.float32)]
    for chunk in chunks:
        bounds = shapely.bounds(chunk.polygons).reshape(-1, 4)
        known = np.isfinite(bounds).all(axis=1)
        middle = (bounds[known, :2] + bounds[known, 2:]) / 2
        centres.append(middle.astype(np.float32))
        area.append(shapely.area(chunk.polygons[known]).astype(np.float32))
        probability.append(chunk.probability[known])
    return Locations(np.concatenate(centres), np.concatenate(area), np.concatenate(probability))
