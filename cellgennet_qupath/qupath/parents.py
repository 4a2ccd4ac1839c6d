"""Which annotation, or core of a tissue microarray, is the parent of a nucleus."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import shapely
from numpy.typing import NDArray

from ..geometry.solid import solid
from ..nuclei import Nuclei
from .formats.outlines import drawn
from .project import Annotation, Core, Within

NEAR = 1.0
"""Pixels; rounding to 0.01 px can move a nucleus just across the border of its annotation."""

_BY_CELL = (0, 6)
"""The first version of QuPath in which the centroid of a cell, not of its nucleus, decides on its parent."""


ParentsOf = Callable[[Nuclei], NDArray[np.object_]]
"""Returns the ids of the parents of nuclei, "" for none."""


def parents_or_earlier(earlier: ParentsOf, now: ParentsOf | None, nuclei: Nuclei) -> NDArray[np.object_]:
    """(n,) ids of the parents of nuclei now, and of those without one the ``earlier`` one."""
    before = earlier(nuclei)
    if now is None:
        return before
    parents = now(nuclei)
    return np.where(parents == "", before, parents)


def parents_within(
    nuclei: Nuclei, annotations: Iterable[Annotation], cores: Iterable[Core], within: Within, version: str
) -> NDArray[np.object_]:
    """(n,) ids of the parents of nuclei that were wanted ``within``, "" for none, by QuPath's rules.

    version : of the QuPath that wrote the project, which decides on cells; "" if unknown.
    """
    if within:
        return parents_of(nuclei, within.objects(annotations, cores), cells_decide(version), NEAR)
    return parents_of(nuclei, cores, cells_decide(version))


def cells_decide(version: str) -> bool:
    """Whether a QuPath places a cell by its own centroid, not by that of its nucleus (up to 0.5)."""
    return not version or release(version) >= _BY_CELL


def release(version: str) -> tuple[int, int]:
    """The first two numbers of a QuPath's version; (0, 0) if unknown."""
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    return (0, 0) if numbers is None else (int(numbers[1]), int(numbers[2]))


def parents_of(
    nuclei: Nuclei, objects: Iterable[Annotation], by_cell: bool = False, near: float = 0.0
) -> NDArray[np.object_]:
    """(n,) ids of the objects that contain the nuclei, "" for none.

    The position of a nucleus is its centroid, border included. If several objects contain it, the smallest is
    its parent.

    by_cell : the position of a nucleus with a cell is the centroid of the cell.
    near    : pixels up to which the nearest object is the parent of a nucleus that none contains.
    """
    parents = np.full(len(nuclei), "", dtype=object)
    points = np.asarray(shapely.centroid(drawn(nuclei) if by_cell else nuclei.polygons), dtype=object)
    drawn_objects = list(objects)
    areas = solid([one.geometry for one in drawn_objects])
    valid = [replace(one, geometry=area) for one, area in zip(drawn_objects, areas, strict=True)]
    closed = [a for a in valid if shapely.area(a.geometry) > 0]
    for z, t in {(a.plane.z, a.plane.t) for a in closed}:
        here = [a for a in closed if (a.plane.z, a.plane.t) == (z, t)]
        rows = np.flatnonzero((nuclei.z == z) & (nuclei.t == t))
        chosen = _smallest(points[rows], np.array([a.geometry for a in here], dtype=object), near)
        ids = np.array([*(a.id for a in here), ""], dtype=object)
        parents[rows] = ids[chosen]
    return parents


def _smallest(points: NDArray[np.object_], shapes: NDArray[np.object_], distance: float) -> NDArray[np.intp]:
    """Index of the smallest shape that contains each point, else of the nearest up to a distance; else -1."""
    order = np.argsort(-shapely.area(shapes), kind="stable")
    chosen = np.full(len(points), -1, np.intp)
    if not len(points):
        return chosen
    # The shapes ask for points: a shape of many vertices is prepared once, not looked through for each point.
    shape, inside = shapely.STRtree(points).query(shapes[order], predicate="intersects")
    smallest_last = np.lexsort((shape, inside))
    chosen[inside[smallest_last]] = order[shape[smallest_last]]
    outside = np.flatnonzero(chosen < 0)
    if distance and len(outside):
        tree = shapely.STRtree(shapes[order])
        near, shape = tree.query_nearest(points[outside], max_distance=distance, all_matches=False)
        chosen[outside[near]] = order[shape]
    return chosen
