"""All that is measured of the nuclei of a tile, in QuPath's order: shape, stains, and a mark at the edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from ..qupath.project import StainVectors
from .intensity import stain_columns, stain_measurements
from .shape import shape_measurements

TOUCHES_EDGE = "Touches image edge"
"""1 for a nucleus that the image's edge may cut off, else 0: its shape and stains may not be its own."""

_LARGEST_WINDOW = 16_000_000


class FullResolution(Protocol):
    """What measuring needs of a slide reader."""

    width: int
    height: int

    def read_grid(
        self, x: int, y: int, columns: int, rows: int, downsample: float, fill: int = 255
    ) -> NDArray[np.uint8]:
        """See ``slide.reader.SlideReader``."""


@dataclass(frozen=True)
class Window:
    """Pixels of an image at full resolution that were read already; x, y of the first one."""

    pixels: NDArray[np.uint8]
    x: int
    y: int

    def holds(self, bounds: NDArray[np.float64]) -> bool:
        """Whether nothing within (x0, y0, x1, y1) is missing."""
        rows, columns = self.pixels.shape[:2]
        inside = (self.x, self.y) <= bounds[:2], bounds[2:] <= (self.x + columns, self.y + rows)
        return bool(np.all(inside))


@dataclass(frozen=True)
class Measuring:
    """How the nuclei of an image are measured.

    mpp    : (x, y) µm per full-resolution pixel as calibrated in QuPath; None to measure in pixels.
    stains : None where the image has none; nothing but shapes is measured then.
    margin : full-resolution pixels; a nucleus nearer to the image's edge than this touches it.
    """

    mpp: tuple[float, float] | None
    stains: StainVectors | None = None
    margin: float = 1.0


def measure_tile(
    image: FullResolution, polygons: NDArray[np.object_], how: Measuring, seen: Window | None = None
) -> pd.DataFrame:
    """Measure nuclei anywhere in an image: n rows of float64 columns.

    Stains are measured at full resolution, as QuPath does, whatever resolution the nuclei were found at.

    polygons : (n,) Polygons or MultiPolygons in full-resolution pixels.
    seen     : pixels that need not be read again.
    Raises SlideError where the image cannot be read.
    """
    parts = [shape_measurements(polygons, how.mpp)]
    if how.stains is not None:
        parts.append(_stains(image, polygons, how.stains, seen))
    x0, y0, x1, y1 = shapely.bounds(polygons).reshape(-1, 4).T
    nearest = np.minimum.reduce([x0, y0, image.width - x1, image.height - y1])
    parts.append(pd.DataFrame({TOUCHES_EDGE: (nearest < how.margin).astype(np.float64)}))
    return pd.concat(parts, axis=1)


def _stains(
    image: FullResolution, polygons: NDArray[np.object_], stains: StainVectors, seen: Window | None
) -> pd.DataFrame:
    if not len(polygons):
        return pd.DataFrame(columns=stain_columns(stains), dtype=np.float64)
    bounds = shapely.bounds(polygons)
    whole = np.concatenate([bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)])
    if seen is not None and seen.holds(whole):
        return stain_measurements(seen.pixels, polygons, stains, (seen.x, seen.y))
    x0, y0 = np.floor(whole[:2]).astype(int).tolist()
    columns, rows = (np.ceil(whole[2:]).astype(int) - (x0, y0)).tolist()
    if columns * rows > _LARGEST_WINDOW and len(polygons) > 1:
        # A large tile of a small downsample: never more pixels at once than these.
        along = bounds[:, int(rows > columns)]
        order = np.argsort(along, kind="stable")
        halves = [np.sort(half) for half in np.array_split(order, 2)]
        tables = [_stains(image, polygons[half], stains, None).set_axis(half, axis=0) for half in halves]
        return pd.concat(tables).sort_index()
    return stain_measurements(image.read_grid(x0, y0, columns, rows, 1.0), polygons, stains, (x0, y0))
