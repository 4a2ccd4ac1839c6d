"""What every method to evaluate returns, and how it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import shapely
from numpy.typing import NDArray

from ..geometry.raster import rasterize
from .regions import EvaluationRegion


@dataclass(frozen=True)
class Prediction:
    """The nuclei that a method predicts in a region.

    labels      : int32 (rows, columns) of the region's box at full resolution, 0 for background.
    probability : float32 (n,) of the nuclei labelled 1 ... n; NaN where the method gives none.
    """

    labels: NDArray[np.int32]
    probability: NDArray[np.float32]


class Predictor(Protocol):
    """A method that segments nuclei, under the name that the report uses."""

    @property
    def name(self) -> str: ...

    def predict(self, region: EvaluationRegion, pixels: NDArray[np.uint8]) -> Prediction:
        """Segment a region.

        pixels : uint8 (rows, columns, 3), RGB of the region's box at full resolution.
        """
        ...


def rasterized(
    polygons: Sequence[shapely.Geometry] | NDArray[np.object_],
    region: EvaluationRegion,
    labels: NDArray[np.integer] | None = None,
) -> NDArray[np.int32]:
    """Label image, int32 (rows, columns) of the region's box, of n polygons in full-resolution pixels.

    labels : (n,) the label of each; 1 ... n by default. Where polygons overlap, the later one wins.
    """
    box = region.box
    return rasterize(polygons, (box.rows, box.columns), 1.0, (box.x0, box.y0), labels)
