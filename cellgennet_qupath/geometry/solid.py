"""The area that a drawn shape covers, whatever it is made of and however its lines cross."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

Shapes = NDArray[np.object_]

_POLYGON, _MULTIPOLYGON = int(shapely.GeometryType.POLYGON), int(shapely.GeometryType.MULTIPOLYGON)


def polygons_of(shape: shapely.Geometry) -> Shapes:
    """The polygons in a shape, each repaired alone: valid Polygons and MultiPolygons that may overlap.

    Points and lines are left out, collections are opened.
    """
    parts = _flat(shape)
    parts = parts[shapely.get_type_id(parts) == _POLYGON]
    broken = ~shapely.is_valid(parts)
    parts[broken] = [_areas_of(part) for part in shapely.make_valid(parts[broken])]
    covering: Shapes = parts[shapely.area(parts) > 0]
    return covering


def solid(shapes: Sequence[shapely.Geometry] | Shapes) -> Shapes:
    """(n,) what shapes cover: valid Polygons and MultiPolygons, empty where that has no area.

    Parts that overlap are joined. Repaired together, they would cancel each other where they overlap.
    """
    out = np.empty(len(shapes), dtype=object)
    out[:] = shapes
    sound = np.isin(shapely.get_type_id(out), (_POLYGON, _MULTIPOLYGON)) & shapely.is_valid(out)
    for row in np.flatnonzero(~sound):
        out[row] = _areas_of(shapely.union_all(polygons_of(out[row])))
    return out


def _areas_of(shape: shapely.Geometry) -> shapely.Geometry:
    """The areas of a valid shape without its points and lines."""
    if shapely.get_type_id(shape) in (_POLYGON, _MULTIPOLYGON):
        return shape
    parts = _flat(shape)
    parts = parts[shapely.get_type_id(parts) == _POLYGON]
    return shapely.union_all(parts) if len(parts) else shapely.Polygon()


def _flat(shape: shapely.Geometry) -> Shapes:
    """The single geometries in a shape of any depth."""
    parts: Shapes = shapely.get_parts(np.array([shape], dtype=object))
    while (shapely.get_type_id(parts) > _POLYGON).any():
        parts = shapely.get_parts(parts)
    return parts
