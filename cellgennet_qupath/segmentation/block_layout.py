"""Where the blocks of an image are: a grid that depends only on its size and on where its data begin."""

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
    origin  : (column, row) where the first block's core begins; not inside the image.
    """

    core: tuple[int, int]
    context: int
    size: tuple[int, int]
    origin: tuple[int, int] = (0, 0)

    @classmethod
    def over(
        cls,
        size: tuple[int, int],
        unit: int,
        context: int,
        largest: int,
        begin: tuple[int, int] = (0, 0),
    ) -> BlockGrid:
        """Blocks that divide the image about equally.

        A network that halves its grid sees the same tissue a little differently at another place of a
        ``unit``. So blocks lie to ``begin``, the first sample with data, as they do to an image's corner.
        """
        columns, rows = (-(-at % unit) for at in begin)
        lengths = (size[0] - columns, size[1] - rows)
        width, height = (round_up(-(-length // -(-length // largest)), unit) for length in lengths)
        return cls((width, height), context, size, (columns, rows))

    def keys(self, bounds: Rectangle) -> list[Key]:
        """(row, column) of the blocks that overlap a window, in reading order."""
        (columns, rows), (width, height), (x, y) = self.core, self.size, self.origin
        x0, y0 = max(bounds.x0, 0) - x, max(bounds.y0, 0) - y
        x1, y1 = min(bounds.x1, width) - x, min(bounds.y1, height) - y
        return [
            (row, column)
            for row in range(y0 // rows, -(-y1 // rows))
            for column in range(x0 // columns, -(-x1 // columns))
        ]

    def core_of(self, key: Key) -> Rectangle:
        """The core of a block; it may extend beyond the image."""
        row, column = key
        columns, rows = self.core
        x, y = self.origin
        return Rectangle.of_size(x + column * columns, y + row * rows, columns, rows)

    def input_of(self, key: Key) -> Rectangle:
        """The core of a block and its context."""
        x0, y0, x1, y1 = self.core_of(key)
        return Rectangle(x0 - self.context, y0 - self.context, x1 + self.context, y1 + self.context)
