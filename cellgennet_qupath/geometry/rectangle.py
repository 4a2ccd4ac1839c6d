"""One rectangle for windows, tiles, blocks and regions: half-open, in samples of a grid."""

from __future__ import annotations

from typing import NamedTuple


class Rectangle(NamedTuple):
    """A half-open rectangle of samples: columns [x0, x1), rows [y0, y1)."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def columns(self) -> int:
        """Width in samples."""
        return self.x1 - self.x0

    @property
    def rows(self) -> int:
        """Height in samples."""
        return self.y1 - self.y0

    @classmethod
    def of_size(cls, x: int, y: int, columns: int, rows: int) -> Rectangle:
        """The rectangle of ``columns`` x ``rows`` samples whose first sample is (x, y)."""
        return cls(x, y, x + columns, y + rows)
