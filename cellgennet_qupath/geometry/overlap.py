"""The area that many outlines share with one large shape, at a cost that does not multiply."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

Shapes = NDArray[np.object_]

_VERTICES = 128
"""A shape with more is cut into pieces before outlines on its border are intersected with it."""


def shared_areas(shapes: Shapes, area: shapely.Geometry) -> NDArray[np.float64]:
    """(n,) the area that each of n valid outlines shares with a valid Polygon or MultiPolygon ``area``.

    Outlines inside share all of their own area; only those that cross the border are intersected, each with
    the piece of ``area`` around it.
    """
    shapely.prepare(area)
    shared = np.zeros(len(shapes))
    within = shapely.contains_properly(area, shapes)
    rest = np.flatnonzero(~within)
    # Covering also holds for outlines that touch the border from inside, and is slower.
    within[rest] = shapely.covers(area, shapes[rest])
    shared[within] = shapely.area(shapes[within])
    rest = np.flatnonzero(~within)
    crossing = rest[shapely.intersects(area, shapes[rest])]
    if len(crossing):
        pieces = _pieces(area)
        piece, row = shapely.STRtree(shapes[crossing]).query(pieces)
        parts = shapely.area(shapely.intersection(pieces[piece], shapes[crossing[row]]))
        shared[crossing] = np.bincount(row, parts, len(crossing))
    return shared


def _pieces(area: shapely.Geometry) -> Shapes:
    """Parts of a shape that together cover it once, each with few vertices."""
    done: list[shapely.Geometry] = []
    pending = [area]
    while pending:
        part = pending.pop()
        vertices = shapely.get_num_coordinates(part)
        x0, y0, x1, y1 = shapely.bounds(part)
        if vertices <= _VERTICES or not (x1 > x0 and y1 > y0):
            done.append(part)
            continue
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        left_right = [(x0, y0, x, y1), (x, y0, x1, y1)]
        halves = left_right if x1 - x0 >= y1 - y0 else [(x0, y0, x1, y), (x0, y, x1, y1)]
        cut = [one for one in (part_in(part, *half) for half in halves) if not shapely.is_empty(one)]
        # Vertices that stand in one place cannot be divided further.
        fewer = max((shapely.get_num_coordinates(one) for one in cut), default=0) < vertices
        (pending if fewer else done).extend(cut)
    return np.array(done, dtype=object)


def part_in(shape: shapely.Geometry, x0: float, y0: float, x1: float, y1: float) -> shapely.Geometry:
    """The part of a valid shape in a rectangle; valid."""
    part: shapely.Geometry = shapely.clip_by_rect(shape, x0, y0, x1, y1)
    # Clipping is many times faster than an intersection, and does not always give a valid shape.
    return part if shapely.is_valid(part) else shapely.intersection(shape, shapely.box(x0, y0, x1, y1))
