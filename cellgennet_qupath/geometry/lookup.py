"""Shapes and points by place: looking at a part of a slide costs what is in it, not what is on the slide."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import shapely
from numpy.typing import NDArray

_IN_A_CELL = 32
"""Points in a cell of the grid, on average."""


class ShapeIndex:
    """Shapes that are looked up by their bounding boxes."""

    def __init__(self, shapes: NDArray[np.object_]) -> None:
        self._shapes = shapes
        self._tree = shapely.STRtree(shapes)

    def near(self, start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.object_]:
        """The shapes whose bounding boxes touch the box between two corners, in their own order."""
        rows = np.sort(self._tree.query(shapely.box(*start, *end)))
        near: NDArray[np.object_] = self._shapes[rows]
        return near


def near_each(
    shapes: NDArray[np.object_], others: NDArray[np.object_]
) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """For each shape, by row, the others whose bounding boxes touch its own, by ascending rows.

    Shapes without any are left out.
    """
    row, other = shapely.STRtree(others).query(shapes)
    order = np.lexsort((other, row))
    row, other = row[order], other[order]
    found, start = np.unique(row, return_index=True)
    yield from zip(found.tolist(), np.split(other, start[1:]), strict=True) if len(found) else ()


class PointIndex:
    """Points, (n, 2) x and y, that are looked up by the shape that they are in; NaN is in none."""

    def __init__(self, points: NDArray[np.float64]) -> None:
        known = np.flatnonzero(np.isfinite(points).all(axis=1))
        self._points = points
        low = points[known].min(axis=0, initial=np.inf)
        high = points[known].max(axis=0, initial=-np.inf)
        self._start = low if len(known) else np.zeros(2)
        extent = np.maximum(high - low, 1.0) if len(known) else np.ones(2)
        self._side = float(np.sqrt(extent.prod() * _IN_A_CELL / max(len(known), 1)))
        self._columns = int(extent[0] // self._side) + 1
        column, row = self._cell(points[known]).T
        number = row * self._columns + column
        order = np.argsort(number, kind="stable")
        self._rows, self._number = known[order], number[order]

    def inside(self, shape: shapely.Geometry) -> NDArray[np.intp]:
        """The rows of the points inside a shape, border included, in ascending order."""
        x0, y0, x1, y1 = shapely.bounds(shape)
        if not len(self._rows) or np.isnan(x0):
            return np.empty(0, np.intp)
        (left, top), (right, bottom) = self._cell(np.array([[x0, y0], [x1, y1]]))
        lines = np.arange(max(top, 0), min(bottom, self._number[-1] // self._columns) + 1) * self._columns
        first = np.searchsorted(self._number, lines + max(left, 0))
        last = np.searchsorted(self._number, lines + min(right, self._columns - 1), side="right")
        rows = np.concatenate([[], *(self._rows[a:b] for a, b in zip(first, last, strict=True) if b > a)])
        rows = np.sort(rows.astype(np.intp))
        x, y = self._points[rows].T
        rows = rows[(x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)]
        shapely.prepare(shape)
        within: NDArray[np.intp] = rows[shapely.intersects_xy(shape, self._points[rows])]
        return within

    def _cell(self, points: NDArray[np.float64]) -> NDArray[np.intp]:
        return np.floor((points - self._start) / self._side).astype(np.intp)
