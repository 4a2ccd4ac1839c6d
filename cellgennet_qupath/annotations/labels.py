"""The labels of one image, and their rasters, in which what nobody annotated stays unknown.

Two rasters are needed: a nucleus cut by a region's border is known to be foreground, but its outline, and so
the object, is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
import shapely
from numpy.typing import NDArray

from ..geometry.lookup import ShapeIndex
from ..geometry.raster import rasterize
from .findings import Finding
from .outlines import array_of

UNKNOWN = -1


class Split(StrEnum):
    """The use of a region."""

    TRAINING = "training"
    VALIDATION = "validation"

    @property
    def other(self) -> Split:
        """The other use."""
        return Split.VALIDATION if self is Split.TRAINING else Split.TRAINING


@dataclass(frozen=True)
class Layers:
    """The shapes of a ``Supervision`` by place, for its windows."""

    regions: Mapping[Split, ShapeIndex]
    drawn: Mapping[Split, ShapeIndex]
    nuclei: Mapping[Split, ShapeIndex]
    cut: ShapeIndex
    unknown: ShapeIndex
    background: ShapeIndex
    ignored: ShapeIndex


@dataclass(frozen=True)
class Supervision:
    """The annotations of one image, sorted by meaning. Geometries in full-resolution pixels.

    regions    : per split, polygons inside which every nucleus is outlined. Disjoint between the splits:
                 what is drawn as both is for validation.
    drawn      : per split, all regions as drawn, those without an outlined nucleus too.
    nuclei     : closed outlines that are whole and known as objects (in a region, or scattered).
    scattered  : rows of ``nuclei`` that are outside every region.
    validation : rows of ``nuclei`` that are in validation regions.
    cut        : outlines that cross a region's border or touch an ignored area: known foreground
                 inside the region, unknown as objects and outside.
    unknown    : outlines in regions, or on known background, that may be nuclei but are not known as such.
    background : known background, outside regions too.
    ignored    : unknown, whatever else is annotated there: ignored areas, those whose class is nearly that of
                 an ignored area or a validation region, and ignored detections in Corrected regions.
    findings   : what is odd about the annotations.
    """

    regions: dict[Split, list[shapely.Geometry]]
    drawn: dict[Split, list[shapely.Geometry]]
    nuclei: NDArray[np.object_]
    scattered: NDArray[np.bool_]
    validation: NDArray[np.bool_]
    cut: NDArray[np.object_]
    unknown: NDArray[np.object_]
    background: list[shapely.Geometry]
    ignored: list[shapely.Geometry]
    findings: tuple[Finding, ...] = ()

    @cached_property
    def layers(self) -> Layers:
        """All shapes by place."""
        return Layers(
            regions={split: ShapeIndex(array_of(self.regions[split])) for split in Split},
            drawn={split: ShapeIndex(array_of(self.drawn[split])) for split in Split},
            nuclei={split: ShapeIndex(self.of(split)) for split in Split},
            cut=ShapeIndex(self.cut),
            unknown=ShapeIndex(self.unknown),
            background=ShapeIndex(array_of(self.background)),
            ignored=ShapeIndex(array_of(self.ignored)),
        )

    def of(self, split: Split) -> NDArray[np.object_]:
        """The whole nuclei of a split; scattered ones are for training."""
        return self.nuclei[self.validation if split is Split.VALIDATION else ~self.validation]

    def count(self, split: Split) -> int:
        """Number of whole nuclei of a split."""
        return len(self.of(split))

    def usable(self, split: Split) -> bool:
        """Whether this image has nuclei of a split to learn from, or a region known to contain none."""
        return bool(self.regions[split]) or self.count(split) > 0


@dataclass(frozen=True)
class LabelRasters:
    """What is known in a window of the sample grid; all (rows, columns).

    objects    : int32, -1 unknown, 0 background, k > 0 the pixels of the k-th nucleus.
    foreground : int8, -1 unknown, 0 background, 1 nucleus (cut nuclei included).
    withheld   : bool, deliberately unknown: the other split's regions and ignored areas. Training must
                 not use them, nor pseudo-labels there.
    soft       : uint8 (rows, columns, 2), a model's foreground and object probability in 255ths, for a
                 student that learns from both; None: from the labels alone.
    """

    objects: NDArray[np.int32]
    foreground: NDArray[np.int8]
    withheld: NDArray[np.bool_]
    soft: NDArray[np.uint8] | None = None

    def part(self, rows: slice, columns: slice) -> LabelRasters:
        """A part of the window."""
        return LabelRasters(
            self.objects[rows, columns],
            self.foreground[rows, columns],
            self.withheld[rows, columns],
            None if self.soft is None else self.soft[rows, columns],
        )


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
    start = np.array(origin) * downsample
    end = start + np.array(shape[::-1]) * downsample

    def paint(shapes: ShapeIndex) -> NDArray[np.bool_]:
        return rasterize(shapes.near(start, end), shape, downsample, origin) > 0

    layers = supervision.layers
    region = paint(layers.regions[split])
    hidden = paint(layers.drawn[split.other])
    if split is Split.VALIDATION:
        hidden &= ~paint(layers.drawn[split])
    # Small nuclei last, so that one on top of a large one stays visible. Of equal ones the place decides.
    nuclei = layers.nuclei[split].near(start, end)
    nuclei = nuclei[np.lexsort((*shapely.bounds(nuclei).T, -shapely.area(nuclei)))]
    objects = rasterize(nuclei, shape, downsample, origin)
    drawn_cut = paint(layers.cut)
    cut = drawn_cut & region
    background = np.zeros(shape, bool)
    if split is Split.TRAINING:
        background = paint(layers.background)

    # What is drawn as a nucleus is no background, where an area of background covers it either.
    doubtful = (paint(layers.unknown) | drawn_cut) & (objects == 0) & ~cut
    known = (region | background | (objects > 0)) & ~doubtful
    foreground = np.where(known, (objects > 0) | cut, UNKNOWN).astype(np.int8)
    objects = np.where(known, objects, UNKNOWN).astype(np.int32)
    objects[cut & (objects <= 0)] = UNKNOWN
    withheld = hidden | paint(layers.ignored)
    foreground[withheld] = UNKNOWN
    objects[withheld] = UNKNOWN
    return LabelRasters(objects, foreground, withheld)
