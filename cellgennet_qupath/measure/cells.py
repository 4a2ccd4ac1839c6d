"""Cells around nuclei: each nucleus expanded by a distance, up to the border with its neighbours."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from ..geometry.overlap import part_in

Outlines = NDArray[np.object_]

_QUARTER = 4
"""Segments of a quarter of a circle at an expanded corner."""

_TOUCHING = 1e-6
"""Micrometres."""

_AT_ONCE = 65_536

_FEW, _SIMPLE = 4, 128
"""Cells, or vertices of the shape that they are clipped to, of which no fewer need be looked at."""
_AROUND = 1.0
"""Micrometres around cells within which the shape that they are clipped to stays as it was drawn."""


def cell_outlines(
    nuclei: Outlines,
    micrometres: float,
    mpp: tuple[float, float],
    size: tuple[int, int] | None = None,
    within: Outlines | None = None,
    taken: Outlines | None = None,
) -> Outlines:
    """(n,) outlines of the cells of (n,) nuclei, full-resolution pixels; they contain their nuclei.

    micrometres : distance by which a nucleus is expanded.
    mpp         : (x, y) µm per pixel.
    size        : (width, height) of the image, to which cells are clipped.
    within      : (n,) shapes to which cells, but not their nuclei, are clipped; None for no such shape.
    taken       : (m,) outlines of cells that are there already, which cells, but not nuclei, leave free.

    Two cells never overlap where their nuclei do not: between two nuclei the border is the line halfway
    between the points where they are closest, as in a Voronoi diagram. What a cell is depends on the
    nuclei within twice the distance and on no others.
    """
    scale = np.array(mpp)
    scaled = _each(shapely.transform(nuclei, lambda xy: xy * scale))
    grown = _each(shapely.buffer(scaled, micrometres, quad_segs=_QUARTER))
    first, second, middle, normal = _borders(scaled, grown, micrometres)
    regions = _regions(shapely.bounds(grown), first, second, middle, normal)
    cells = grown.copy()
    bounded = np.flatnonzero(~shapely.is_missing(regions))
    cells[bounded] = shapely.intersection(grown[bounded], regions[bounded])
    _leave_out(cells, scaled, first, second, middle, normal)
    if size is not None:
        frame = shapely.box(0, 0, size[0] * mpp[0], size[1] * mpp[1])
        outside = np.flatnonzero(~shapely.contains_properly(frame, cells))
        cells[outside] = shapely.intersection(cells[outside], frame)
    if within is not None:
        _stay_within(cells, within, scale)
    if taken is not None and len(taken):
        _leave_free(cells, _each(shapely.transform(taken, lambda xy: xy * scale)))
    cut = np.flatnonzero(~shapely.covers(cells, scaled))
    cells[cut] = shapely.union(cells[cut], scaled[cut])
    for row in np.flatnonzero(shapely.get_type_id(cells) != shapely.GeometryType.POLYGON):
        cells[row] = _around(cells[row], scaled[row])
    return _each(shapely.transform(cells, lambda xy: xy / scale))


def _each(geometries: object) -> Outlines:
    return np.asarray(geometries, dtype=object)


Pairs = NDArray[np.intp]
Points = NDArray[np.float64]


def _borders(nuclei: Outlines, grown: Outlines, distance: float) -> tuple[Pairs, Pairs, Points, Points]:
    """Pairs of nuclei whose expanded outlines meet, a point on the border of each pair, and its normal."""
    first, second = shapely.STRtree(grown).query(grown)
    first, second = first[first < second], second[first < second]
    shortest = shapely.shortest_line(nuclei[first], nuclei[second])
    near = shapely.length(shortest) < 2 * distance
    first, second = first[near], second[near]
    ends = shapely.get_coordinates(shortest[near]).reshape(-1, 2, 2)
    middle, normal = ends.mean(axis=1), ends[:, 1] - ends[:, 0]
    touching = np.flatnonzero(np.hypot(*normal.T) <= _TOUCHING)
    if len(touching):
        one, other = nuclei[first[touching]], nuclei[second[touching]]
        centres = [shapely.get_coordinates(shapely.centroid(shapes)) for shapes in (one, other)]
        middle[touching] = shapely.get_coordinates(shapely.centroid(shapely.intersection(one, other)))
        normal[touching] = centres[1] - centres[0]
    length = np.hypot(*normal.T)
    normal[length == 0] = (1.0, 0.0)
    return first, second, middle, normal / np.where(length == 0, 1.0, length)[:, None]


def _regions(bounds: Points, first: Pairs, second: Pairs, middle: Points, normal: Points) -> Outlines:
    """(n,) convex regions of nuclei inside their bounds, cut by the borders; None without neighbours."""
    regions = np.full(len(bounds), None, dtype=object)
    owner = np.concatenate([first, second])
    offset = np.concatenate([(middle * normal).sum(axis=1), -(middle * normal).sum(axis=1)])
    across = np.concatenate([normal, -normal])
    order = np.lexsort((across[:, 1], across[:, 0], offset, owner))
    owner, offset, across = owner[order], offset[order], across[order]
    rows, start, count = np.unique(owner, return_index=True, return_counts=True)
    for first_row in range(0, len(rows), _AT_ONCE):
        some = slice(first_row, first_row + _AT_ONCE)
        x0, y0, x1, y1 = bounds[rows[some]].T
        corners = np.stack([np.stack([x0, x1, x1, x0], 1), np.stack([y0, y0, y1, y1], 1)], 2)
        for turn in range(int(count[some].max(initial=0))):
            # Nuclei with fewer borders are cut by a line that removes nothing.
            active = turn < count[some]
            line = np.where(active, start[some] + turn, 0)
            corners = _cut(corners, across[line] * active[:, None], offset[line] * active)
        regions[rows[some]] = shapely.polygons(np.concatenate([corners, corners[:, :1]], axis=1))
    return regions


def _cut(corners: Points, normal: Points, offset: NDArray[np.float64]) -> Points:
    """Convex polygons (n, k, 2), each cut by a line: (n, k + 1, 2), some corners doubled."""
    beyond = np.einsum("nkc,nc->nk", corners, normal) - offset[:, None]
    following, beyond_next = np.roll(corners, -1, axis=1), np.roll(beyond, -1, axis=1)
    inside, inside_next = beyond <= 0, beyond_next <= 0
    step = beyond - beyond_next
    part = np.divide(beyond, step, out=np.zeros_like(step), where=inside != inside_next)
    crossing = corners + part[..., None] * (following - corners)
    # Of each edge: its first corner if that stays, then the point where it crosses the line.
    points = np.stack([corners, crossing], axis=2).reshape(len(corners), -1, 2)
    kept = np.stack([inside, inside != inside_next], axis=2).reshape(len(corners), -1)
    kept[~inside.any(axis=1), 0] = True
    order = np.argsort(~kept, axis=1, kind="stable")[:, : corners.shape[1] + 1]
    last = np.minimum(np.arange(corners.shape[1] + 1), kept.sum(axis=1)[:, None] - 1)
    result: Points = np.take_along_axis(points, np.take_along_axis(order, last, axis=1)[..., None], axis=1)
    return result


def _leave_out(
    cells: Outlines, nuclei: Outlines, first: Pairs, second: Pairs, middle: Points, normal: Points
) -> None:
    """Subtract neighbours' nuclei from cells; a nucleus that is not convex can cross the border."""
    for one, other, side in ((first, second, 1.0), (second, first, -1.0)):
        points, owner = shapely.get_coordinates(nuclei[other], return_index=True)
        height = side * ((points - middle[owner]) * normal[owner]).sum(axis=1)
        for pair in np.unique(owner[height < -_TOUCHING]).tolist():
            cells[one[pair]] = shapely.difference(cells[one[pair]], nuclei[other[pair]])


def _stay_within(cells: Outlines, shapes: Outlines, scale: Points) -> None:
    """Clip cells to shapes, of which many may be the same object: each is scaled and prepared once."""
    same = {id(shape): shape for shape in shapes if shape is not None}
    scaled = _each(shapely.transform(_each(list(same.values())), lambda xy: xy * scale))
    shapely.prepare(scaled)
    number = {key: row for row, key in enumerate(same)}
    limited = np.flatnonzero(~shapely.is_missing(shapes))
    own = scaled[[number[id(shapes[row])] for row in limited]]
    across = limited[~shapely.contains_properly(own, cells[limited])]
    owner = np.array([number[id(shapes[row])] for row in across], np.intp)
    for row in np.unique(owner):
        _clip(cells, across[owner == row], scaled[row])


def _leave_free(cells: Outlines, taken: Outlines) -> None:
    """Subtract the shapes that are taken from the cells that reach into them."""
    number, row = shapely.STRtree(cells).query(taken, predicate="intersects")
    for one in np.unique(row):
        cells[one] = shapely.difference(cells[one], shapely.union_all(taken[number[row == one]]))


def _clip(cells: Outlines, rows: Pairs, shape: shapely.Geometry) -> None:
    """Clip the cells of some rows to a shape: few cells at a time to the part of it around them."""
    pending = [(rows, shape)]
    while pending:
        rows, shape = pending.pop()
        if len(rows) <= _FEW or shapely.get_num_coordinates(shape) <= _SIMPLE:
            cells[rows] = shapely.intersection(cells[rows], shape)
            continue
        bounds = shapely.bounds(cells[rows])
        along = int(np.ptp(bounds[:, 1]) > np.ptp(bounds[:, 0]))
        for half in np.array_split(np.argsort(bounds[:, along], kind="stable"), 2):
            low, high = bounds[half, :2].min(axis=0) - _AROUND, bounds[half, 2:].max(axis=0) + _AROUND
            pending.append((rows[half], part_in(shape, *low, *high)))


def _around(cell: shapely.Geometry, nucleus: shapely.Geometry) -> shapely.Geometry:
    """The part of a cell that contains its nucleus; several if the nucleus has several parts."""
    parts = shapely.get_parts(cell)
    parts = parts[(shapely.get_type_id(parts) == shapely.GeometryType.POLYGON)]
    around = parts[shapely.area(shapely.intersection(parts, nucleus)) > 0]
    return shapely.union_all(around) if len(around) else nucleus
