"""QuPath's shapes as geometries."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from cellgennet_qupath.qupath.formats import roi


def test_an_ellipse_is_qupaths_polygon_of_a_hundred_vertices() -> None:
    made = roi.ellipse(700, 200, 740, 228)
    xy = shapely.get_coordinates(made)
    assert len(xy) == 101
    assert made.bounds == (700, 200, 740, 228)
    on = ((xy[:, 0] - 720) / 20) ** 2 + ((xy[:, 1] - 214) / 14) ** 2
    np.testing.assert_allclose(on, 1, atol=2e-3)
    np.testing.assert_array_equal(xy[1], [739.96, 214.88])


def test_rectangles_points_and_lines() -> None:
    assert shapely.area(roi.rectangle(1, 2, 4, 6)) == 12
    assert isinstance(roi.points([1.5], [2.5]), shapely.Point)
    assert shapely.get_num_geometries(roi.points([1, 2], [3, 4])) == 2
    assert shapely.length(roi.line([0, 3], [0, 4])) == 5
    assert shapely.is_empty(roi.line([0], [0]))
    assert shapely.is_empty(roi.polygon([0, 1], [0, 1]))
    assert shapely.area(roi.polygon([0, 4, 4, 4, 0, 0], [0, 0, 0, 4, 4, 0])) == 16


def test_coordinates_lie_on_qupaths_grid() -> None:
    np.testing.assert_array_equal(roi.snap([0.005, 0.0149, -0.005, 7]), [0.01, 0.01, 0.0, 7])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e300])
def test_impossible_coordinates_are_refused(bad: float) -> None:
    with pytest.raises(roi.RoiError):
        roi.polygon([0, bad, 1], [0, 1, 1])
    with pytest.raises(roi.RoiError):
        roi.geometry(shapely.to_wkb(shapely.Point(bad, 0)))


def test_a_damaged_geometry_is_refused() -> None:
    whole = shapely.to_wkb(shapely.box(0, 0, 1, 1))
    for length in range(len(whole)):
        with pytest.raises(roi.RoiError):
            roi.geometry(whole[:length])


def test_an_outline_drawn_the_other_way_round_is_a_hole() -> None:
    outer = [(0, 0), (9, 0), (9, 9), (0, 9)]
    inner = [(2, 2), (2, 4), (4, 4), (4, 2)]
    assert shapely.area(roi.area([outer, inner])) == 77
    assert shapely.area(roi.area([outer, inner[::-1]])) == 81
    assert shapely.area(roi.area([outer, [(20, 20), (21, 20), (21, 21)]])) == 81.5


def winding(ring: list[tuple[int, int]], x: float, y: float) -> float:
    """Turns around a point, by adding up angles: slow and of another kind than the code under test."""
    corners = np.array([*ring, ring[0]], dtype=float) - (x, y)
    angles = np.arctan2(corners[:, 1], corners[:, 0])
    return float(np.round(((np.diff(angles) + np.pi) % (2 * np.pi) - np.pi).sum() / (2 * np.pi)))


corner = st.tuples(st.integers(0, 12), st.integers(0, 12))


@settings(max_examples=150, deadline=None)
@given(st.lists(corner, min_size=3, max_size=9))
def test_inside_is_where_the_outline_winds_around(ring: list[tuple[int, int]]) -> None:
    made = roi.polygon([x for x, _ in ring], [y for _, y in ring])
    assert shapely.is_valid(made)
    outline = shapely.LinearRing([*ring, ring[0]]) if len(set(ring)) > 2 else shapely.Point(ring[0])
    for x, y in np.random.default_rng(0).uniform(0, 12, (25, 2)):
        if shapely.distance(outline, shapely.Point(x, y)) > 0.02:
            assert shapely.contains_xy(made, x, y) == (winding(ring, x, y) != 0)
