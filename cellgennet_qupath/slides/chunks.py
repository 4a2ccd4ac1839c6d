"""The files that hold a Zarr's chunks: which are there, and which are cut.

A chunk without a file is legal and means plain pixels. A folder that was not copied whole looks the same.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .encoded import DamagedTileError

_BLOSC_HEADER = 16


class ChunkFiles:
    """The files of an array's first plane (z = 0, t = 0). A file holds a chunk, or a shard of several.

    tile   : (width, height) of what a file holds.
    stored : which tiles of the plane have the files of all channels: (down, across).
    count  : of files that all of the plane's chunks would need; absent : of those that are not there.
    """

    def __init__(self, array: Any, axes: Sequence[str]) -> None:
        self._folder = Path(array.store.root) / array.path
        self._key = array.metadata.encode_chunk_key
        self._axes = "".join(axes)
        chunk = array.shards or array.chunks
        self._grid = tuple(
            1 if axis in "zt" else -(-length // side)
            for axis, length, side in zip(axes, array.shape, chunk, strict=True)
        )
        y, x = self._axes.index("y"), self._axes.index("x")
        self._size = (int(array.shape[y]), int(array.shape[x]))
        self.tile = (int(chunk[x]), int(chunk[y]))
        kinds = {type(one).__name__ for one in array.compressors}
        self._is_blosc = array.shards is None and bool(kinds & {"Blosc", "BloscCodec"})
        there = self._there()
        self.count = there.size
        self.absent = int(there.size - there.sum())
        rest = [n for n in range(there.ndim) if n not in (y, x)]
        plane = there.transpose(y, x, *rest).reshape(self._grid[y], self._grid[x], -1)
        self.stored: NDArray[np.bool_] = np.asarray(plane.all(axis=2))

    def lacks(self, full: ChunkFiles) -> bool:
        """Whether this level has no files for pixels that the full resolution has."""
        return bool((full.stored & ~self.stored[np.ix_(*self._tiles_at(full))]).any())

    def check(self, x0: int, y0: int, x1: int, y1: int) -> None:
        """Raise DamagedTileError if a file for these pixels is cut, but would be decoded beyond its end."""
        if not self._is_blosc:
            return
        (width, height), channel = self.tile, self._axes.find("c")
        inside = {"y": range(y0 // height, -(-y1 // height)), "x": range(x0 // width, -(-x1 // width))}
        if channel >= 0:
            inside["c"] = range(self._grid[channel])
        spans = [inside.get(axis, range(1)) for axis in self._axes]
        for at in np.ndindex(*map(len, spans)):
            key = self._key(tuple(span[n] for span, n in zip(spans, at, strict=True)))
            try:
                with (self._folder / key).open("rb") as file:
                    check_blosc(file.read(_BLOSC_HEADER), os.fstat(file.fileno()).st_size)
            except FileNotFoundError:
                continue

    def _there(self) -> NDArray[np.bool_]:
        """Which files there are, by a list of each folder: asking for each file takes long on a network."""
        listed: dict[str, set[str]] = {}
        there = np.zeros(self._grid, bool)
        for at in np.ndindex(*self._grid):
            parent, _, name = self._key(at).rpartition("/")
            if parent not in listed:
                try:
                    listed[parent] = {file.name for file in (self._folder / parent).iterdir()}
                except FileNotFoundError:
                    listed[parent] = set()
            there[at] = name in listed[parent]
        return there

    def _tiles_at(self, full: ChunkFiles) -> list[NDArray[np.intp]]:
        """The row and column of the tile of this level at the centre of each tile of the full resolution."""
        found = []
        for axis in (0, 1):
            begins = np.arange(full.stored.shape[axis]) * full.tile[1 - axis]
            ends = np.minimum(begins + full.tile[1 - axis], full._size[axis])
            centres = (begins + ends) / 2 * self._size[axis] / full._size[axis]
            tiles = (centres / self.tile[1 - axis]).astype(np.intp)
            found.append(np.minimum(tiles, self.stored.shape[axis] - 1))
        return found


def check_blosc(header: bytes, size: int) -> None:
    """Raise DamagedTileError if a file of so many bytes is shorter than the Blosc chunk that it begins."""
    if len(header) < _BLOSC_HEADER or int.from_bytes(header[12:16], "little") > size:
        raise DamagedTileError("the file of the chunk is cut")
