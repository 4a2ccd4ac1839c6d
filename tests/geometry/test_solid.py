"""What drawn shapes cover."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from cellgennet_qupath.geometry.solid import polygons_of, solid

A, B = shapely.box(0, 0, 10, 10), shapely.box(5, 5, 15, 15)
INSIDE, BESIDE = shapely.box(2, 2, 4, 4), shapely.box(10, 0, 20, 10)
BOW = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
SPIKE = shapely.Polygon([(0, 0), (10, 0), (10, 10), (20, 10), (10, 10), (0, 10)])
RING = shapely.Polygon(A.exterior, [INSIDE.exterior])
LINE = shapely.LineString([(0, 0), (30, 30)])
MULTI, COLLECTION = shapely.MultiPolygon, shapely.GeometryCollection


@pytest.mark.parametrize(
    ("shape", "area", "polygons"),
    [
        (A, 100, 1),
        (RING, 96, 1),
        (BOW, 2, 1),
        (SPIKE, 100, 1),
        (MULTI([A, B]), 175, 2),
        (MULTI([A, A]), 100, 2),
        (MULTI([A, INSIDE]), 100, 2),
        (MULTI([A, BESIDE]), 200, 2),
        (MULTI([A, BOW]), 100, 2),
        (COLLECTION([A, B, LINE]), 175, 2),
        (COLLECTION([COLLECTION([MULTI([A, B])]), BOW]), 175, 3),
        (COLLECTION([BOW, LINE, shapely.Point(1, 1)]), 2, 1),
        (LINE, 0, 0),
        (shapely.Point(1, 1), 0, 0),
        (COLLECTION([]), 0, 0),
        (shapely.Polygon(), 0, 0),
        (shapely.Polygon([(0, 0), (5, 5), (0, 0), (0, 0)]), 0, 0),
    ],
)
def test_all_that_a_shape_covers_counts_once(shape: shapely.Geometry, area: float, polygons: int) -> None:
    covered = solid([LINE, shape, A])[1]
    assert covered.geom_type in ("Polygon", "MultiPolygon")
    assert shapely.is_valid(covered)
    assert shapely.area(covered) == pytest.approx(area)
    parts = polygons_of(shape)
    assert len(parts) == polygons
    assert shapely.is_valid(parts).all()
    assert shapely.area(shapely.union_all(parts)) == pytest.approx(area)


def test_valid_shapes_stay_as_they_are() -> None:
    shapes = np.array([A, RING, MULTI([A, shapely.box(20, 20, 30, 30)])], dtype=object)
    assert shapely.equals_exact(solid(shapes), shapes).all()
    assert len(solid(shapes[:0])) == 0
