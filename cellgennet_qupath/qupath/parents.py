"""Which annotation is the parent of a nucleus."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import shapely
from numpy.typing import NDArray

from ..nuclei import Nuclei
from .project import Annotation

_NEAR = 1.0
"""Pixels; rounding to 0.01 px can move a nucleus just across the border of its annotation."""


def parents_of(nuclei: Nuclei, annotations: Iterable[Annotation], path_class: str) -> NDArray[np.object_]:
    """(n,) ids of the annotations of a class that contain the nuclei, "" for none.

    The position of a nucleus is its centroid, as in QuPath. If several annotations contain it, the smallest
    is its parent.
    """
    parents = np.full(len(nuclei), "", dtype=object)
    points = np.asarray(shapely.centroid(nuclei.polygons), dtype=object)
    # Repaired first: the two loops of a figure of eight cancel each other's area.
    valid = [
        replace(a, geometry=shapely.make_valid(a.geometry)) for a in annotations if a.path_class == path_class
    ]
    closed = [a for a in valid if shapely.area(a.geometry) > 0]
    for z, t in {(a.plane.z, a.plane.t) for a in closed}:
        here = [a for a in closed if (a.plane.z, a.plane.t) == (z, t)]
        rows = np.flatnonzero((nuclei.z == z) & (nuclei.t == t))
        chosen = _smallest(points[rows], np.array([a.geometry for a in here], dtype=object))
        ids = np.array([*(a.id for a in here), ""], dtype=object)
        parents[rows] = ids[chosen]
    return parents


def _smallest(points: NDArray[np.object_], shapes: NDArray[np.object_]) -> NDArray[np.intp]:
    """Index of the shape that contains each point, the smallest of several, else the nearest; -1 for none."""
    order = np.argsort(-shapely.area(shapes), kind="stable")
    tree = shapely.STRtree(shapes[order])
    chosen = np.full(len(points), -1, np.intp)
    if len(points):
        near, shape = tree.query_nearest(points, max_distance=_NEAR, all_matches=False)
        chosen[near] = order[shape]
        inside, shape = tree.query(points, predicate="intersects")
        smallest_last = np.lexsort((shape, inside))
        chosen[inside[smallest_last]] = order[shape[smallest_last]]
    return chosen
