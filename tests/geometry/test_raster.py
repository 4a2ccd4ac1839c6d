"""The pixel-centre rule."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cellgennet_qupath.geometry.raster import rasterize


def centres(shape: tuple[int, int], downsample: float, origin: tuple[int, int]) -> list[NDArray[np.float64]]:
    x = (np.arange(shape[1]) + origin[0] + 0.5) * downsample
    y = (np.arange(shape[0]) + origin[1] + 0.5) * downsample
    return list(np.meshgrid(x, y))


def blob(seed: int, at: tuple[float, float], size: float, hole: bool) -> shapely.Geometry:
    generator = np.random.default_rng(seed)
    angle = np.sort(generator.uniform(0, 2 * np.pi, 17))
    radius = size * generator.uniform(0.6, 1, 17)
    outline = np.c_[at[0] + radius * np.cos(angle), at[1] + radius * np.sin(angle)]
    polygon = shapely.Polygon(outline).buffer(0)
    return polygon.difference(shapely.Point(at).buffer(size / 4)) if hole else polygon


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    x=st.floats(-10, 70),
    y=st.floats(-10, 60),
    size=st.floats(2, 40),
    hole=st.booleans(),
    downsample=st.sampled_from([1.0, 2.0, 3.4, 0.5]),
    origin=st.tuples(st.integers(-5, 5), st.integers(-5, 5)),
)
def test_a_sample_belongs_to_the_polygon_around_its_centre(
    seed: int, x: float, y: float, size: float, hole: bool, downsample: float, origin: tuple[int, int]
) -> None:
    polygon = blob(seed, (x, y), size, hole)
    labels = rasterize([polygon], (45, 50), downsample, origin)
    gx, gy = centres((45, 50), downsample, origin)
    near = shapely.dwithin(shapely.boundary(polygon), shapely.points(gx, gy), 1e-7)
    assert np.array_equal(labels[~near] == 1, shapely.contains_xy(polygon, gx, gy)[~near])


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**31),
    column=st.integers(0, 30),
    row=st.integers(0, 30),
    d=st.sampled_from([1.0, 3.4]),
)
def test_a_window_is_cut_from_the_whole(seed: int, column: int, row: int, d: float) -> None:
    generator = np.random.default_rng(seed)
    polygons = [blob(seed + i, tuple(generator.uniform(0, 50 * d, 2)), 12 * d, i % 2 == 0) for i in range(9)]
    whole = rasterize(polygons, (50, 50), d)
    window = rasterize(polygons, (20, 17), d, (column, row))
    assert np.array_equal(window[: 50 - row, : 50 - column], whole[row : row + 20, column : column + 17])


def test_neighbours_tile_the_plane() -> None:
    boxes = [shapely.box(x, y, x + 2.5, y + 1.5) for x in np.arange(0, 10, 2.5) for y in np.arange(0, 9, 1.5)]
    labels = rasterize(boxes, (9, 10))
    assert labels.min() == 1
    assert rasterize(boxes[::-1], (9, 10), values=np.arange(len(boxes), 0, -1)).tolist() == labels.tolist()


def test_a_whole_pixel_box_is_exactly_its_pixels() -> None:
    labels = rasterize([shapely.box(2, 1, 5, 3)], (4, 6))
    expected = np.zeros((4, 6), np.int32)
    expected[1:3, 2:5] = 1
    assert np.array_equal(labels, expected)
    assert labels.dtype == np.int32


def test_holes_multipolygons_and_values() -> None:
    ring = shapely.Polygon([(0, 0), (8, 0), (8, 8), (0, 8)], [[(2, 2), (6, 2), (6, 6), (2, 6)]])
    pair = shapely.MultiPolygon([shapely.box(3, 3, 4, 4), shapely.box(9, 0, 10, 1)])
    labels = rasterize([ring, pair], (8, 10), values=[-1, 7])
    assert (labels == -1).sum() == 64 - 16
    assert np.argwhere(labels == 7).tolist() == [[0, 9], [3, 3]]


def test_the_later_polygon_wins() -> None:
    labels = rasterize([shapely.box(0, 0, 4, 1), shapely.box(2, 0, 6, 1)], (1, 6))
    assert labels.tolist() == [[1, 1, 2, 2, 2, 2]]


def test_large_regions_are_painted_in_batches() -> None:
    labels = rasterize([shapely.box(0, 0, 3000, 3000), shapely.box(10, 2000, 20, 2500)], (3000, 3000))
    assert (labels == 2).sum() == 5000
    assert (labels == 1).sum() == 3000 * 3000 - 5000


@pytest.mark.parametrize(
    "geometry",
    [
        shapely.Point(1, 1),
        shapely.LineString([(0, 0), (5, 5)]),
        shapely.Polygon(),
        shapely.box(50, 50, 60, 60),
    ],
)
def test_what_covers_nothing_paints_nothing(geometry: shapely.Geometry) -> None:
    assert not rasterize([geometry], (8, 8)).any()


def test_no_polygons() -> None:
    assert not rasterize([], (3, 4)).any()


def test_values_must_fit() -> None:
    with pytest.raises(ValueError, match="2 polygons"):
        rasterize([shapely.box(0, 0, 1, 1)] * 2, (3, 3), values=[1])
