"""Label images to outlines, without a loop over objects.

The border of a label runs along the edges between samples. The midpoints of those edges are connected,
smoothed, simplified and fitted to the area and the centroid of the label. The outline then shows neither
the half sample that a pixel contour loses nor the staircase of the grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from .coordinates import edge_to_full

_SMOOTHINGS = 4
_TOLERANCE = 0.2
_FEW = 8
"""Points of an outline, the first of them twice; with fewer, it is hardly more than a line."""
_DECIMALS = 2
_ROUNDED_OFF = np.pi * (1 / 12 + 1 / 9)
"""Samples that a closed line of equal height loses, whatever its size: samples are means over their own
area, of variance 1/12 (a blur takes pi times its variance from a closed outline), and the line's chords cut
across its bends."""

# Directions of a border edge, in turning order (right, down, left, up); the label is on its right.
_STEP = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])
_DIRECTION = np.array([[0, 3, 0], [2, 0, 0], [0, 1, 0]])  # by (y + 1, x + 1) of the step
# Where an edge begins, seen from the sample to its right.
_BEGIN = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
# The samples to the right and to the left of an edge, seen from the vertex where it begins.
_RIGHT = np.array([[0, 0], [-1, 0], [-1, -1], [0, -1]])
_LEFT = np.array([[0, -1], [0, 0], [-1, 0], [-1, -1]])


@dataclass(frozen=True)
class _Rings:
    """Closed chains of border edges.

    vertex : (e, 2) int64, where each edge begins; edges follow one another around their ring.
    step   : (e, 2) int64, from there to where it ends.
    ring   : (e,) int64, the ring of each edge: 0 ... r - 1, ascending.
    label  : (r,) the label that each ring surrounds (or, as a hole, is surrounded by).
    """

    vertex: NDArray[np.int64]
    step: NDArray[np.int64]
    ring: NDArray[np.int64]
    label: NDArray[np.int32]


def label_polygons(
    labels: NDArray[np.int32],
    downsample: float = 1.0,
    origin: tuple[float, float] = (0, 0),
    height: NDArray[np.number] | None = None,
    edge: float = 0.5,
) -> NDArray[np.object_]:
    """Outlines of the objects of a label image.

    Of an object of several 4-connected parts the largest is outlined; holes are filled. Every outline
    is a valid Polygon with the area and the centroid of its samples (and holes); with ``height``, those of
    the line between the samples where the height falls to ``edge``.

    labels     : int32 (h, w), 0 for background and 1 ... n for the objects.
    downsample : full-resolution pixels per sample.
    origin     : (column, row) of the first sample on the grid of that downsample.
    height     : (h, w), above ``edge`` inside objects and not outside; elsewhere (between touching objects,
                 in a filled hole) the outline runs half-way between the samples.
    Returns an (n,) object array of shapely Polygons in full-resolution pixels, QuPath's convention,
    rounded to hundredths as QuPath keeps them. Raises ValueError where a number has no samples.
    """
    rings = _largest_rings(_trace(labels))
    count = int(labels.max(initial=0))
    if len(rings.label) != count:
        raise ValueError(f"labels must be 1 ... {count} without gaps")
    if not count:
        return np.empty(0, dtype=object)
    first = rings.vertex[_starts(rings.ring)]
    anchored = _Rings(rings.vertex - first[rings.ring], rings.step, rings.ring, rings.label)
    # Coordinates are relative to the ring's own first vertex, so no outline depends on the tile.
    points = anchored.vertex + anchored.step / 2
    area, centroid = _moments(anchored.vertex, rings.ring)
    if height is not None:
        outward, crossing = _to_edge(rings, height, edge)
        cut_corners = area - _moments(points, rings.ring)[0]
        points = points + outward
        moved_area, centroid = _moments(points, rings.ring)
        # Where the height does not cross the edge, corners of samples belong to the object.
        area = (
            moved_area
            + _ROUNDED_OFF
            + cut_corners * (1 - np.bincount(rings.ring, crossing) / np.bincount(rings.ring))
        )
    outlines = _fit(_smooth(points, rings.ring), area, centroid)
    points, owner = shapely.get_coordinates(outlines, return_index=True)
    points += first[owner]
    points = np.column_stack([edge_to_full(points[:, i], downsample, origin[i]) for i in (0, 1)])
    return _valid(shapely.set_coordinates(outlines, np.round(points, _DECIMALS)))


def _to_edge(
    rings: _Rings, height: NDArray[np.number], edge: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Shift (e, 2) of the middle of each border edge to where the height, linear between the two samples
    beside it, falls to ``edge``; and whether it does."""
    padded = np.pad(height, 1)
    direction = _DIRECTION[rings.step[:, 1] + 1, rings.step[:, 0] + 1]
    x, y = (rings.vertex[:, None] + np.stack([_RIGHT, _LEFT])[:, direction].transpose(1, 0, 2) + 1).T
    own, other = padded[y, x].astype(np.float64)
    crossing = (own > edge) & (other <= edge)
    share = np.divide(own - edge, own - other, out=np.full(len(own), 0.5), where=crossing)
    return (share - 0.5)[:, None] * (_LEFT - _RIGHT)[direction], crossing


def _trace(labels: NDArray[np.int32]) -> _Rings:
    """All borders of all labels, the label to the right of each edge."""
    padded: NDArray[np.int32] = np.pad(labels, 1)
    flat, width = padded.reshape(-1), padded.shape[1]
    # An edge is that of a sample in a direction: an image has few samples in objects, and few at borders.
    inside = np.flatnonzero(flat)
    step = _STEP @ (1, width)
    border = [np.flatnonzero(flat[inside + step[turn - 1]] != flat[inside]) for turn in range(4)]
    direction = np.repeat(np.arange(4), [len(part) for part in border])
    number = np.concatenate(border)
    sample = inside[number]
    label = flat[sample]

    edge_at = np.empty((4, len(inside)), np.int64)
    edge_at[direction, number] = np.arange(len(number))
    number_at = np.empty(len(flat), np.int64)
    number_at[inside] = np.arange(len(inside))
    ahead = sample + step[direction]
    beside = ahead + step[direction - 1]
    around = flat[ahead] != label
    inward = ~around & (flat[beside] == label)
    # Turning around the own sample first keeps samples that only touch at a corner apart.
    onward = (direction + np.where(around, 1, np.where(inward, 3, 0))) % 4
    onto = np.where(around, sample, np.where(inward, beside, ahead))
    following = edge_at[onward, number_at[onto]]

    first, to_end = _rank(following)
    order = np.lexsort((-to_end, first))
    ring = np.cumsum(np.diff(first[order], prepend=first[order][:1]) != 0)
    row, column = np.divmod(sample[order], width)
    vertex = np.column_stack([column, row]) - 1 + _BEGIN[direction[order]]
    return _Rings(vertex, _STEP[direction[order]], ring, label[order][_starts(ring)])


def _rank(following: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each member of cyclic lists, its list's lowest member and the steps to the last before that.

    Pointer doubling (Wyllie's list ranking): as many rounds as the longest list has binary digits.
    """
    lowest, jump = np.arange(len(following)), following
    while True:
        seen = np.minimum(lowest, lowest[jump])
        if np.array_equal(seen, lowest):
            break
        lowest, jump = seen, jump[jump]
    last = following == lowest
    jump = np.where(last, np.arange(len(following)), following)
    steps = (~last).astype(np.int64)
    while np.any(ahead := steps[jump]):
        steps, jump = steps + ahead, jump[jump]
    return lowest, steps


def _starts(ring: NDArray[np.int64]) -> NDArray[np.int64]:
    """Position of the first edge of each ring."""
    return np.flatnonzero(np.diff(ring, prepend=-1))


def _next(ring: NDArray[np.int64]) -> NDArray[np.int64]:
    """Position of the edge that follows each edge around its ring."""
    following = np.arange(1, len(ring) + 1)
    start = _starts(ring)
    following[np.append(start[1:], len(ring))[: len(start)] - 1] = start
    return following


def _moments(
    points: NDArray[np.int64] | NDArray[np.float64], ring: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Signed area (r,) and centroid (r, 2) of closed rings of points (shoelace, exact on whole numbers)."""
    x, y = points.T
    to_x, to_y = points[_next(ring)].T
    cross = x * to_y - to_x * y
    area = np.bincount(ring, cross) / 2
    centroid = np.column_stack([np.bincount(ring, cross * (x + to_x)), np.bincount(ring, cross * (y + to_y))])
    return area, centroid / (6 * area[:, None])


def _largest_rings(rings: _Rings) -> _Rings:
    """The largest outer ring of each label, in the order of the labels."""
    if not len(rings.label):
        return rings
    area, _ = _moments(rings.vertex, rings.ring)
    order = np.lexsort((-area, rings.label))
    chosen = order[np.unique(rings.label[order], return_index=True)[1]]
    place = np.full(len(rings.label), -1)
    place[chosen] = np.arange(len(chosen))
    edges = np.flatnonzero(place[rings.ring] >= 0)
    edges = edges[np.argsort(place[rings.ring[edges]], kind="stable")]
    return _Rings(rings.vertex[edges], rings.step[edges], place[rings.ring[edges]], rings.label[chosen])


def _smooth(points: NDArray[np.float64], ring: NDArray[np.int64]) -> NDArray[np.object_]:
    """Polygons through points, binomially smoothed around each ring, simplified."""
    following = _next(ring)
    before = np.empty_like(following)
    before[following] = np.arange(len(following))
    for _ in range(_SMOOTHINGS):
        points = (points[before] + 2 * points + points[following]) / 4
    return _simplified(np.asarray(shapely.linearrings(points, indices=ring), dtype=object))


def _simplified(rings: NDArray[np.object_]) -> NDArray[np.object_]:
    """Polygons in rings, of fewer points: those of ``shapely.simplify`` that preserves topology, sooner.

    It looks for crossings at every step. Nearly no outline has any, and without them plain Douglas-Peucker
    leaves the same points, unless it leaves hardly any.
    """
    plain = np.asarray(shapely.simplify(rings, _TOLERANCE, preserve_topology=False), dtype=object)
    careful = shapely.get_num_coordinates(plain) < _FEW
    plain[careful] = rings[careful]
    outlines = np.asarray(shapely.polygons(_begun_alike(plain, rings)), dtype=object)
    careful |= ~shapely.is_valid(outlines)
    outlines[careful] = shapely.simplify(shapely.polygons(rings[careful]), _TOLERANCE)
    return outlines


def _begun_alike(plain: NDArray[np.object_], rings: NDArray[np.object_]) -> NDArray[np.object_]:
    """Simplified rings, those that lost their first point begun at their last, as with topology preserved."""
    points, owner = shapely.get_coordinates(plain, return_index=True)
    start = _starts(owner)
    first = shapely.get_coordinates(shapely.get_point(rings, 0))
    moved = (points[start] != first).any(axis=1)
    order = np.arange(len(points)) - moved[owner]
    order[start[moved]] = np.append(start[1:], len(points))[moved] - 2
    return np.asarray(shapely.set_coordinates(plain, points[order]), dtype=object)


def _fit(
    outlines: NDArray[np.object_], area: NDArray[np.float64], centroid: NDArray[np.float64]
) -> NDArray[np.object_]:
    """The outlines scaled and moved to given areas and centroids."""
    middle = shapely.get_coordinates(shapely.centroid(outlines))
    scale = np.sqrt(area / shapely.area(outlines))
    points, owner = shapely.get_coordinates(outlines, return_index=True)
    return shapely.set_coordinates(outlines, (points - middle[owner]) * scale[owner, None] + centroid[owner])


def _valid(outlines: NDArray[np.object_]) -> NDArray[np.object_]:
    """The outlines, a self-crossing one replaced by the largest part of its repair."""
    for row in np.flatnonzero(~shapely.is_valid(outlines)):
        parts = shapely.get_parts(shapely.make_valid(outlines[row]))
        outlines[row] = max(parts, key=shapely.area)
    return outlines
