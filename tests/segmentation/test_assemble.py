"""All tiles together: each nucleus once, in an order of its own, with few tiles in memory at a time."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from cellgennet_qupath.nuclei import collect
from cellgennet_qupath.segmentation import assemble as module
from cellgennet_qupath.segmentation.assemble import SlideNuclei, TileNuclei, assemble

from .fakes import draw, task

SIDE = 100


@dataclass
class Shelf(dict[int, TileNuclei]):
    """Tiles that are read anew each time; ``given``: index and tile, for as long as somebody holds it."""

    given: list[tuple[int, weakref.ref[TileNuclei]]] = field(default_factory=list)

    def __getitem__(self, index: int) -> TileNuclei:
        read = replace(super().__getitem__(index))
        self.given.append((index, weakref.ref(read)))
        return read

    def held(self) -> int:
        return sum(tile() is not None for _, tile in self.given)


def shelf(columns: int, rows: int, count: int, seed: int) -> Shelf:
    """``count`` squares, each in the tile of a grid that holds its centre."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, columns * SIDE, count), rng.uniform(0, rows * SIDE, count)
    owner = (y // SIDE).astype(int) * columns + (x // SIDE).astype(int)
    tiles = Shelf()
    for index in range(columns * rows):
        mine = owner == index
        squares = shapely.box(x[mine] - 3, y[mine] - 3, x[mine] + 3, y[mine] + 3)
        table = pd.DataFrame({"x": x[mine], "y": y[mine]}).astype(np.float32)
        tiles[index] = TileNuclei(np.atleast_1d(squares), y[mine].astype(np.float32), table, float(index))
    return tiles


def assembled(tiles: Shelf, order: list[int]) -> SlideNuclei:
    return assemble(task(draw(64, 64, []), 64)[0], tiles, order, "cpu")


@given(st.integers(0, 300), st.integers(1, 40), st.randoms(use_true_random=False))
def test_blocks_hold_each_nucleus_once_in_one_order(count: int, size: int, random: object) -> None:
    tiles = shelf(3, 4, count, seed=1)
    shuffled = list(range(12))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", size)
        found = assembled(tiles, shuffled)
        chunks = list(found.chunks())
    assert len(found) == count == sum(len(chunk) for chunk in chunks)
    assert len(chunks) == max(1, -(-count // size))
    whole, expected = collect(found), collect(assembled(tiles, list(range(12))))
    assert found.highest == 11
    assert whole.ids.tolist() == expected.ids.tolist()
    assert len(set(whole.ids)) == count
    centres = shapely.get_coordinates(shapely.centroid(whole.polygons))
    assert (np.diff(centres[:, 1]) >= -1e-9).all()
    if count:
        # What was measured and how sure it is stay with their nucleus.
        np.testing.assert_allclose(whole.measurements[["x", "y"]], centres, rtol=1e-5)
        np.testing.assert_allclose(whole.probability, centres[:, 1], rtol=1e-5)


def test_a_tile_is_held_only_while_blocks_reach_into_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = shelf(2, 50, 5000, seed=0)
    monkeypatch.setattr(module, "CHUNK", 50)
    found = assembled(tiles, list(range(100)))
    tiles.given.clear()
    # A chunk is half a row of tiles high: it reaches into two rows of two.
    assert max(tiles.held() for _ in found.chunks()) <= 4
    assert sorted(index for index, _ in tiles.given) == list(range(100))
