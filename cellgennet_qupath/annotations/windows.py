"""Windows around the labels of a slide, small enough for memory, with context around them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from ..geometry.coordinates import full_to_edge
from ..geometry.rectangle import Rectangle
from .labels import UNKNOWN, LabelRasters, Split, Supervision, render

LARGEST = 2048
"""Windows have at most this many samples per side."""


class LabelBox(NamedTuple):
    """A window and its ``core``; the cores of a slide's windows do not overlap.

    A nucleus belongs to the window whose core contains the centre of its bounding box. ``whole`` is the
    window that was divided, if it was, else the window itself.
    """

    box: Rectangle
    core: Rectangle
    whole: Rectangle


class Place(NamedTuple):
    """Where a window is: on which slide, and in which annotated area (``LabelBox.whole``) of it.

    Two images of a project may show one slide, so the slide's name here is not the image's.
    """

    slide: str
    area: Rectangle


class Window(Protocol):
    """An image window with its labels, in memory or read when needed."""

    @property
    def source(self) -> str:
        """The image's name, for messages and figures."""

    @property
    def place(self) -> Place:
        """Where it is, for statistics: windows of one place are no independent samples."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""

    @property
    def image(self) -> NDArray[np.float32]:
        """float32 (rows, columns, 3), normalised colours at the working resolution."""

    @property
    def labels(self) -> LabelRasters:
        """The rasters of the whole window."""

    @property
    def known(self) -> NDArray[np.bool_]:
        """bool (rows, columns): samples known to be foreground or background."""

    @property
    def n_known(self) -> int:
        """Known samples that belong to this window."""

    @property
    def n_nuclei(self) -> int:
        """Whole nuclei, known as objects, that belong to this window."""

    def part(self, rows: slice, columns: slice) -> tuple[NDArray[np.float32], LabelRasters]:
        """The image and the rasters of a part of the window."""


@dataclass(frozen=True)
class LabelledWindow:
    """A window in memory (see ``Window``); all of it belongs to this window."""

    image: NDArray[np.float32]
    labels: LabelRasters
    box: Rectangle
    split: Split
    source: str

    @property
    def place(self) -> Place:
        return Place(self.source, self.box)

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.labels.objects.shape
        return rows, columns

    @property
    def known(self) -> NDArray[np.bool_]:
        return np.not_equal(self.labels.foreground, UNKNOWN)

    @property
    def n_known(self) -> int:
        return int(self.known.sum())

    @property
    def n_nuclei(self) -> int:
        return len(np.unique(self.labels.objects[self.labels.objects > 0]))

    def part(self, rows: slice, columns: slice) -> tuple[NDArray[np.float32], LabelRasters]:
        return self.image[rows, columns], self.labels.part(rows, columns)


def label_boxes(
    supervision: Supervision, split: Split, downsample: float, margin: int, largest: int = LARGEST
) -> list[LabelBox]:
    """Windows that contain every known sample of a split, each with a margin of ``margin`` samples.

    Overlapping windows are merged, as they show the same tissue. Those of more than ``largest`` samples per
    side are divided evenly, and parts without labels are left out.
    """
    shapes: list[shapely.Geometry] = list(supervision.regions[split])
    if split is Split.TRAINING:
        shapes += list(shapely.get_parts(supervision.background))
        shapes += list(supervision.nuclei[supervision.scattered])
    if not shapes:
        return []
    bounds = full_to_edge(shapely.bounds(np.array(shapes, dtype=object)), downsample)
    bounds[:, :2] = np.floor(bounds[:, :2]) - margin
    bounds[:, 2:] = np.ceil(bounds[:, 2:]) + margin
    tree = shapely.STRtree(shapes)
    boxes: list[LabelBox] = []
    for outer in _merged(bounds):
        xs, ys = _cuts(outer.x0, outer.x1, largest), _cuts(outer.y0, outer.y1, largest)
        cores = [Rectangle(x0, y0, x1, y1) for y0, y1 in pairwise(ys) for x0, x1 in pairwise(xs)]
        if len(cores) > 1:
            # A little smaller, so that shapes that only touch a core are not in it.
            inner = np.array(cores) + np.array([1e-6, 1e-6, -1e-6, -1e-6])
            drawn = shapely.box(*(inner * downsample).T)
            cores = [cores[row] for row in np.unique(tree.query(drawn, predicate="intersects")[0])]
        boxes += [LabelBox(_widened(core, outer, margin), core, outer) for core in cores]
    return boxes


def _cuts(start: int, end: int, largest: int) -> list[int]:
    """Positions that divide a length into the fewest even parts of at most ``largest``."""
    return [int(at) for at in np.linspace(start, end, -(-(end - start) // largest) + 1).round()]


def _widened(core: Rectangle, outer: Rectangle, margin: int) -> Rectangle:
    return Rectangle(
        max(core.x0 - margin, outer.x0),
        max(core.y0 - margin, outer.y0),
        min(core.x1 + margin, outer.x1),
        min(core.y1 + margin, outer.y1),
    )


def _merged(bounds: NDArray[np.float64]) -> list[Rectangle]:
    """Bounding boxes of groups of overlapping boxes, until none overlap, in reading order."""
    while True:
        union = shapely.union_all(shapely.box(*bounds.T))
        merged = shapely.bounds(shapely.get_parts(union))
        if len(merged) == len(bounds):
            break
        bounds = merged
    corners = [Rectangle(*(int(v) for v in box)) for box in bounds]
    return sorted(corners, key=lambda box: (box.y0, box.x0))


def render_window(
    supervision: Supervision, split: Split, where: LabelBox, downsample: float
) -> tuple[LabelRasters, NDArray[np.int32]]:
    """The rasters of a window, and the labels of the nuclei that belong to it.

    Where a larger window was divided, a nucleus cut by the edge is known as foreground but not as an object.
    """
    box, core, _ = where
    labels = render(supervision, split, (box.rows, box.columns), downsample, (box.x0, box.y0))
    objects = labels.objects
    edges = [
        objects[0] if box.y0 < core.y0 else objects[:0],
        objects[-1] if box.y1 > core.y1 else objects[:0],
        objects[:, 0] if box.x0 < core.x0 else objects[:0],
        objects[:, -1] if box.x1 > core.x1 else objects[:0],
    ]
    cut = np.unique(np.concatenate([edge.ravel() for edge in edges]))
    objects[np.isin(objects, cut[cut > 0])] = UNKNOWN
    owned = []
    for label, place in enumerate(ndimage.find_objects(np.maximum(objects, 0)), start=1):
        if place is None:
            continue
        y = (place[0].start + place[0].stop) / 2 + box.y0
        x = (place[1].start + place[1].stop) / 2 + box.x0
        if core.y0 <= y < core.y1 and core.x0 <= x < core.x1:
            owned.append(label)
    return labels, np.array(owned, np.int32)


def own_labels(labels: LabelRasters, owned: NDArray[np.int32], where: LabelBox) -> LabelRasters:
    """The rasters of ``render_window`` in which only what belongs to the window is known.

    So that each nucleus is scored once, whole, in the window to which it belongs.
    """
    other = np.ones(labels.objects.shape, bool)
    other[inner_part(where)] = False
    other = ((labels.objects > 0) | other) & ~np.isin(labels.objects, owned)
    return replace(
        labels,
        objects=np.where(other, UNKNOWN, labels.objects).astype(np.int32),
        foreground=np.where(other, UNKNOWN, labels.foreground).astype(np.int8),
    )


def inner_part(where: LabelBox) -> tuple[slice, slice]:
    """The rows and columns of a window's core within the window."""
    box, core, _ = where
    return slice(core.y0 - box.y0, core.y1 - box.y0), slice(core.x0 - box.x0, core.x1 - box.x0)
