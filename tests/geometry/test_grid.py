"""Tiles partition the grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellgennet_qupath.geometry.grid import tile_grid


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
