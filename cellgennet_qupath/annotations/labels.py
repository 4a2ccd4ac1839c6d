"""Annotations of one image to label rasters of its pixels.

The documentation defines the meaning of each class ("What annotations mean"). Two rasters are needed:
a nucleus cut by a region's border is known to be foreground, but its outline, and so the object, is
unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import shapely
from numpy.typing import NDArray

from ..core.config import ClassNames
from ..geometry.raster import rasterize
from ..qupath.project import Annotation

UNKNOWN = -1


class Split(StrEnum):
    """The use of a region."""

    TRAINING = "training"
    VALIDATION = "validation"


@dataclass(frozen=True)
class Supervision:
    """The annotations of one image, sorted by meaning. Geometries in full-resolution pixels.

    regions    : per split, polygons inside which every nucleus is outlined.
    nuclei     : closed outlines that are whole and known as objects (in a region, or scattered).
    scattered  : rows of ``nuclei`` that are outside every region.
    cut        : outlines that cross a region's border or touch an ignored area: known foreground
                 inside the region, unknown as objects.
    background : known background, outside regions too.
    ignored    : unknown, whatever else is annotated there.
    skipped    : number of annotations left out, by reason.
    """

    regions: dict[Split, list[shapely.Geometry]]
    nuclei: NDArray[np.object_]
    scattered: NDArray[np.bool_]
    cut: NDArray[np.object_]
    background: list[shapely.Geometry]
    ignored: list[shapely.Geometry]
    skipped: dict[str, int] = field(default_factory=dict)

    def count(self, split: Split) -> int:
        """Number of whole nuclei of a split; scattered ones are for training."""
        inside, _ = _relation(self.nuclei, self.regions[split])
        return int((inside | self.scattered).sum() if split is Split.TRAINING else inside.sum())

    def usable(self, split: Split) -> bool:
        """Whether this image has labels of a split."""
        if self.regions[split]:
            return True
        return split is Split.TRAINING and bool(self.scattered.any() or self.background)


def interpret(annotations: Sequence[Annotation], classes: ClassNames) -> Supervision:
    """Sort annotations by meaning; planes other than the first are left out and counted.

    A nucleus is inside a region if less than half a square pixel of it is outside.
    """
    regions: dict[Split, list[shapely.Geometry]] = {Split.TRAINING: [], Split.VALIDATION: []}
    background: list[shapely.Geometry] = []
    ignored: list[shapely.Geometry] = []
    outlines: list[shapely.Geometry] = []
    named: list[bool] = []
    skipped: dict[str, int] = {}

    def skip(reason: str) -> None:
        skipped[reason] = skipped.get(reason, 0) + 1

    for annotation in annotations:
        role = _role(annotation.path_class, classes)
        if role is None:
            continue
        if annotation.plane.z or annotation.plane.t:
            skip("on another z-slice or time point")
            continue
        shape = _closed(annotation.geometry)
        if shape is None:
            skip("a point or a line, which outlines no area")
            continue
        if role == "training":
            regions[Split.TRAINING].append(shape)
        elif role == "validation":
            regions[Split.VALIDATION].append(shape)
        elif role == "background":
            background.append(shape)
        elif role == "ignore":
            ignored.append(shape)
        else:
            outlines.append(shape)
            named.append(annotation.path_class == classes.nucleus)

    candidates = _objects(outlines)
    is_named = np.array(named, dtype=bool)
    inside, touching = _relation(candidates, [*regions[Split.TRAINING], *regions[Split.VALIDATION]])
    _, under_ignored = _relation(candidates, ignored)
    scattered = ~touching & is_named
    for _ in range(int((~touching & ~is_named).sum())):
        skip("an unclassified outline outside every region")
    whole = (inside | scattered) & ~under_ignored
    cut = ((touching & ~inside) | under_ignored) & (touching | scattered)
    return Supervision(
        regions=regions,
        nuclei=candidates[whole],
        scattered=scattered[whole],
        cut=candidates[cut],
        background=background,
        ignored=ignored,
        skipped=skipped,
    )


def _role(path_class: str, classes: ClassNames) -> str | None:
    if classes.is_ignored(path_class):
        return "ignore"
    return {
        classes.training: "training",
        classes.validation: "validation",
        classes.background: "background",
        classes.nucleus: "nucleus",
        "": "nucleus",
    }.get(path_class)


def _closed(geometry: shapely.Geometry) -> shapely.Geometry | None:
    if not shapely.is_valid(geometry):
        geometry = shapely.make_valid(geometry)
    areal = [g for g in shapely.get_parts(geometry) if g.geom_type in ("Polygon", "MultiPolygon")]
    if not areal or sum(g.area for g in areal) == 0:
        return None
    return areal[0] if len(areal) == 1 else shapely.union_all(areal)


def _objects(shapes: Sequence[shapely.Geometry]) -> NDArray[np.object_]:
    array = np.empty(len(shapes), dtype=object)
    array[:] = shapes
    return array


def _relation(
    shapes: NDArray[np.object_], areas: Sequence[shapely.Geometry]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which shapes are entirely inside the union of ``areas``, and which overlap it."""
    n = len(shapes)
    if not n or not areas:
        return np.zeros(n, bool), np.zeros(n, bool)
    union = shapely.union_all(list(areas))
    shapely.prepare(union)
    shared = np.zeros(n)
    near = shapely.intersects(union, shapes)
    shared[near] = shapely.area(shapely.intersection(union, shapes[near]))
    return shapely.area(shapes) - shared < 0.5, shared >= 0.5


@dataclass(frozen=True)
class LabelRasters:
    """What is known in a window of the sample grid; all (rows, columns).

    objects    : int32, -1 unknown, 0 background, k > 0 the pixels of the k-th nucleus.
    foreground : int8, -1 unknown, 0 background, 1 nucleus (cut nuclei included).
    withheld   : bool, deliberately unknown: the other split's regions and ignored areas. Training must
                 not use them, nor pseudo-labels there.
    """

    objects: NDArray[np.int32]
    foreground: NDArray[np.int8]
    withheld: NDArray[np.bool_]


def render(
    supervision: Supervision,
    split: Split,
    shape: tuple[int, int],
    downsample: float,
    origin: tuple[int, int],
) -> LabelRasters:
    """Rasters of the window whose first sample is ``origin`` (x, y) on the grid of ``downsample``.

    Only labels of ``split`` are known: the other split's regions are unknown, so that validation regions
    are never trained on. A sample is inside a shape if its centre is.
    """

    def paint(
        shapes: Sequence[shapely.Geometry] | NDArray[np.object_], values: NDArray[np.int32] | None = None
    ) -> NDArray[np.int32]:
        return rasterize(_objects(list(shapes)), shape, downsample, origin, values)

    other = Split.VALIDATION if split is Split.TRAINING else Split.TRAINING
    region = paint(supervision.regions[split]) > 0
    hidden = (paint(supervision.regions[other]) > 0) & ~region
    keep = supervision.nuclei
    if split is Split.VALIDATION:
        keep = keep[~supervision.scattered]
    # Small nuclei last, so that one on top of a large one stays visible.
    order = np.argsort(-shapely.area(keep), kind="stable")
    objects = paint(keep[order], (np.arange(len(keep)) + 1).astype(np.int32))
    cut = (paint(supervision.cut) > 0) & region
    background = np.zeros(shape, bool)
    if split is Split.TRAINING:
        background = paint(supervision.background) > 0

    known = region | background | (objects > 0)
    foreground = np.where(known, (objects > 0) | cut, UNKNOWN).astype(np.int8)
    objects = np.where(known, objects, UNKNOWN).astype(np.int32)
    objects[cut & (objects <= 0)] = UNKNOWN
    withheld = hidden | (paint(supervision.ignored) > 0)
    foreground[withheld] = UNKNOWN
    objects[withheld] = UNKNOWN
    return LabelRasters(objects, foreground, withheld)
