"""Divides a sample grid into tiles whose cores cover it without gaps or overlaps."""

from __future__ import annotations

from dataclasses import dataclass

from .rectangle import Rectangle


@dataclass(frozen=True)
class Tile:
    """One tile of a sample grid.

    index : position in reading order.
    core  : the samples whose nuclei belong to this tile alone.
    outer : the core with its halo on all four sides; reaches beyond the grid at its borders.
    """

    index: int
    core: Rectangle
    outer: Rectangle


def tile_grid(columns: int, rows: int, tile: int, halo: int, part: Rectangle | None = None) -> list[Tile]:
    """Tiles in reading order whose cores partition a grid of ``columns`` x ``rows`` samples.

    tile : side of a core in samples; the last ones of a row or column are narrower.
    halo : width of the overlap in samples.
    part : only the tiles whose cores overlap this part of the grid, with the same indices; None for all.
    """
    if columns < 1 or rows < 1 or tile < 1 or halo < 0:
        raise ValueError(f"no grid of {columns} x {rows} samples in tiles of {tile} with a halo of {halo}")
    x0, y0, x1, y1 = (0, 0, columns, rows) if part is None else part
    across = -(-columns // tile)
    tiles = []
    for row in _touched(y0, y1, rows, tile):
        for column in _touched(x0, x1, columns, tile):
            x, y = column * tile, row * tile
            core = Rectangle(x, y, min(x + tile, columns), min(y + tile, rows))
            outer = Rectangle(core.x0 - halo, core.y0 - halo, core.x1 + halo, core.y1 + halo)
            tiles.append(Tile(row * across + column, core, outer))
    return tiles


def _touched(start: int, end: int, length: int, tile: int) -> range:
    """Which tiles of a row, or of a column, of ``length`` samples overlap [start, end)."""
    return range(max(start, 0) // tile, -(-min(end, length) // tile) if start < length else 0)


def round_up(number: int, unit: int) -> int:
    """The next multiple of ``unit``."""
    return -(-number // unit) * unit
