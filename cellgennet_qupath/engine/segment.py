"""One slide: tiles to nuclei, each nucleus exactly once, the same however the slide is cut."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from ..measure.tile import Measuring, Window, measure_tile
from ..nuclei import Nuclei
from ..progress import SILENT, Reporter
from ..qupath.project import StainVectors
from ..slide.coordinates import edge_to_full, grid_size
from ..slide.grid import Bounds, Tile
from ..slide.normalisation import Normalisation
from ..student.decode import decode
from ..student.polygons import label_polygons
from .model import Model
from .plan import Area


class Pixels(Protocol):
    """What the engine needs of a slide reader."""

    width: int
    height: int

    def read_grid(
        self, x: int, y: int, columns: int, rows: int, downsample: float, fill: int = 255
    ) -> NDArray[np.uint8]:
        """See ``slide.reader.SlideReader``."""
        ...


@dataclass(frozen=True)
class TileNuclei:
    """The nuclei that one tile answers for.

    polygons     : (n,) Polygons in full-resolution pixels.
    probability  : (n,) float32.
    measurements : n rows.
    highest      : the highest foreground probability in the tile's core.
    """

    polygons: NDArray[np.object_]
    probability: NDArray[np.float32]
    measurements: pd.DataFrame
    highest: float


class TileStore(Protocol):
    """Where finished tiles are kept, by index; a dict will do."""

    def __contains__(self, index: object, /) -> bool: ...

    def __getitem__(self, index: int, /) -> TileNuclei: ...

    def __setitem__(self, index: int, tile: TileNuclei, /) -> None: ...


@dataclass(frozen=True)
class SlideTask:
    """All that decides what is found on one slide.

    downsample    : full-resolution pixels per input sample of the model.
    mpp           : (x, y) µm per full-resolution pixel for the measurements; None to measure in pixels.
    normalisation : estimated once for the slide, never per tile.
    stains        : measured at full resolution; None for an image without.
    """

    pixels: Pixels
    model: Model
    normalisation: Normalisation
    downsample: float
    mpp: tuple[float, float] | None
    area: Area
    stains: StainVectors | None = None

    @property
    def measuring(self) -> Measuring:
        """How nuclei are measured; the outline of one at the edge may end a sample before it."""
        return Measuring(self.mpp, self.stains, self.downsample * self.model.predictor.stride)


@dataclass(frozen=True)
class SlideNuclei:
    """The nuclei of a slide, and the highest foreground probability seen anywhere that was looked at."""

    nuclei: Nuclei
    highest: float


def segment_slide(
    task: SlideTask, tiles: Iterable[Tile], store: TileStore | None = None, reporter: Reporter = SILENT
) -> SlideNuclei:
    """Every nucleus of the planned tiles of a slide, from top to bottom; the order of tiles is free.

    Tiles that ``store`` already holds are taken from there, the others are put there when they are done.
    """
    tiles = list(tiles)
    kept: TileStore = {} if store is None else store
    found = 0
    with reporter.track("segmenting", len(tiles), "tiles") as progress:
        for tile in tiles:
            if tile.index not in kept:
                kept[tile.index] = segment_tile(task, tile)
            found += len(kept[tile.index].polygons)
            progress.advance(1, f"{found} nuclei")
    return _assemble([kept[tile.index] for tile in tiles], task)


def segment_tile(task: SlideTask, tile: Tile) -> TileNuclei:
    """The nuclei whose anchor (the middle of the bounding box) lies in the core of a tile."""
    model, outer = task.model, tile.outer
    stride = model.predictor.stride
    step = task.downsample * stride
    origin = (outer.x0 // stride, outer.y0 // stride)
    pixels = task.pixels.read_grid(outer.x0, outer.y0, outer.columns, outer.rows, task.downsample)
    maps = model.predictor.predict(task.normalisation.apply(pixels)[None])[0]
    maps = _inside_image(maps, origin, grid_size(task.pixels.width, task.pixels.height, step))
    labels, probability = decode(maps[..., 0], maps[..., 1], model.rule)
    core = Bounds(*(np.array(tile.core) / stride - np.tile(origin, 2)).round().astype(int).tolist())
    labels, near = _near_core(labels, core)
    polygons = _within_image(label_polygons(labels, step, origin), task.pixels.width, task.pixels.height)
    owned = _owned(polygons, tile.core, task)
    looked = maps[max(core.y0, 0) : core.y1, max(core.x0, 0) : core.x1, 0]
    seen = Window(pixels, outer.x0, outer.y0) if task.downsample == 1 else None
    return TileNuclei(
        polygons=polygons[owned],
        probability=probability[near][owned],
        measurements=measure_tile(task.pixels, polygons[owned], task.measuring, seen),
        highest=float(looked.max(initial=0.0)),
    )


def anchors(polygons: NDArray[np.object_]) -> NDArray[np.float64]:
    """(n, 2) x and y of the middle of each bounding box: what decides to which tile a nucleus belongs."""
    x0, y0, x1, y1 = shapely.bounds(polygons).reshape(-1, 4).T
    return np.column_stack([(x0 + x1) / 2, (y0 + y1) / 2])


def _owned(polygons: NDArray[np.object_], core: Bounds, task: SlideTask) -> NDArray[np.bool_]:
    points = anchors(polygons)
    points[shapely.is_empty(polygons)] = -1  # in no core
    x, y = points.T
    # Cores share these numbers with their neighbours, so a point on a border has one owner. Outlines
    # end at the image's edge, which can lie before the edge of the last sample but not behind it.
    left, top, right, bottom = edge_to_full(core, task.downsample)
    inside = (left <= x) & (x < right) & (top <= y) & (y < bottom)
    return np.asarray(inside & task.area.holds(points), bool)


def _inside_image(
    maps: NDArray[np.float32], origin: tuple[int, int], size: tuple[int, int]
) -> NDArray[np.float32]:
    """The maps without foreground beyond the image, which is ``size`` (columns, rows) map samples large."""
    rows, columns = maps.shape[:2]
    inside = np.zeros((rows, columns, 1), np.float32)
    inside[
        max(0, -origin[1]) : max(0, size[1] - origin[1]), max(0, -origin[0]) : max(0, size[0] - origin[0])
    ] = 1
    return maps * inside


def _near_core(labels: NDArray[np.int32], core: Bounds) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """The objects whose bounding box meets the core (map samples), renumbered; their old rows."""
    near = [
        row
        for row, (rows, columns) in enumerate(ndimage.find_objects(labels))
        if rows.stop >= core.y0 and rows.start <= core.y1
        if columns.stop >= core.x0 and columns.start <= core.x1
    ]
    kept = np.array(near, np.intp)
    number = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    number[kept + 1] = np.arange(1, len(kept) + 1)
    return number[labels], kept


def _within_image(polygons: NDArray[np.object_], width: int, height: int) -> NDArray[np.object_]:
    """Outlines cut off at the image's edge; of several parts the largest; empty where nothing is left."""
    bounds = shapely.bounds(polygons).reshape(-1, 4)
    beyond = (bounds[:, :2] < 0).any(axis=1) | (bounds[:, 2:] > (width, height)).any(axis=1)
    frame = shapely.box(0, 0, width, height)
    for row in np.flatnonzero(beyond):
        parts = shapely.get_parts(shapely.intersection(polygons[row], frame))
        largest = max(parts, key=shapely.area, default=shapely.Polygon())
        polygons[row] = largest if largest.area > 0 else shapely.Polygon()
    return polygons


def _assemble(tiles: list[TileNuclei], task: SlideTask) -> SlideNuclei:
    """All tiles together, in an order that does not depend on them."""
    empty = measure_tile(task.pixels, np.empty(0, dtype=object), task.measuring)
    polygons = np.concatenate([np.empty(0, dtype=object), *(tile.polygons for tile in tiles)])
    probability = np.concatenate([np.empty(0, np.float32), *(tile.probability for tile in tiles)])
    filled = [tile.measurements for tile in tiles if len(tile.measurements)]
    measurements = pd.concat(filled, ignore_index=True) if filled else empty
    x0, y0, x1, y1 = shapely.bounds(polygons).reshape(-1, 4).T
    order = np.lexsort((y1 - y0, x1 - x0, x0 + x1, y0 + y1))
    nuclei = Nuclei.from_polygons(polygons[order], probability[order], task.model.path_class)
    return SlideNuclei(
        nuclei.with_measurements(measurements.iloc[order]),
        max((tile.highest for tile in tiles), default=0.0),
    )
