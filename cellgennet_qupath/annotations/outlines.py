"""Outlines that may be nuclei: parts, holes, duplicates, and outlines around other outlines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from ..geometry.overlap import shared_areas
from ..geometry.solid import polygons_of, solid

Shapes = NDArray[np.object_]
Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]

NUCLEUS_AREA = (10.0, 1000.0)
"""µm². A small lymphocyte's nucleus in a section has about 20 µm², a megakaryocyte's up to 900; a nucleolus
has less than 8, and a gland or a vessel more than 1000."""

RELATIVE_AREA = (0.2, 20.0)
"""The same limits as multiples of the median outline (about 50 µm²), where there is no pixel size."""

_SMALLEST = 16.0
"""Square pixels; smaller parts, as pixel classifiers leave them, do not enter that median."""

SPECK = 0.1
"""Share of the smallest nucleus's area (1 µm²) below which an outline is a slip of the hand."""

SAME = 0.5
"""Two outlines show the same nucleus where their intersection is this share of their union or more,"""
INSIDE = 0.9
"""or where one is inside the other with this share of its area or more."""

NUCLEOLUS = 0.25
"""An outline inside a nucleus with less than this share of its area is part of it, such as a nucleolus."""


@dataclass(frozen=True)
class Size:
    """Areas in square pixels between which an outline has the size of a nucleus.

    absolute : from the pixel size, not from the outlines themselves.
    """

    low: float
    high: float
    absolute: bool


def nucleus_size(shapes: Shapes, mpp: float | None) -> Size:
    """The size of a nucleus in square pixels: from the pixel size, else from the median outline."""
    if mpp is not None:
        return Size(NUCLEUS_AREA[0] / mpp**2, NUCLEUS_AREA[1] / mpp**2, True)
    areas = shapely.area(shapely.get_parts(shapes)) if len(shapes) else np.zeros(0)
    outlined = areas[areas >= _SMALLEST] if (areas >= _SMALLEST).any() else areas
    median = float(np.median(outlined)) if len(outlined) else 0.0
    return Size(RELATIVE_AREA[0] * median, RELATIVE_AREA[1] * median, False)


def array_of(shapes: Sequence[shapely.Geometry] | Shapes) -> Shapes:
    """Geometries as an object array (n,), also where n is 0."""
    array = np.empty(len(shapes), dtype=object)
    array[:] = shapes
    return array


def closed(geometries: Shapes) -> Shapes:
    """The areas of geometries as valid Polygons or MultiPolygons; None for points, lines and slivers."""
    out = solid(geometries)
    out[shapely.area(out) == 0] = None
    return out


def separate(shape: shapely.Geometry) -> Shapes:
    """The polygons of a shape of several, of which some overlap or touch; of any other the shape alone.

    Other tools merge outlines so. Their area alone does not show where one nucleus ends.
    """
    if shapely.get_type_id(shape) <= 3 or (shapely.get_type_id(shape) == 6 and shapely.is_valid(shape)):
        return array_of([shape])
    parts = polygons_of(shape)
    joined = shapely.get_parts(shapely.union_all(parts))
    return parts if len(parts) > len(joined) else array_of([shape])


def filled(shapes: Shapes) -> Shapes:
    """Polygons and MultiPolygons without their holes."""
    out = shapes.copy()
    parts, owner = shapely.get_parts(shapes, return_index=True)
    for row in np.unique(owner[shapely.get_num_interior_rings(parts) > 0]):
        own = parts[owner == row]
        out[row] = shapely.union_all(shapely.polygons(shapely.get_exterior_ring(own)))
    return out


def split(shape: shapely.Geometry, size: Size) -> tuple[list[shapely.Geometry], list[shapely.Geometry]]:
    """The nuclei in an outline of several parts, and the parts that are too small to be one.

    Each part of a nucleus's size is a nucleus. A smaller part belongs to a nucleus that it nearly touches
    (within about 1 µm). Without a part of a nucleus's size, all parts are one outline.
    """
    parts = shapely.get_parts(shape)
    areas = shapely.area(parts)
    large, small = parts[areas >= size.low], parts[areas < size.low]
    if len(large) == 0 or len(parts) == 1:
        return [shape], []
    if not len(small):
        return list(large), []
    tree = shapely.STRtree(large)
    near, home = tree.query_nearest(small, max_distance=0.3 * size.low**0.5, all_matches=False)
    members: dict[int, list[shapely.Geometry]] = defaultdict(list)
    for part, nucleus in zip(near, home, strict=True):
        members[int(nucleus)].append(small[part])
    nuclei = [
        shapely.union_all([nucleus, *members[row]]) if row in members else nucleus
        for row, nucleus in enumerate(large)
    ]
    return nuclei, list(np.delete(small, near))


def inside_and_touching(shapes: Shapes, areas: Sequence[shapely.Geometry]) -> tuple[Mask, Mask]:
    """Which shapes are entirely inside the union of ``areas``, and which overlap it.

    Entirely means that less than half a square pixel is outside; overlaps of less are none.
    """
    n = len(shapes)
    if not n or not len(areas):
        return np.zeros(n, bool), np.zeros(n, bool)
    shared = shared_areas(shapes, shapely.union_all(list(areas)))
    return shapely.area(shapes) - shared < 0.5, shared >= 0.5


@dataclass(frozen=True)
class Overlaps:
    """Pairs (first, second) of outlines that overlap, each pair once in either order.

    shared : (n,) their common area.
    """

    first: Rows
    second: Rows
    shared: NDArray[np.float64]


def overlaps(shapes: Shapes, large: Mask) -> Overlaps:
    """All pairs of overlapping outlines, except for those of two ``large`` ones.

    A large outline shares all of another one whose centre is inside: the border of a tissue has thousands of
    vertices, and is never intersected.
    """
    areas = shapely.area(shapes)
    small = np.flatnonzero(~large)
    a, b = shapely.STRtree(shapes[small]).query(shapes[small], predicate="intersects")
    a, b = small[a[a < b]], small[b[a < b]]
    shared = shapely.area(shapely.intersection(shapes[a], shapes[b]))
    centres = shapely.point_on_surface(shapes[small])
    outer, inner = shapely.STRtree(centres).query(shapes[large], predicate="contains")
    outer, inner = np.flatnonzero(large)[outer], small[inner]
    first, second = np.concatenate([a, outer]), np.concatenate([b, inner])
    both = np.concatenate([shared, areas[inner]])
    kept = both > 0
    return Overlaps(first[kept], second[kept], both[kept])


def same(areas: NDArray[np.float64], pairs: Overlaps) -> Mask:
    """(n,) which pairs show the same nucleus: they overlap strongly, or one is inside the other."""
    a, b = areas[pairs.first], areas[pairs.second]
    return (pairs.shared >= SAME * (a + b - pairs.shared)) | (pairs.shared >= INSIDE * np.minimum(a, b))


def holders(areas: NDArray[np.float64], pairs: Overlaps, nuclear: Mask, may_hold: Mask | None = None) -> Mask:
    """(n,) which outlines hold two or more different outlines of the size of a nucleus.

    nuclear  : (n,) which outlines have that size.
    may_hold : (pairs, 2) for each pair, whether the first may hold the second, and the second the first.
    """
    allowed = np.ones((len(pairs.first), 2), bool) if may_hold is None else may_hold
    inner_of: dict[int, list[int]] = defaultdict(list)
    for column, (outer, inner) in enumerate(((pairs.first, pairs.second), (pairs.second, pairs.first))):
        held = (pairs.shared >= INSIDE * areas[inner]) & (areas[outer] > areas[inner]) & nuclear[inner]
        for i, j in zip(outer[held & allowed[:, column]], inner[held & allowed[:, column]], strict=True):
            inner_of[int(i)].append(int(j))
    twins: dict[int, set[int]] = defaultdict(set)
    alike = same(areas, pairs)
    for i, j in zip(pairs.first[alike], pairs.second[alike], strict=True):
        twins[int(i)].add(int(j))
        twins[int(j)].add(int(i))
    out = np.zeros(len(areas), bool)
    for i in sorted(inner_of, key=lambda row: float(areas[row])):
        held_by_i = inner_of[i]
        largest = max(held_by_i, key=lambda row: float(areas[row]))
        # The same nucleus drawn three times holds two outlines, but they show one nucleus.
        out[i] = out[held_by_i].any() or len(twins[largest].intersection(held_by_i)) < len(held_by_i) - 1
    return out


def join(shapes: Shapes, areas: NDArray[np.float64], first: Mask, one: Rows, two: Rows) -> Rows:
    """(n,) the row of the outline that stays for each: its own, or that of the nucleus that it repeats.

    one, two : rows of the pairs that show the same nucleus.
    first    : (n,) outlines that come before all others; then the larger one stays.

    The result does not depend on the order of the outlines, and joining the rest again changes nothing.
    """
    stays = np.arange(len(shapes), dtype=np.intp)
    neighbours: dict[int, list[int]] = defaultdict(list)
    for i, j in zip(one, two, strict=True):
        neighbours[int(i)].append(int(j))
        neighbours[int(j)].append(int(i))
    rows = np.array(sorted(neighbours), dtype=np.intp)
    if not len(rows):
        return stays
    keys = shapely.to_wkb(shapely.normalize(shapes[rows]))
    ranked = sorted(zip(~first[rows], -areas[rows], keys, rows, strict=True))
    settled: set[int] = set()
    for *_, row in ranked:
        if row in settled:
            continue
        settled.add(int(row))
        for other in neighbours[int(row)]:
            if other not in settled:
                settled.add(other)
                stays[other] = row
    return stays


def closed_polygons(shapes: Sequence[shapely.Geometry] | Shapes) -> list[shapely.Geometry]:
    """The polygons of shapes; those without area are left out."""
    return list(shapely.get_parts([one for one in closed(array_of(shapes)) if one is not None]))
