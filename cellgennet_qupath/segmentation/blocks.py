"""Maps of a whole slide, block by block, for windows of any size.

The network gets a slide in blocks of one shape, on a grid that depends only on the image's size and margin.
So every point has the same maps, bit by bit, in whichever tile, order or process its nuclei are decoded,
and overlapping windows share the maps of a block instead of computing them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import shapely
from numpy.typing import NDArray

from ..core.parallel import ordered_map
from ..geometry.coordinates import edge_to_full, full_to_edge, grid_size
from ..geometry.grid import Tile, round_up
from ..geometry.rectangle import Rectangle
from ..slides.margin import first_sample
from .block_layout import BlockGrid, Key
from .decode import quantised
from .overlaps import OverlapReader
from .plan import BAND
from .task import SlideTask


@dataclass(frozen=True)
class Block:
    """A block whose pixels were read."""

    key: Key
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class _Mapped:
    """The maps of a block's core, ``quantised``."""

    key: Key
    levels: NDArray[np.uint16]


@dataclass(frozen=True)
class ReadyTile:
    """A tile whose blocks were all read, and the blocks that no later tile needs."""

    tile: Tile
    keys: list[Key]
    last: list[Key]


@dataclass(frozen=True)
class MapWindow:
    """The maps from which a tile is decoded.

    levels : uint16 (rows, columns, 2), foreground and objectness in steps of 1 / 1023; 0 off the image
             and off tissue.
    origin : (column, row) of the first sample on the grid of the maps.
    """

    tile: Tile
    levels: NDArray[np.uint16]
    origin: tuple[int, int]


def block_grid(task: SlideTask) -> BlockGrid:
    """The blocks of a slide; around a picture with a margin they lie as they do on the picture alone."""
    size = grid_size(task.pixels.width, task.pixels.height, task.downsample)
    network = task.model.predictor
    x, y = (
        at // network.stride * network.stride for at in first_sample(task.normalisation.part, task.downsample)
    )
    context = round_up(network.context, network.unit)
    return BlockGrid.over(size, network.unit, context, task.model.block, (x, y))


_SMALLER = (1, 2, 4)


def fitting_block(task: SlideTask) -> int:
    """The longest side of blocks with which the wanted part of a slide costs least.

    It depends on the slide and on what is wanted of it alone. The whole slide is done in the largest blocks;
    around a few small annotations, smaller ones contain less that nobody asked for.
    """
    if task.area.within is None:
        return task.model.block
    costs = {}
    for part in _SMALLER:
        side = round_up(max(task.model.block // part, 1), task.model.predictor.unit)
        grid = block_grid(replace(task, model=replace(task.model, block=side)))
        size = (grid.core[0] + 2 * grid.context) * (grid.core[1] + 2 * grid.context)
        x0, y0, x1, y1 = full_to_edge(shapely.bounds(task.area.within), task.downsample).tolist()
        reach = task.model.halo + task.model.predictor.unit
        around = Rectangle(int(x0) - reach, int(y0) - reach, int(x1) + reach, int(y1) + reach)
        costs[task.model.block if part == 1 else side] = size * sum(
            _is_needed(task, grid, key) for key in grid.keys(around)
        )
    return min(costs, key=lambda side: (costs[side], -side))


def read_blocks(task: SlideTask, grid: BlockGrid, tiles: Iterable[Tile]) -> Iterator[Block | ReadyTile]:
    """Each block that the tiles of a band need, once, just before the first tile that needs it."""
    for _, band in groupby(tiles, key=lambda tile: tile.core.x0 // BAND):
        needed = [
            (tile, [key for key in grid.keys(tile.outer) if _is_needed(task, grid, key)]) for tile in band
        ]
        last = {key: tile.index for tile, keys in needed for key in keys}
        reader = OverlapReader(task.pixels, grid, task.downsample, last)
        seen: set[Key] = set()
        for tile, keys in needed:
            for key in keys:
                if key not in seen:
                    seen.add(key)
                    yield Block(key, reader.read(key))
            yield ReadyTile(tile, keys, [key for key in keys if last[key] == tile.index])


def map_windows(task: SlideTask, grid: BlockGrid, read: Iterator[Block | ReadyTile]) -> Iterator[MapWindow]:
    """The maps of each tile's window; the maps of a block are kept until the last tile that needs them."""
    stride = task.model.predictor.stride
    kept: dict[Key, NDArray[np.uint16]] = {}

    def mapped(one: Block | ReadyTile) -> _Mapped | ReadyTile:
        if isinstance(one, ReadyTile):
            return one
        origin = grid.input_of(one.key)[:2]
        image, part = task.normalisation.seen(one.image, origin, grid.size, task.downsample)
        maps = task.model.predictor.predict(image[None], grid.context)[0]
        _erase_around(maps, part, grid.context, stride)
        return _Mapped(one.key, quantised(maps))

    for one in ordered_map(mapped, read, task.model.predictor.streams):
        if isinstance(one, _Mapped):
            kept[one.key] = one.levels
            continue
        x0, y0, x1, y1 = one.tile.outer
        window = Rectangle(x0 // stride, y0 // stride, -(-x1 // stride), -(-y1 // stride))
        levels = np.zeros((window.rows, window.columns, 2), np.uint16)
        for key in one.keys:
            core = Rectangle(*(edge // stride for edge in grid.core_of(key)))
            to, source = _overlap(window, core)
            levels[to] = kept[key][source]
        _erase_outside(levels, window, grid_size(task.pixels.width, task.pixels.height, task.step))
        yield MapWindow(one.tile, levels, (window.x0, window.y0))
        for key in one.last:
            del kept[key]


def _is_needed(task: SlideTask, grid: BlockGrid, key: Key) -> bool:
    """Whether a nucleus on tissue may extend into a block, and a wanted one may depend on its maps."""
    x0, y0, x1, y1 = edge_to_full(grid.core_of(key), task.downsample)
    half = task.model.rule.max_extent / 2 * task.step
    if not task.area.has_tissue(x0 - half, y0 - half, x1 + half, y1 + half):
        return False
    reach = task.model.rule.reach * task.step + half
    return task.area.wants(x0 - reach, y0 - reach, x1 + reach, y1 + reach)


def _overlap(one: Rectangle, other: Rectangle) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The overlap of two windows as slices of each."""
    x0, y0 = max(one.x0, other.x0), max(one.y0, other.y0)
    x1, y1 = min(one.x1, other.x1), min(one.y1, other.y1)
    first, second = (
        (slice(y0 - frame.y0, y1 - frame.y0), slice(x0 - frame.x0, x1 - frame.x0)) for frame in (one, other)
    )
    return first, second


def _erase_around(maps: NDArray[np.float32], part: tuple[slice, slice], rim: int, stride: int) -> None:
    """Set maps (rows, columns, 2), which begin ``rim`` samples into their input, to 0 around the part of it
    that was not mirrored."""
    rows, columns = (
        slice(max(0, side.start - rim) // stride, max(0, -(-(side.stop - rim) // stride))) for side in part
    )
    maps[: rows.start], maps[rows.stop :] = 0, 0
    maps[:, : columns.start], maps[:, columns.stop :] = 0, 0


def _erase_outside(levels: NDArray[np.uint16], window: Rectangle, size: tuple[int, int]) -> None:
    """Set everything beyond the image to 0; the image is ``size`` (columns, rows) map samples large."""
    levels[:, max(0, size[0] - window.x0) :] = 0
    levels[max(0, size[1] - window.y0) :] = 0
