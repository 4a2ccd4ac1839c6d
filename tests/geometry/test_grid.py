"""Tiles partition the grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellgennet_qupath.geometry.grid import tile_grid
from cellgennet_qupath.geometry.rectangle import Rectangle


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 100), st.integers(0, 20))
def test_cores_cover_every_sample_once(columns: int, rows: int, tile: int, halo: int) -> None:
    times = np.zeros((rows, columns), int)
    tiles = tile_grid(columns, rows, tile, halo)
    for number, t in enumerate(tiles):
        assert t.index == number
        assert 1 <= t.core.columns <= tile and 1 <= t.core.rows <= tile
        assert t.outer == (t.core.x0 - halo, t.core.y0 - halo, t.core.x1 + halo, t.core.y1 + halo)
        times[t.core.y0 : t.core.y1, t.core.x0 : t.core.x1] += 1
    assert (times == 1).all()


@pytest.mark.parametrize("bad", [(0, 5, 4, 1), (5, 0, 4, 1), (5, 5, 0, 1), (5, 5, 4, -1)])
def test_impossible_grids_are_refused(bad: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="no grid"):
        tile_grid(*bad)


@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    tile=st.integers(1, 20),
    corner=st.tuples(st.integers(-30, 70), st.integers(-30, 70)),
    extent=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_the_tiles_of_a_part_are_those_that_overlap_it(
    size: tuple[int, int], tile: int, corner: tuple[int, int], extent: tuple[int, int]
) -> None:
    part = Rectangle.of_size(*corner, *extent)
    expected = [
        one
        for one in tile_grid(*size, tile, 3)
        if one.core.x0 < part.x1 and one.core.x1 > part.x0 and one.core.y0 < part.y1 and one.core.y1 > part.y0
    ]
    assert tile_grid(*size, tile, 3, part) == expected
