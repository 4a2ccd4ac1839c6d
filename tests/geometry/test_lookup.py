"""Shapes and points by place: the same as by looking at each of them."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from cellgennet_qupath.geometry.lookup import PointIndex, ShapeIndex, near_each

RNG = np.random.default_rng(5)
BOXES = np.asarray(
    shapely.box(*(RNG.uniform(0, 100, (2, 300))), *(RNG.uniform(100, 120, (2, 300)))), dtype=object
)


def test_shapes_near_a_window_in_their_order() -> None:
    shapes = np.array(
        [shapely.box(k, k, k + 1, k + 1) for k in (5, 3, 9, 4)] + [shapely.Polygon()], dtype=object
    )
    found = ShapeIndex(shapes).near(np.array([4.0, 4.0]), np.array([6.0, 6.0]))
    assert [shape.bounds[0] for shape in found] == [5, 3, 4], "3 touches the window's corner"
    assert len(ShapeIndex(shapes[:0]).near(np.zeros(2), np.ones(2))) == 0


def test_others_near_each_shape() -> None:
    shapes = np.array(
        [shapely.box(0, 0, 2, 2), shapely.box(50, 50, 51, 51), shapely.box(1, 1, 9, 9)], dtype=object
    )
    others = np.array([shapely.box(8, 8, 9, 9), shapely.box(1, 1, 3, 3)], dtype=object)
    assert [(row, near.tolist()) for row, near in near_each(shapes, others)] == [(0, [1]), (2, [0, 1])]
    assert list(near_each(shapes, others[:0])) == []


SHAPES = [
    shapely.box(10, 10, 30, 20),
    shapely.Point(50, 50).buffer(22),
    shapely.MultiPolygon([shapely.box(0, 0, 5, 5), shapely.box(90, 90, 300, 300)]),
    shapely.box(-500, -500, 500, 500),
    shapely.box(200, 200, 300, 300),
    shapely.box(7, 7, 7.5, 7.5),
    shapely.Polygon(),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("n", [0, 1, 3, 3000])
def test_points_in_a_shape_are_found_in_their_order(shape: shapely.Geometry, n: int) -> None:
    points = np.random.default_rng(n).uniform(-10, 110, (n, 2)).round(0)
    points[5::50] = np.nan
    expected = np.flatnonzero(shapely.intersects_xy(shape, points))
    assert PointIndex(points).inside(shape).tolist() == expected.tolist()


@given(
    points=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=40),
    box=st.tuples(*[st.integers(-1, 10)] * 4),
)
def test_points_on_the_border_are_inside(
    points: list[tuple[int, int]], box: tuple[int, int, int, int]
) -> None:
    x0, y0, x1, y1 = (
        min(box[0], box[2]),
        min(box[1], box[3]),
        max(box[0], box[2]) + 1,
        max(box[1], box[3]) + 1,
    )
    expected = [k for k, (x, y) in enumerate(points) if x0 <= x <= x1 and y0 <= y <= y1]
    found = PointIndex(np.array(points, np.float64).reshape(-1, 2)).inside(shapely.box(x0, y0, x1, y1))
    assert found.tolist() == expected
