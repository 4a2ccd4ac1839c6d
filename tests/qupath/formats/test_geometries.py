"""Crafted geometries are refused before a geometry library reads them; real ones pass unchanged."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import shapely

from cellgennet_qupath.qupath.formats import geometries, roi
from cellgennet_qupath.qupath.formats.geometries import DEEPEST, check_wkb, from_geojson, from_geojsons

HOLED = shapely.Polygon([(0, 0), (9, 0), (9, 9), (0, 9)], [[(2, 2), (4, 2), (4, 4)]])
REAL = [
    shapely.Point(1, 2),
    shapely.MultiPoint([(1, 2), (3, 4)]),
    shapely.LineString([(0, 0), (1, 1)]),
    shapely.MultiLineString([[(0, 0), (1, 1)], [(2, 2), (3, 3)]]),
    HOLED,
    shapely.MultiPolygon([HOLED, shapely.box(20, 20, 30, 30)]),
    shapely.GeometryCollection([shapely.Point(1, 2), HOLED]),
    shapely.Polygon(),
    shapely.force_3d(HOLED, 1.0),
]


@pytest.mark.parametrize("shape", REAL, ids=lambda shape: shape.geom_type)
def test_real_geometries_pass(shape: shapely.Geometry) -> None:
    assert shapely.equals(from_geojson(json.loads(shapely.to_geojson(shape))), shape)
    for order in (0, 1):
        for flavor in ("extended", "iso"):
            check_wkb(shapely.to_wkb(shape, byte_order=order, flavor=flavor))
    check_wkb(shapely.to_wkb(shapely.set_srid(shape, 4326), include_srid=True))


def nested(levels: int) -> tuple[bytes, dict[str, Any]]:
    wkb, drawn = struct.pack("<BIdd", 1, 1, 1, 2), {"type": "Point", "coordinates": [1, 2]}
    for _ in range(levels):
        wkb = struct.pack("<BII", 1, 7, 1) + wkb
        drawn = {"type": "GeometryCollection", "geometries": [drawn]}
    return wkb, drawn


def test_deep_collections_are_refused() -> None:
    wkb, drawn = nested(DEEPEST)
    check_wkb(wkb)
    from_geojson(drawn)
    wkb, drawn = nested(DEEPEST + 2)
    with pytest.raises(ValueError, match="deep"):
        check_wkb(wkb)
    with pytest.raises(ValueError, match="deep"):
        from_geojson(drawn)


@pytest.mark.parametrize("kind", [2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("count", [3, 100_000])
def test_counts_beyond_the_end_are_refused(kind: int, count: int) -> None:
    with pytest.raises(ValueError, match=r"beyond|cut off"):
        check_wkb(struct.pack("<BII", 1, kind, count))
    with pytest.raises(roi.RoiError, match="damaged geometry"):
        roi.geometry(struct.pack(">BII", 0, kind, count))


@pytest.mark.parametrize("wkb", [b"", b"\1", b"\1\1\0\0\0", b"\1\x63\0\0\0" + bytes(16)])
def test_anything_else_is_no_wkb(wkb: bytes) -> None:
    with pytest.raises(ValueError):
        check_wkb(wkb)


@pytest.mark.parametrize(
    "drawn",
    [
        {},
        {"type": "Polygon"},
        {"type": "Circle", "coordinates": [1, 2]},
        {"type": "Point", "coordinates": [1]},
        {"type": "Point", "coordinates": 3},
        {"type": "Polygon", "coordinates": [1, 2, 3]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, None], [2, 2], [0, 0]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, float("nan")], [2, 2], [0, 0]]]},
        {"type": "MultiPolygon", "coordinates": [[[[0, 0, 0, 0, 0]]]]},
        {"type": "GeometryCollection", "geometries": {"type": "Point"}},
    ],
)
def test_anything_else_is_no_geometry(drawn: dict[str, Any]) -> None:
    with pytest.raises((ValueError, LookupError, TypeError)):
        from_geojson(drawn)


def test_outlines_that_cross_themselves_everywhere_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    star = np.random.default_rng(0).uniform(0, 100, (60, 2))
    assert not shapely.is_empty(roi.polygon(*star.T))
    monkeypatch.setattr(geometries, "MOST_CROSSINGS", 500)
    with pytest.raises(roi.RoiError, match="crosses itself too often"):
        roi.polygon(*star.T)
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    x, y = 100 * np.cos(angles), 100 * np.sin(angles)
    x[[50, 51]], y[[50, 51]] = x[[51, 50]], y[[51, 50]]  # a slip of the hand
    monkeypatch.setattr(geometries, "MOST_CROSSINGS", 5000)
    assert not shapely.is_empty(roi.polygon(x, y))


MANY: list[dict[str, Any]] = [
    {"type": "Polygon", "coordinates": [[[0, 0], [5, 0], [5, 5], [0, 0]]]},
    {
        "type": "Polygon",
        "coordinates": [[[0.5, 0], [9, 0], [9, 9], [0.5, 0]], [[7, 1], [8, 1], [8, 2], [7, 1]]],
    },
    {"type": "MultiPolygon", "coordinates": [[[[0, 0], [5, 0], [5, 5], [0, 0]]]]},
    {"type": "Point", "coordinates": [1, 2]},
    {"type": "Polygon", "coordinates": [[[0, 0, 1], [5, 0, 1], [5, 5, 1], [0, 0, 1]]]},
    {"type": "Polygon", "coordinates": []},
    {"type": "Polygon", "coordinates": [[[3, 3], [4, 3], [4, 4], [3, 3]]]},
]


@pytest.mark.parametrize("rows", [range(7), (0, 6), (6,), (), (1, 3), (0, 4)])
def test_many_geometries_are_read_as_each_of_them(rows: Sequence[int]) -> None:
    drawn = [MANY[row] for row in rows]
    expected = [bytes(shapely.to_wkb(from_geojson(one))) for one in drawn]
    assert shapely.to_wkb(from_geojsons(drawn)).tolist() == expected


@pytest.mark.parametrize(
    "ring",
    [
        [[0, 0], [1, 0], [1, 1], [0, 1]],
        [["0", "0"], ["1", "0"], ["1", "1"], ["0", "0"]],
        [[0, 0], [1, 0], [1], [0, 0]],
        [[0, 0], [1, None], [1, 1], [0, 0]],
        [[0, 0], [1, float("inf")], [1, 1], [0, 0]],
        [[0, 0], [1, 10**400], [1, 1], [0, 0]],
        [0, 1, 2, 3],
        [{}, {}, {}, {}],
    ],
    ids=str,
)
def test_one_impossible_ring_among_others_is_refused(ring: list[Any]) -> None:
    with pytest.raises((ValueError, TypeError, LookupError, OverflowError, shapely.errors.ShapelyError)):
        from_geojsons([MANY[0], {"type": "Polygon", "coordinates": [ring]}, MANY[6]])
