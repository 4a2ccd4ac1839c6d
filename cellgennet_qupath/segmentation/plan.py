"""Which tiles of a slide to segment, and the area in which nuclei are kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

from ..annotations.classes import CORRECTED
from ..core.class_patterns import is_named
from ..geometry.coordinates import edge_to_full, full_to_edge, grid_size
from ..geometry.grid import Tile, round_up, tile_grid
from ..geometry.rectangle import Rectangle
from ..geometry.solid import solid
from ..qupath.project import Annotation, Within

if TYPE_CHECKING:
    from ..slides.tissue import TissueMask
    from .model import Model

BAND = 32768
"""Input samples: wider slides are processed in bands of this width, to bound the memory needed."""


@dataclass(frozen=True)
class Area:
    """Where nuclei are kept: on tissue, inside ``within`` if given, outside ``ignored``.

    Geometries are in full-resolution pixels. Every nucleus is checked, not only tiles, so that no nucleus
    depends on how tiles were cut. Inside a geometry is what has its centroid there, border included, as in
    QuPath.
    """

    tissue: TissueMask
    within: shapely.Geometry | None = None
    ignored: shapely.Geometry | None = None

    def contains(self, anchors: NDArray[np.float64], centroids: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of n nuclei are in the area; (n, 2) x and y of each one's anchor and centroid."""
        rows, columns = self.tissue.tissue.shape
        column, row = np.floor(anchors / self.tissue.downsample).astype(np.intp).T
        inside = self.tissue.tissue[np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)]
        if self.within is not None:
            inside = inside & shapely.intersects_xy(self.within, centroids[:, 0], centroids[:, 1])
        if self.ignored is not None:
            inside = inside & ~shapely.intersects_xy(self.ignored, centroids[:, 0], centroids[:, 1])
        return np.asarray(inside, bool)

    def touches(self, rectangle: NDArray[np.float64], reach: float) -> bool:
        """Whether a nucleus whose anchor is in a rectangle (x0, y0, x1, y1) may be in the area.

        reach : how far its centroid can be from its anchor.
        """
        x0, y0, x1, y1 = rectangle
        return self.has_tissue(x0, y0, x1, y1) and self.wants(x0 - reach, y0 - reach, x1 + reach, y1 + reach)

    def wants(self, x0: float, y0: float, x1: float, y1: float) -> bool:
        """Whether nuclei with their centroid in a rectangle may be kept, tissue or not."""
        if self.within is None and self.ignored is None:
            return True
        box = shapely.box(x0, y0, x1, y1)
        if self.ignored is not None and shapely.covers(self.ignored, box):
            return False
        return self.within is None or bool(shapely.intersects(self.within, box))

    def has_tissue(self, x0: float, y0: float, x1: float, y1: float) -> bool:
        """Whether a rectangle may contain tissue."""
        step = self.tissue.downsample
        rows = slice(max(0, int(y0 // step)), max(0, int(y1 // step) + 1))
        columns = slice(max(0, int(x0 // step)), max(0, int(x1 // step) + 1))
        return bool(self.tissue.tissue[rows, columns].any())


def geometry_of_class(annotations: Iterable[Annotation], path_class: str) -> shapely.Geometry | None:
    """The union of all closed annotations of a class on the first plane; None without any."""
    return union_of(Within(path_class).objects(annotations, ()))


def union_of(objects: Iterable[Annotation]) -> shapely.Geometry | None:
    """The union of closed annotations or cores; None without any."""
    return _union(one.geometry for one in objects)


def ignored_geometry(annotations: Iterable[Annotation], ignore: str) -> shapely.Geometry | None:
    """The union of all closed annotations of ignored classes on the first plane; None without any."""
    return _union(
        a.geometry for a in annotations if a.plane.z == a.plane.t == 0 and is_named(a.path_class, (ignore,))
    )


def checked_geometry(annotations: Iterable[Annotation]) -> shapely.Geometry | None:
    """The union of all closed annotations of class Corrected on the first plane; None without any."""
    return _union(
        a.geometry for a in annotations if a.plane.z == a.plane.t == 0 and a.path_class == CORRECTED
    )


def segmented_geometry(
    width: int,
    height: int,
    within: shapely.Geometry | None,
    ignored: shapely.Geometry | None,
    checked: shapely.Geometry | None = None,
) -> shapely.Geometry:
    """The part of an image whose nuclei are known, glass included, in full-resolution pixels.

    within  : the part that is segmented; None: all of it.
    ignored : the part without nuclei; None: none.
    checked : the part whose detections a user has checked; None: none.
    """
    part: shapely.Geometry = shapely.box(0, 0, width, height)
    if within is not None:
        known = within if checked is None else shapely.union(within, checked)
        part = shapely.intersection(part, known)
    return part if ignored is None else shapely.difference(part, ignored)


def joined(*areas: shapely.Geometry | None) -> shapely.Geometry | None:
    """The union of the areas that are there; None without any."""
    return _union(area for area in areas if area is not None)


def _union(shapes: Iterable[shapely.Geometry]) -> shapely.Geometry | None:
    closed = solid(list(shapes))
    if not shapely.area(closed).any():
        return None
    union = shapely.union_all(closed)
    shapely.prepare(union)
    return union


def plan_tiles(width: int, height: int, downsample: float, model: Model, area: Area, tile: int) -> list[Tile]:
    """The tiles, band by band, whose cores may contain nuclei; for an image of ``width`` x ``height`` pixels.

    tile : side of a core in samples of the grid of ``downsample``, rounded up to the model's unit.
    Neighbours follow each other, so that the maps they share are kept only briefly.
    """
    columns, rows = grid_size(width, height, downsample)
    side = round_up(tile, model.predictor.unit)
    reach = model.halo * downsample
    part = None
    if area.within is not None:
        x0, y0, x1, y1 = full_to_edge(shapely.bounds(area.within), downsample).tolist()
        around = model.halo + 1
        part = Rectangle(int(x0) - around, int(y0) - around, int(x1) + around + 1, int(y1) + around + 1)
    tiles = tile_grid(columns, rows, side, model.halo, part)
    tiles.sort(key=lambda one: (one.core.x0 // BAND, one.core.y0, one.core.x0))
    cores = [edge_to_full(one.core, downsample) for one in tiles]
    return [one for one, core in zip(tiles, cores, strict=True) if area.touches(core, reach)]
