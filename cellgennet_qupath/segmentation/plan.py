"""Which tiles of a slide to segment, and the area in which nuclei are kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from ..geometry.coordinates import edge_to_full, grid_size
from ..geometry.grid import Tile, tile_grid
from ..qupath.project import Annotation
from ..slides.tissue import TissueMask
from .model import Model, round_up

BAND = 32768
"""Input samples: wider slides are processed in bands of this width, to bound the memory needed."""


@dataclass(frozen=True)
class Area:
    """Where nuclei are kept: on tissue and, if given, inside a geometry (full-resolution pixels).

    Every nucleus is checked, not only tiles, so that no nucleus depends on how tiles were cut.
    """

    tissue: TissueMask
    within: shapely.Geometry | None = None

    def contains(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of (n, 2) points (x, y) are in the area."""
        rows, columns = self.tissue.tissue.shape
        column, row = np.floor(points / self.tissue.downsample).astype(np.intp).T
        inside = self.tissue.tissue[np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)]
        if self.within is not None:
            inside = inside & shapely.intersects_xy(self.within, points[:, 0], points[:, 1])
        return np.asarray(inside, bool)

    def touches(self, x0: float, y0: float, x1: float, y1: float) -> bool:
        """Whether a rectangle may contain a point of the area."""
        if not self.has_tissue(x0, y0, x1, y1):
            return False
        return self.within is None or bool(shapely.intersects(self.within, shapely.box(x0, y0, x1, y1)))

    def has_tissue(self, x0: float, y0: float, x1: float, y1: float) -> bool:
        """Whether a rectangle may contain tissue."""
        step = self.tissue.downsample
        rows = slice(max(0, int(y0 // step)), max(0, int(y1 // step) + 1))
        columns = slice(max(0, int(x0 // step)), max(0, int(x1 // step) + 1))
        return bool(self.tissue.tissue[rows, columns].any())


def geometry_of_class(annotations: Iterable[Annotation], path_class: str) -> shapely.Geometry | None:
    """The union of all closed annotations of a class; None without any."""
    shapes = [a.geometry for a in annotations if a.path_class == path_class and shapely.area(a.geometry) > 0]
    if not shapes:
        return None
    union = shapely.union_all(shapely.make_valid(np.asarray(shapes, dtype=object)))
    shapely.prepare(union)
    return union


def plan_tiles(width: int, height: int, downsample: float, model: Model, area: Area, tile: int) -> list[Tile]:
    """The tiles, band by band, whose cores may contain nuclei; for an image of ``width`` x ``height`` pixels.

    tile : side of a core in samples of the grid of ``downsample``, rounded up to the model's unit.
    Neighbours follow each other, so that the maps they share are kept only briefly.
    """
    columns, rows = grid_size(width, height, downsample)
    side = round_up(tile, model.predictor.unit)
    tiles = tile_grid(columns, rows, side, model.halo)
    tiles.sort(key=lambda one: (one.core.x0 // BAND, one.core.y0, one.core.x0))
    return [one for one in tiles if area.touches(*edge_to_full(one.core, downsample))]
