"""Cells that grow chunk by chunk are those that grow all at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from cellgennet_qupath.measure.cells import cell_outlines
from cellgennet_qupath.nuclei import Nuclei, collect
from cellgennet_qupath.segmentation.grown import GrownNuclei

MPP = (0.5, 0.5)
DISTANCE = 4.0
HIGHEST = 32.0


@dataclass
class Pieces:
    """Nuclei in chunks of a few."""

    nuclei: Nuclei
    size: int

    def __len__(self) -> int:
        return len(self.nuclei)

    def chunks(self) -> Iterator[Nuclei]:
        for start in range(0, max(1, len(self.nuclei)), self.size):
            yield self.nuclei.take(np.arange(start, min(start + self.size, len(self.nuclei))))


def crowd(n: int) -> Nuclei:
    """Nuclei of all sizes up to the highest, many of them close together, from top to bottom."""
    rng = np.random.default_rng(n)
    centres, radii = rng.uniform(20, 280, (n, 2)), rng.uniform(3, HIGHEST / 2, n)
    kept: list[shapely.Geometry] = []
    for centre, radius in zip(centres, radii, strict=True):
        disc = shapely.buffer(shapely.Point(centre), radius, quad_segs=5)
        if not kept or not shapely.intersects(disc, np.array(kept, dtype=object)).any():
            kept.append(disc)
    bounds = shapely.bounds(np.array(kept, dtype=object)).reshape(-1, 4)
    order = np.argsort(bounds[:, 1] + bounds[:, 3], kind="stable")
    return Nuclei.from_polygons([kept[row] for row in order])


@pytest.mark.parametrize("size", [1, 3, 10, 1000])
def test_no_cell_depends_on_the_chunks(size: int) -> None:
    nuclei = crowd(400)
    assert len(nuclei) > 60
    seen: list[int] = []

    def grow(window: Nuclei, rows: NDArray[np.intp]) -> Nuclei:
        seen.append(len(window))
        cells = cell_outlines(window.polygons, DISTANCE, MPP, (300, 300))
        return replace(window.take(rows), cells=cells[rows])

    grown = GrownNuclei(Pieces(nuclei, size), HIGHEST + 2 * DISTANCE / MPP[1] + 1, grow)
    found = collect(grown)
    expected = cell_outlines(nuclei.polygons, DISTANCE, MPP, (300, 300))
    assert found.ids.tolist() == nuclei.ids.tolist()
    assert found.cells is not None
    assert shapely.to_wkb(found.cells).tolist() == shapely.to_wkb(expected).tolist()
    assert [len(chunk) for chunk in grown.chunks()] == [len(c) for c in Pieces(nuclei, size).chunks()]
    if size < 10:
        assert max(seen) < len(nuclei) / 1.5


def test_no_nuclei_are_one_empty_chunk() -> None:
    grown = GrownNuclei(Pieces(crowd(1).take(np.empty(0, np.intp)), 5), 50.0, lambda window, rows: window)
    assert [len(chunk) for chunk in grown.chunks()] == [0]
