"""One slide: tiles to nuclei, each nucleus exactly once, the same however the slide is cut."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing

import numpy as np
import shapely
from numpy.typing import NDArray

from ..core.parallel import Prefetch
from ..core.progress import SILENT, Reporter
from ..geometry.contours import label_polygons
from ..geometry.coordinates import edge_to_full
from ..geometry.grid import Tile
from ..geometry.rectangle import Rectangle
from ..measure.tile import measure_tile
from .assemble import SlideNuclei, TileNuclei, TileStore, assemble
from .blocks import MapWindow, block_grid, map_windows, read_blocks
from .decode import LEVELS, decode_levels
from .task import SlideTask


def segment_slide(
    task: SlideTask, tiles: Iterable[Tile], store: TileStore | None = None, reporter: Reporter = SILENT
) -> SlideNuclei:
    """Every nucleus in the planned tiles of a slide, from top to bottom; tiles may come in any order.

    Tiles already in ``store`` are read from it; the others are added to it when they are done.
    """
    tiles = list(tiles)
    kept: TileStore = {} if store is None else store
    with reporter.track("segmenting", len(tiles), "tiles") as progress:
        missing = [tile for tile in tiles if tile.index not in kept]
        progress.advance(len(tiles) - len(missing))
        found = 0
        # Closed here, not whenever Python drops it: the caller closes the slide next.
        with closing(tile_nuclei(task, missing)) as finished:
            for tile, nuclei in finished:
                kept[tile.index] = nuclei
                found += len(nuclei.polygons)
                progress.advance(1, f"{found} nuclei")
    return assemble(task, kept, [tile.index for tile in tiles], task.model.predictor.device)


def tile_nuclei(task: SlideTask, tiles: Iterable[Tile]) -> Generator[tuple[Tile, TileNuclei]]:
    """Tiles with their nuclei. Reading, the network and decoding run at the same time."""
    grid = block_grid(task)
    with Prefetch() as pipeline:
        read = pipeline.prefetch(read_blocks(task, grid, tiles), 2)
        windows = pipeline.prefetch(map_windows(task, grid, read), 2)
        yield from pipeline.prefetch(((window.tile, find_nuclei(task, window)) for window in windows), 2)


def find_nuclei(task: SlideTask, window: MapWindow) -> TileNuclei:
    """The nuclei whose anchor (the middle of the bounding box) is in the core of a tile."""
    tile, model = window.tile, task.model
    x0, y0 = window.origin
    edges = np.array(tile.core) // model.predictor.stride - (x0, y0, x0, y0)
    core = Rectangle(*edges.tolist())
    objects = decode_levels(window.levels, model.rule, core)
    edge = model.rule.foreground * LEVELS
    outlines = label_polygons(objects.labels, task.step, window.origin, window.levels[..., 0], edge)
    polygons = _within_image(outlines, task.pixels.width, task.pixels.height)
    owned = _owned(polygons, tile.core, task)
    owned &= _within_limits(polygons, objects.probability, task)
    looked = window.levels[core.y0 : core.y1 + 1, core.x0 : core.x1 + 1, 0]
    return TileNuclei(
        polygons=polygons[owned],
        probability=objects.probability[owned],
        measurements=measure_tile(task.pixels, polygons[owned], task.measure_options),
        highest=float(looked.max(initial=0)) / LEVELS,
    )


def anchors(polygons: NDArray[np.object_]) -> NDArray[np.float64]:
    """(n, 2) x and y of the middle of each bounding box, which decides the tile that a nucleus belongs to."""
    x0, y0, x1, y1 = shapely.bounds(polygons).reshape(-1, 4).T
    return np.column_stack([(x0 + x1) / 2, (y0 + y1) / 2])


def _owned(polygons: NDArray[np.object_], core: Rectangle, task: SlideTask) -> NDArray[np.bool_]:
    points = anchors(polygons)
    points[shapely.is_empty(polygons)] = -1  # in no core
    x, y = points.T
    # Cores share these numbers with their neighbours, so a point on a border has one owner. Outlines
    # end at the image's edge, which can be before the edge of the last sample but not beyond it.
    left, top, right, bottom = edge_to_full(core, task.downsample)
    inside = (left <= x) & (x < right) & (top <= y) & (y < bottom)
    centroids = np.full(points.shape, -1.0)
    there = ~shapely.is_empty(polygons)
    centroids[there] = shapely.get_coordinates(shapely.centroid(polygons[there]))
    return np.asarray(inside & task.area.contains(points, centroids), bool)


def _within_limits(
    polygons: NDArray[np.object_], probability: NDArray[np.float32], task: SlideTask
) -> NDArray[np.bool_]:
    """Which nuclei are as probable and as large as a run asks for. Others have no influence on them."""
    limits = task.model.limits
    within = probability >= np.float32(limits.probability)
    if limits.area_um2:
        within &= shapely.area(polygons) * task.um2 >= limits.area_um2
    return np.asarray(within, bool)


def _within_image(polygons: NDArray[np.object_], width: int, height: int) -> NDArray[np.object_]:
    """Outlines clipped to the image; of several parts the largest; empty if nothing is left."""
    bounds = shapely.bounds(polygons).reshape(-1, 4)
    beyond = (bounds[:, :2] < 0).any(axis=1) | (bounds[:, 2:] > (width, height)).any(axis=1)
    frame = shapely.box(0, 0, width, height)
    for row in np.flatnonzero(beyond):
        parts = shapely.get_parts(shapely.intersection(polygons[row], frame))
        largest = max(parts, key=shapely.area, default=shapely.Polygon())
        polygons[row] = largest if largest.area > 0 else shapely.Polygon()
    return polygons
