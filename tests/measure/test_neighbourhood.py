"""Neighbours against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from cellgennet_qupath.measure import neighbourhood as module
from cellgennet_qupath.measure.neighbourhood import DENSITY, NEIGHBOURS, disc_inside, neighbourhood

SIZE = (2000.0, 1200.0)


def flat(n: int) -> np.ndarray:
    return np.zeros((n, 2), np.int32)


@pytest.mark.parametrize("at_once", [7, 50_000])
def test_as_counted_by_hand(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", at_once)
    points = np.random.default_rng(0).uniform((0, 0), SIZE, (300, 2))
    table = neighbourhood(points, flat(300), SIZE, (0.5, 0.25))
    assert list(table) == ["Nearest nucleus µm", NEIGHBOURS, DENSITY]
    micrometres = points * (0.5, 0.25)
    distance = np.linalg.norm(micrometres[:, None] - micrometres[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert table["Nearest nucleus µm"].to_numpy() == pytest.approx(distance.min(axis=1))
    assert table[NEIGHBOURS].tolist() == (distance <= 50).sum(axis=1).tolist()
    frame = shapely.box(0, 0, 1000, 300)
    for row in range(0, 300, 10):
        inside = shapely.Point(micrometres[row]).buffer(50, quad_segs=64).intersection(frame).area / 1e6
        assert table[DENSITY][row] == pytest.approx(table[NEIGHBOURS][row] / inside, rel=5e-3)


def test_an_even_tissue_is_as_dense_at_its_edge_as_inside() -> None:
    x, y = np.meshgrid(np.arange(2, 400, 4.0), np.arange(2, 400, 4.0))
    points = np.column_stack([x.ravel(), y.ravel()])
    table = neighbourhood(points, flat(len(points)), (400, 400), (1, 1))
    expected = 1e6 / 16
    assert table[DENSITY].to_numpy() == pytest.approx(expected, rel=0.12)
    assert table[NEIGHBOURS].min() < 0.3 * table[NEIGHBOURS].max()


def test_planes_are_kept_apart() -> None:
    points = np.array([[10.0, 10], [12, 10], [10, 10], [500, 500]])
    planes = np.array([[0, 0], [0, 0], [1, 0], [0, 0]])
    table = neighbourhood(points, planes, SIZE, (1, 1))
    assert table[NEIGHBOURS].tolist() == [1, 1, 0, 0]
    assert table["Nearest nucleus µm"].tolist()[:2] == [2, 2]
    assert np.isnan(table["Nearest nucleus µm"][2])


def test_without_a_pixel_size_nothing_is_in_micrometres() -> None:
    table = neighbourhood(np.array([[0.0, 0], [3, 4]]), flat(2), SIZE, None)
    assert list(table) == ["Nearest nucleus px"]
    assert table["Nearest nucleus px"].tolist() == [5, 5]


def test_no_nuclei() -> None:
    table = neighbourhood(np.empty((0, 2)), flat(0), SIZE, (1, 1))
    assert list(table) == ["Nearest nucleus µm", NEIGHBOURS, DENSITY]
    assert len(table) == 0


def test_discs_larger_than_the_image() -> None:
    inside = disc_inside(np.array([[5.0, 5.0], [0.0, 0.0]]), 50, np.array([10.0, 10.0]))
    assert inside == pytest.approx([100, 100], rel=1e-3)
