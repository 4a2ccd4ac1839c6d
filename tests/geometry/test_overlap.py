"""Areas shared with one large shape: the same as by intersecting each outline with all of it."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from cellgennet_qupath.geometry.overlap import shared_areas


def star(points: int, radius: float, depth: float) -> shapely.Polygon:
    """A shape whose border has many vertices, far in and far out."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    reach = radius * np.where(np.arange(points) % 2, 1.0, 1 - depth)
    return shapely.Polygon(reach[:, None] * np.column_stack([np.cos(angle), np.sin(angle)]))


def squares(n: int, reach: float) -> NDArray[np.object_]:
    rng = np.random.default_rng(3)
    x, y = rng.uniform(-reach, reach, (2, n))
    return np.asarray(shapely.box(x, y, x + rng.uniform(1, 30, n), y + rng.uniform(1, 30, n)), dtype=object)


LARGE = star(2000, 300, 0.1)
AREAS = {
    "small": shapely.box(-50, -50, 60, 60),
    "many vertices": LARGE,
    "with a hole": shapely.difference(LARGE, star(900, 120, 0.5)),
    "several parts": shapely.MultiPolygon([LARGE, shapely.box(400, 0, 500, 9)]),
    "as high as a thread": shapely.Polygon([(x, 0.001 * (x % 2)) for x in range(300)] + [(299, -1), (0, -1)]),
}


@pytest.mark.parametrize("area", AREAS.values(), ids=AREAS)
def test_shared_areas_are_those_of_the_intersections(area: shapely.Geometry) -> None:
    outlines = squares(400, 350)
    expected = shapely.area(shapely.intersection(area, outlines))
    assert (expected > 0).any()
    assert np.allclose(shared_areas(outlines, area), expected, rtol=0, atol=1e-7)


def test_an_outline_on_the_border_is_inside_and_one_beside_it_is_not() -> None:
    inside, beside, none = shapely.box(0, 0, 10, 10), shapely.box(60, 0, 70, 10), shapely.Polygon()
    shapes = np.array([inside, beside, none, AREAS["small"]], dtype=object)
    assert shared_areas(shapes, AREAS["small"]).tolist() == [100, 0, 0, 110 * 110]
    assert shared_areas(np.empty(0, dtype=object), LARGE).tolist() == []


def test_only_outlines_on_the_border_are_intersected(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs: list[int] = []
    real = shapely.intersection

    def counting(one: NDArray[np.object_], other: NDArray[np.object_]) -> object:
        pairs.append(np.broadcast(one, other).size)
        return real(one, other)

    monkeypatch.setattr(shapely, "intersection", counting)
    shared_areas(squares(2000, 150), shapely.box(-200, -200, 200, 200))
    assert sum(pairs) == 0
    shared_areas(squares(2000, 350), LARGE)
    assert 0 < sum(pairs) < 2000
