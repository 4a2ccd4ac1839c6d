"""Pixels of blocks that overlap, each read once: a block hands on to its neighbours what they share."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from .block_layout import BlockGrid, Key
from .task import Pixels


class OverlapReader:
    """Reads blocks, each once, those further left and further up first.

    Of a block, the columns shared with the next one in its row and the rows shared with the next one in its
    column are kept until that one is read: a row of blocks keeps narrow strips, not blocks.
    """

    def __init__(self, pixels: Pixels, grid: BlockGrid, downsample: float, keys: Collection[Key]) -> None:
        """keys : of all blocks that will be read."""
        self._pixels, self._grid, self._downsample = pixels, grid, downsample
        self._wanted = set(keys)
        self._columns: dict[Key, NDArray[np.uint8]] = {}
        self._rows: dict[Key, NDArray[np.uint8]] = {}

    def read(self, key: Key) -> NDArray[np.uint8]:
        """The pixels of a block and its context."""
        box, shared = self._grid.input_of(key), 2 * self._grid.context
        image = np.empty((box.rows, box.columns, 3), np.uint8)
        left, top = self._columns.pop(key, None), self._rows.pop(key, None)
        x, y = 0 if left is None else shared, 0 if top is None else shared
        if left is not None:
            image[:, :shared] = left
        if top is not None:
            image[:shared] = top
        image[y:, x:] = self._pixels.read_grid(
            box.x0 + x, box.y0 + y, box.columns - x, box.rows - y, self._downsample
        )
        self._wanted.discard(key)
        row, column = key
        if shared and (row, column + 1) in self._wanted:
            self._columns[row, column + 1] = image[:, -shared:].copy()
        if shared and (row + 1, column) in self._wanted:
            self._rows[row + 1, column] = image[-shared:].copy()
        return image
