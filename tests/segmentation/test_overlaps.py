"""What overlapping blocks share is read once, and no pixel is another one for it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cellgennet_qupath.segmentation.block_layout import BlockGrid
from cellgennet_qupath.segmentation.overlaps import OverlapReader

from .fakes import Paper

IMAGE = np.random.default_rng(2).integers(0, 256, (150, 210, 3), np.uint8)
GRID = BlockGrid((32, 48), 16, (210, 150))
KEYS = [(row, column) for row in range(4) for column in range(7)]


@given(order=st.permutations(KEYS), count=st.integers(1, len(KEYS)))
def test_whichever_blocks_are_read_in_any_order(order: list[tuple[int, int]], count: int) -> None:
    reader = OverlapReader(Paper(IMAGE), GRID, 1.0, order[:count])
    for key in order[:count]:
        box = GRID.input_of(key)
        expected = Paper(IMAGE).read_grid(box.x0, box.y0, box.columns, box.rows, 1.0)
        assert np.array_equal(reader.read(key), expected)


class Counting(Paper):
    """Counts the pixels that are read."""

    pixels = 0

    def read_grid(
        self, x: int, y: int, columns: int, rows: int, downsample: float, fill: int = 255
    ) -> NDArray[np.uint8]:
        self.pixels += columns * rows
        return super().read_grid(x, y, columns, rows, downsample, fill)


def test_in_reading_order_every_pixel_is_read_once() -> None:
    paper = Counting(IMAGE)
    reader = OverlapReader(paper, GRID, 1.0, KEYS)
    for key in KEYS:
        reader.read(key)
    assert paper.pixels == (7 * 32 + 2 * 16) * (4 * 48 + 2 * 16)
