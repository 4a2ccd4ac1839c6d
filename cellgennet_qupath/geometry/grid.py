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


def tile_grid(columns: int, rows: int, tile: int, halo: int) -> list[Tile]:
    """Tiles in reading order whose cores partition a grid of ``columns`` x ``rows`` samples.

    tile : side of a core in samples; the last ones of a row or column are narrower.
    halo : width of the overlap in samples.
    """
    if columns < 1 or rows < 1 or tile < 1 or halo < 0:
        raise ValueError(f"no grid of {columns} x {rows} samples in tiles of {tile} with a halo of {halo}")
    cores = [
        Rectangle(x, y, min(x + tile, columns), min(y + tile, rows))
        for y in range(0, rows, tile)
        for x in range(0, columns, tile)
    ]
    return [
        Tile(index, core, Rectangle(core.x0 - halo, core.y0 - halo, core.x1 + halo, core.y1 + halo))
        for index, core in enumerate(cores)
    ]
