"""Which tiles of a slide to look at, and where on it nuclei are wanted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray

from ..qupath.project import Annotation
from ..slide.coordinates import edge_to_full, grid_size
from ..slide.grid import Bounds, Tile, tile_grid
from ..slide.tissue import TissueMask
from .model import Model, round_up


@dataclass(frozen=True)
class Area:
    """Where nuclei are wanted: on tissue and, if given, inside a geometry (full-resolution pixels).

    It is asked of every nucleus, not only of tiles, so that no nucleus hangs on how tiles were cut.
    """

    tissue: TissueMask
    within: shapely.Geometry | None = None

    def holds(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of (n, 2) points (x, y) lie in the area."""
        rows, columns = self.tissue.tissue.shape
        column, row = np.floor(points / self.tissue.downsample).astype(np.intp).T
        held = self.tissue.tissue[np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)]
        if self.within is not None:
            held = held & shapely.intersects_xy(self.within, points[:, 0], points[:, 1])
        return np.asarray(held, bool)

    def touches(self, x0: float, y0: float, x1: float, y1: float) -> bool:
        """Whether a rectangle may hold a point of the area."""
        step = self.tissue.downsample
        rows = slice(max(0, int(y0 // step)), int(y1 // step) + 1)
        columns = slice(max(0, int(x0 // step)), int(x1 // step) + 1)
        if not self.tissue.tissue[rows, columns].any():
            return False
        return self.within is None or bool(shapely.intersects(self.within, shapely.box(x0, y0, x1, y1)))


def geometry_of_class(annotations: Iterable[Annotation], path_class: str) -> shapely.Geometry | None:
    """The union of all closed annotations of a class; None where there are none."""
    shapes = [a.geometry for a in annotations if a.path_class == path_class and shapely.area(a.geometry) > 0]
    if not shapes:
        return None
    union = shapely.union_all(shapely.make_valid(np.asarray(shapes, dtype=object)))
    shapely.prepare(union)
    return union


def plan_tiles(width: int, height: int, downsample: float, model: Model, area: Area, tile: int) -> list[Tile]:
    """The tiles, in reading order, whose cores may hold nuclei of an image of ``width`` x ``height`` pixels.

    tile : side of a core in samples of the grid of ``downsample``, rounded up to the model's unit.
    Every tile shows the whole halo, except that beyond the image there is only as much as the network
    needs to see that it ends.
    """
    unit = model.predictor.unit
    margin = round_up(model.predictor.receptive_field, unit)
    columns, rows = grid_size(width, height, downsample)
    right, bottom = round_up(columns, unit) + margin, round_up(rows, unit) + margin
    planned = []
    for one in tile_grid(columns, rows, round_up(tile, unit), model.halo):
        x0, y0, x1, y1 = edge_to_full(one.core, downsample)
        if area.touches(x0, y0, x1, y1):
            outer = Bounds(
                max(one.outer.x0, -margin),
                max(one.outer.y0, -margin),
                min(round_up(one.outer.x1, unit), right),
                min(round_up(one.outer.y1, unit), bottom),
            )
            planned.append(replace(one, outer=outer))
    return planned
