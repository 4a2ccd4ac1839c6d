"""QuPath's shapes (ROIs) as geometries, the way QuPath itself converts them for GeoJSON.

Coordinates are full-resolution pixels on QuPath's grid of 0.01 px.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from .geometries import check_crossings, check_wkb

ELLIPSE_VERTICES = 100
"""As many as QuPath (through JTS) uses for an ellipse."""

_LARGEST = 1e9
"""Pixels; no image is that large, so a coordinate beyond it means a damaged file."""

Coordinates = NDArray[np.float64]


class RoiError(ValueError):
    """A shape with impossible coordinates."""


def snap(coordinates: ArrayLike) -> Coordinates:
    """Coordinates on the grid of 0.01 px, halves rounded up. Raises RoiError if one is impossible."""
    values = np.asarray(coordinates, np.float64)
    if not np.all(np.abs(values) <= _LARGEST):
        raise RoiError("impossible coordinates")
    snapped: Coordinates = np.floor(values * 100 + 0.5) / 100
    return snapped


def rectangle(x: float, y: float, x2: float, y2: float) -> shapely.Polygon:
    """The rectangle between two corners."""
    return shapely.Polygon(snap([(x, y), (x2, y), (x2, y2), (x, y2), (x, y)]))


def ellipse(x: float, y: float, x2: float, y2: float) -> shapely.Polygon:
    """The ellipse inside the box between two corners, as QuPath's polygon of it."""
    angles = np.arange(ELLIPSE_VERTICES) * (2 * np.pi / ELLIPSE_VERTICES)
    radius_x, radius_y = (x2 - x) / 2, (y2 - y) / 2
    return shapely.Polygon(
        snap(
            np.column_stack(
                [x + radius_x + radius_x * np.cos(angles), y + radius_y + radius_y * np.sin(angles)]
            )
        )
    )


def polygon(x: ArrayLike, y: ArrayLike) -> shapely.Geometry:
    """The inside of an outline, which may be open or cross itself. Empty with fewer than three vertices."""
    return area([np.column_stack([x, y])])


def area(outlines: Sequence[ArrayLike]) -> shapely.Geometry:
    """The inside of several outlines by the non-zero winding rule, as in Java's shapes."""
    rings = []
    for outline in outlines:
        ring = snap(outline)
        ring = ring[np.any(ring != np.roll(ring, -1, axis=0), axis=1)]
        if len(ring) >= 3:
            rings.append(np.vstack([ring, ring[:1]]))
    if not rings:
        return shapely.Polygon()
    if len(rings) == 1:
        simple = shapely.Polygon(rings[0])
        if simple.is_valid:
            return simple
    try:
        check_crossings(rings)
    except ValueError as error:
        raise RoiError(str(error)) from error
    edges = shapely.unary_union(shapely.MultiLineString([shapely.LineString(ring) for ring in rings]))
    faces = shapely.get_parts(shapely.polygonize([edges]))
    inside = [face for face in faces if sum(_winding(ring, face) for ring in rings) != 0]
    return shapely.unary_union(inside)


def _winding(ring: Coordinates, face: shapely.Polygon) -> int:
    """Winding number of a closed ring around the inside of a face that it does not cross."""
    point = shapely.point_on_surface(face)
    before, after = ring[:-1], ring[1:]
    side = (after[:, 0] - before[:, 0]) * (point.y - before[:, 1]) - (point.x - before[:, 0]) * (
        after[:, 1] - before[:, 1]
    )
    upward = (before[:, 1] <= point.y) & (after[:, 1] > point.y) & (side > 0)
    downward = (before[:, 1] > point.y) & (after[:, 1] <= point.y) & (side < 0)
    return int(upward.sum()) - int(downward.sum())


def points(x: ArrayLike, y: ArrayLike) -> shapely.Geometry:
    """One point, or several as one MultiPoint."""
    coordinates = snap(np.column_stack([x, y]))
    return shapely.Point(coordinates[0]) if len(coordinates) == 1 else shapely.MultiPoint(coordinates)


def line(x: ArrayLike, y: ArrayLike) -> shapely.Geometry:
    """The polyline through the given vertices; empty with fewer than two."""
    coordinates = snap(np.column_stack([x, y]))
    return shapely.LineString(coordinates if len(coordinates) > 1 else None)


def geometry(wkb: bytes) -> shapely.Geometry:
    """A geometry from well-known binary. Raises RoiError if it is invalid."""
    try:
        check_wkb(wkb)
        read = shapely.from_wkb(wkb)
    except (ValueError, shapely.errors.ShapelyError) as error:
        raise RoiError("a damaged geometry") from error
    snap(shapely.get_coordinates(read))
    return read


def names_of(shapes: NDArray[np.object_], is_ellipse: NDArray[np.bool_]) -> NDArray[np.object_]:
    """(n,) QuPath's names of the ROIs that it makes of GeoJSON geometries."""
    types, kind, vertices = (
        shapely.GeometryType,
        shapely.get_type_id(shapes),
        shapely.get_num_coordinates(shapes),
    )
    names = np.full(len(shapes), "Geometry", dtype=object)
    names[np.isin(kind, (int(types.POINT), int(types.MULTIPOINT)))] = "Points"
    names[kind == types.LINESTRING] = "Polyline"
    names[(kind == types.LINESTRING) & (vertices == 2)] = "Line"
    plain = (kind == types.POLYGON) & (shapely.get_num_interior_rings(shapes) == 0)
    names[plain] = "Polygon"
    boxes = np.flatnonzero(plain & (vertices == 5))
    names[boxes[shapely.equals(shapes[boxes], shapely.envelope(shapes[boxes]))]] = "Rectangle"
    names[is_ellipse] = "Ellipse"
    return names
