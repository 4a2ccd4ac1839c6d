"""What is measured of a tile's nuclei, and from which pixels."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from cellgennet_qupath.measure import tile as module
from cellgennet_qupath.measure.intensity import stain_columns
from cellgennet_qupath.measure.tile import TOUCHES_EDGE, MeasureOptions, measure_tile
from cellgennet_qupath.qupath.stains import H_E

from .picture import Picture

HOW = MeasureOptions((0.25, 0.25), H_E, margin=2)


@pytest.fixture
def image() -> Picture:
    return Picture(np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8))


@pytest.fixture
def nuclei() -> NDArray[np.object_]:
    rng = np.random.default_rng(1)
    places = rng.uniform((8, 8), (292, 192), (60, 2))
    return np.array([shapely.Point(place).buffer(rng.uniform(3, 7)) for place in places], dtype=object)


def test_columns_come_in_qupaths_order(image: Picture, nuclei: NDArray[np.object_]) -> None:
    table = measure_tile(image, nuclei, HOW)
    assert list(table.columns) == [
        "Area µm^2", "Length µm", "Circularity", "Solidity", "Max diameter µm", "Min diameter µm",
        *stain_columns(H_E), TOUCHES_EDGE,
    ]  # fmt: skip
    assert table.notna().all(axis=None)
    plain = measure_tile(image, nuclei, MeasureOptions(None))
    assert not any("µm" in name or "Hematoxylin" in name for name in plain.columns)
    for how in (HOW, MeasureOptions(None)):
        none = measure_tile(image, nuclei[:0], how)
        assert list(none.columns) == list(measure_tile(image, nuclei[:1], how).columns)
        assert len(none) == 0


def test_large_windows_are_read_in_parts(
    image: Picture, nuclei: NDArray[np.object_], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = measure_tile(image, nuclei, HOW)
    assert len(image.reads) == 1
    monkeypatch.setattr(module, "_LARGEST_WINDOW", 5000)
    image.reads.clear()
    assert measure_tile(image, nuclei, HOW).equals(expected)
    assert len(image.reads) > 8
    single = max(float(np.prod(np.diff(b.reshape(2, 2), axis=0) + 2)) for b in shapely.bounds(nuclei))
    assert max(columns * rows for columns, rows in image.reads) <= max(5000, single)


@pytest.mark.parametrize(
    ("box", "touches"),
    [
        ((0, 50, 9, 59), 1),
        ((1.5, 50, 9, 59), 1),
        ((2, 50, 9, 59), 0),
        ((50, 0, 59, 9), 1),
        ((290, 50, 300, 59), 1),
        ((290, 50, 298.5, 59), 1),
        ((50, 190, 59, 200), 1),
        ((50, 190, 59, 198), 0),
    ],
)
def test_nuclei_at_the_edge_are_marked(
    image: Picture, box: tuple[float, float, float, float], touches: int
) -> None:
    one = np.array([shapely.box(*box)], dtype=object)
    assert measure_tile(image, one, HOW)[TOUCHES_EDGE].tolist() == [touches]
