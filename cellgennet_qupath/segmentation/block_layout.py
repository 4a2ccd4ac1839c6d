"""Where the blocks of an image are: a grid that depends only on the size of the image."""

from __future__ import annotations

from dataclasses import dataclass

from ..geometry.grid import round_up
from ..geometry.rectangle import Rectangle

Key = tuple[int, int]


@dataclass(frozen=True)
class BlockGrid:
    """The blocks of an image; all numbers in input samples.

    core    : (columns, rows) of a block for which maps are kept.
    context : additional input on each side.
    size    : (columns, rows) of the image.
    """

    core: tuple[int, int]
    context: int
    size: tuple[int, int]

    @classmethod
    def over(cls, size: tuple[int, int], unit: int, context: int, largest: int) -> BlockGrid:
        """Blocks that divide the image about equally."""
        parts = [-(-length // largest) for length in size]
        columns, rows = (
            round_up(-(-length // count), unit) for length, count in zip(size, parts, strict=True)
        )
        return cls((columns, rows), context, size)

    def keys(self, bounds: Rectangle) -> list[Key]:
        """(row, column) of the blocks that overlap a window, in reading order."""
        (columns, rows), (width, height) = self.core, self.size
        return [
            (row, column)
            for row in range(max(bounds.y0, 0) // rows, -(-min(bounds.y1, height) // rows))
            for column in range(max(bounds.x0, 0) // columns, -(-min(bounds.x1, width) // columns))
        ]

    def core_of(self, key: Key) -> Rectangle:
        """The core of a block; it may extend beyond the image."""
        row, column = key
        columns, rows = self.core
        return Rectangle(column * columns, row * rows, (column + 1) * columns, (row + 1) * rows)

    def input_of(self, key: Key) -> Rectangle:
        """The core of a block and its context."""
        x0, y0, x1, y1 = self.core_of(key)
        return Rectangle(x0 - self.context, y0 - self.context, x1 + self.context, y1 + self.context)
