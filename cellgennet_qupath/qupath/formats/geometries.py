"""Geometries that other people wrote, checked before a geometry library reads them.

Libraries trust counts and depth: a few bytes can make them take all memory or end the process.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

DEEPEST = 4
"""Collections inside collections; QuPath writes one level."""

MOST_CROSSINGS = 2_000_000
"""Pairs of overlapping edges in an outline that is to be repaired; a real one has a few per edge."""

_LEVELS = {
    "Point": 0,
    "MultiPoint": 1,
    "LineString": 1,
    "MultiLineString": 2,
    "Polygon": 2,
    "MultiPolygon": 3,
}
_POINT, _LINE, _POLYGON, _LAST = 1, 2, 3, 7


def from_geojson(drawn: Mapping[str, Any]) -> shapely.Geometry:
    """A geometry from decoded GeoJSON; members other than coordinates are ignored.

    Raises ValueError, LookupError or TypeError if it is not one, and ShapelyError.
    """
    plain = _checked(drawn, DEEPEST)
    return shapely.from_geojson(json.dumps(plain))


def from_geojsons(drawn: Sequence[Mapping[str, Any]]) -> NDArray[np.object_]:
    """Geometries from decoded GeoJSON, as ``from_geojson`` reads each: (n,). Raises as it does.

    Polygons of one ring, as nearly all outlines are, are made at once.
    """
    shapes = np.empty(len(drawn), dtype=object)
    plain = [row for row, one in enumerate(drawn) if _is_ring(one)]
    try:
        shapes[plain] = _polygons([drawn[row]["coordinates"][0] for row in plain])
    except (ValueError, TypeError, OverflowError, shapely.errors.ShapelyError):
        plain = []  # one of them is not right; read one by one, it is found
    for row in set(range(len(drawn))).difference(plain):
        shapes[row] = from_geojson(drawn[row])
    return shapes


def _is_ring(drawn: Mapping[str, Any]) -> bool:
    """Whether a geometry looks like a polygon without holes."""
    if drawn["type"] != "Polygon":
        return False
    rings = drawn["coordinates"]
    return isinstance(rings, list) and len(rings) == 1 and isinstance(rings[0], list) and len(rings[0]) > 3


def _polygons(rings: Sequence[list[Any]]) -> NDArray[np.object_]:
    """Polygons of rings. Raises ValueError, TypeError or ShapelyError if one is none."""
    points = list(chain.from_iterable(rings))
    if not set(map(type, points)) <= {list} or not set(map(type, chain.from_iterable(points))) <= {
        int,
        float,
    }:
        raise ValueError("positions that are not numbers")
    xy = np.array(points, np.float64)
    if xy.ndim != 2 or xy.shape[1] != 2 or not np.isfinite(xy).all():
        raise ValueError("impossible positions")
    ends = np.concatenate([[0], np.cumsum([len(ring) for ring in rings], dtype=np.int64)])
    if not np.array_equal(xy[ends[:-1]], xy[ends[1:] - 1]):
        raise ValueError("a ring that is not closed")
    polygons: NDArray[np.object_] = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, xy, (ends, np.arange(len(rings) + 1))
    )
    return polygons


def _checked(drawn: Mapping[str, Any], levels: int) -> dict[str, Any]:
    kind = drawn["type"]
    if kind == "GeometryCollection":
        parts = drawn["geometries"]
        if not levels or not isinstance(parts, list):
            raise ValueError("a collection nested too deeply, or of nothing")
        return {"type": kind, "geometries": [_checked(part, levels - 1) for part in parts]}
    if kind not in _LEVELS:
        raise ValueError("a geometry of an unknown type")
    _check_positions(drawn["coordinates"], _LEVELS[kind])
    return {"type": kind, "coordinates": drawn["coordinates"]}


def _check_positions(coordinates: object, levels: int) -> None:
    """Raises ValueError unless coordinates are lists of finite positions, nested ``levels`` deep."""
    if not isinstance(coordinates, list):
        raise ValueError("coordinates that are not a list")
    if levels > 1:
        for part in coordinates:
            _check_positions(part, levels - 1)
        return
    values = np.asarray(coordinates if levels else [coordinates], np.float64)
    if values.size and (values.ndim != 2 or values.shape[1] not in (2, 3) or not np.isfinite(values).all()):
        raise ValueError("impossible positions")


def check_wkb(wkb: bytes) -> None:
    """Raises ValueError unless all counts in well-known binary fit its length and its depth is small."""
    try:
        _skip(wkb, 0, DEEPEST)
    except (struct.error, IndexError) as error:
        raise ValueError("cut off") from error


def _skip(wkb: bytes, at: int, levels: int) -> int:
    """The position after the geometry that begins at ``at``."""
    order = ">" if wkb[at] == 0 else "<"
    (code,) = struct.unpack_from(f"{order}I", wkb, at + 1)
    at += 5
    if code & 0x20000000:  # a reference system, as PostGIS writes it
        at += 4
    iso, kind = divmod(code & 0xFFFF, 1000)
    z = bool(code & 0x80000000) or iso in (1, 3)
    m = bool(code & 0x40000000) or iso in (2, 3)
    size = 8 * (2 + z + m)
    if not _POINT <= kind <= _LAST:
        raise ValueError("a geometry of an unknown type")
    if kind == _POINT:
        return _within(wkb, at + size)
    (count,) = struct.unpack_from(f"{order}I", wkb, at)
    at += 4
    if kind == _LINE:
        return _within(wkb, at + count * size)
    _within(wkb, at + 4 * count)
    for _ in range(count):
        if kind == _POLYGON:
            (points,) = struct.unpack_from(f"{order}I", wkb, at)
            at = _within(wkb, at + 4 + points * size)
        elif levels:
            at = _skip(wkb, at, levels - 1)
        else:
            raise ValueError("nested too deeply")
    return at


def _within(wkb: bytes, end: int) -> int:
    if end > len(wkb):
        raise ValueError("a count beyond the end")
    return end


def check_crossings(rings: list[NDArray[np.float64]]) -> None:
    """Raises ValueError where so many edges of closed rings overlap that repairing them could take hours."""
    if sum(len(ring) for ring in rings) ** 2 <= MOST_CROSSINGS:
        return
    edges = np.concatenate([np.stack([ring[:-1], ring[1:]], axis=1) for ring in rings])
    lines: NDArray[np.object_] = np.asarray(shapely.linestrings(edges), dtype=object)
    tree = shapely.STRtree(lines)
    pairs = 0
    for start in range(0, len(lines), 256):
        pairs += _pairs(tree, lines[start : start + 256])
        if pairs > MOST_CROSSINGS:
            raise ValueError("an outline that crosses itself too often")


def _pairs(tree: shapely.STRtree, lines: ArrayLike) -> int:
    return int(tree.query(np.asarray(lines, dtype=object)).shape[1])
