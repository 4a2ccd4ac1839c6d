"""Outlines to pixels: the rule that decides which samples a polygon covers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

_PIXELS_AT_ONCE = 1 << 22


def rasterize(
    polygons: Sequence[shapely.Geometry] | NDArray[np.object_],
    shape: tuple[int, int],
    downsample: float = 1.0,
    origin: tuple[int, int] = (0, 0),
    values: ArrayLike | None = None,
) -> NDArray[np.int32]:
    """Label image of polygons: a sample belongs to a polygon if its CENTRE is inside.

    A centre exactly on an outline belongs to the side on its right (or below it), so polygons that
    share a border neither share a sample nor lose one between them. Holes stay empty. Where polygons
    overlap, the later one wins. A sample has the same value in every window that contains it.

    polygons   : n Polygons or MultiPolygons in full-resolution pixels, QuPath's convention; other
                 geometries cover nothing.
    shape      : (rows, columns) of the result.
    downsample : full-resolution pixels per sample.
    origin     : (column, row) of the first sample on the grid of that downsample.
    values     : (n,) the label of each polygon; 1 ... n by default. 0 erases.
    Returns int32 (rows, columns), 0 outside all polygons.
    """
    labels = np.zeros(shape, np.int32)
    paint = np.arange(1, len(polygons) + 1) if values is None else np.asarray(values)
    if paint.shape != (len(polygons),):
        raise ValueError(f"{len(polygons)} polygons but values of shape {paint.shape}")
    owner, row, start, stop = spans(polygons, shape, downsample, origin)
    length = stop - start
    flat = labels.reshape(-1)
    # Bounded batches: a region of a whole slide is one polygon of a hundred million samples.
    cuts = np.searchsorted(np.cumsum(length), np.arange(_PIXELS_AT_ONCE, length.sum(), _PIXELS_AT_ONCE))
    for first, last in zip([0, *cuts], [*cuts, len(length)], strict=True):
        count = length[first:last]
        position = ranges(row[first:last] * shape[1] + start[first:last], count)
        flat[position] = np.repeat(paint[owner[first:last]], count)
    return labels


def spans(
    polygons: Sequence[shapely.Geometry] | NDArray[np.object_],
    shape: tuple[int, int],
    downsample: float = 1.0,
    origin: tuple[int, int] = (0, 0),
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Runs of covered samples as (polygon, row, first column, column past the last), in polygon order.

    Arguments as for ``rasterize``; a sample that several polygons cover is in the runs of each.
    """
    geometries = np.asarray(polygons, dtype=object)
    parts, part_owner = shapely.get_parts(geometries, return_index=True)
    rings, ring_part = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    edges = np.flatnonzero(ring[1:] == ring[:-1])
    x, y = points.T / downsample
    upward = y[edges] < y[edges + 1]
    upper, lower = np.where(upward, edges, edges + 1), np.where(upward, edges + 1, edges)

    # An edge crosses the centre lines of rows in [top, bottom): half-open, so a corner counts once.
    top = np.maximum(_first_centre(y[upper]), origin[1])
    bottom = np.minimum(_first_centre(y[lower]), origin[1] + shape[0])
    count = np.maximum(bottom - top, 0)
    row = ranges(top, count)
    upper, lower, crossed = np.repeat(upper, count), np.repeat(lower, count), np.repeat(edges, count)
    share = (row + 0.5 - y[upper]) / (y[lower] - y[upper])
    crossing = x[upper] + share * (x[lower] - x[upper])

    owner = part_owner[ring_part[ring[crossed]]]
    order = np.lexsort((crossing, row, owner))
    owner, row = owner[order][::2], row[order][::2] - origin[1]
    column = np.clip(_first_centre(crossing[order]) - origin[0], 0, shape[1])
    start, stop = column[::2], column[1::2]
    kept = stop > start
    return owner[kept], row[kept], start[kept], stop[kept]


def _first_centre(position: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index of the first sample whose centre is at or past a position."""
    return np.ceil(position - 0.5).astype(np.int64)


def ranges(start: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """``start[i], start[i] + 1, ...`` (``count[i]`` of them) for every i, concatenated."""
    ends = np.cumsum(count)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(start - ends + count, count)
