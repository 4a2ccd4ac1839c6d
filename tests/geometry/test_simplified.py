"""Outlines simplified the quick way are those of shapely's careful way."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from cellgennet_qupath.geometry.contours import _TOLERANCE, _simplified


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.floats(0.5, 40), lobes=st.integers(0, 9))
def test_same_points_in_the_same_order(seed: int, size: float, lobes: int) -> None:
    rng = np.random.default_rng(seed)
    rings = []
    for _ in range(20):
        angle = np.linspace(0, 2 * np.pi, max(8, int(7 * size)), endpoint=False) + rng.uniform(0, 7)
        radius = size * (
            1 + 0.4 * rng.random() * np.sin(lobes * angle) + 0.02 * rng.standard_normal(len(angle))
        )
        rings.append(np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]))
    closed = np.array([shapely.LinearRing(ring) for ring in rings], dtype=object)
    expected = shapely.simplify(shapely.polygons(closed), _TOLERANCE)
    assert np.array_equal(shapely.to_wkb(_simplified(closed)), shapely.to_wkb(expected))


@pytest.mark.parametrize(
    "points",
    [
        [(0, 0), (1, 0), (1, 1), (0, 1)],
        [(0, 0), (9, 0.1), (18, 0), (18, 0.1), (9, 0.2), (0, 0.1)],
        # A neck that plain Douglas-Peucker closes.
        [(0, 0), (5, 0), (5, 0.9), (10, 0.9), (10, 0), (15, 0), (15, 2), (7.5, 1.08), (0, 2), (-3, 1)],
    ],
    ids=["square", "sliver", "neck"],
)
def test_odd_shapes(points: list[tuple[float, float]]) -> None:
    ring = np.array([shapely.LinearRing(points)], dtype=object)
    (found,) = _simplified(ring)
    assert found.is_valid
    assert found.equals(shapely.simplify(shapely.Polygon(points), _TOLERANCE))
