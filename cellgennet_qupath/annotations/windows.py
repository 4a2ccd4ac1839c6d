"""Windows around the labels of a slide, small enough for memory, with context around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from ..geometry.coordinates import full_to_edge
from ..geometry.rectangle import Rectangle
from .labels import UNKNOWN, LabelRasters, Split, Supervision, render

LARGEST = 2048
"""Windows have at most this many samples per side."""


@dataclass(frozen=True)
class LabelledWindow:
    """An image window with its labels.

    image  : float32 (rows, columns, 3), normalised colours at the working resolution.
    labels : rasters of the same rows and columns.
    source : the image's name, for messages and figures.
    """

    image: NDArray[np.float32]
    labels: LabelRasters
    box: Rectangle
    split: Split
    source: str

    @property
    def known(self) -> NDArray[np.bool_]:
        """Samples known to be foreground or background."""
        return np.not_equal(self.labels.foreground, UNKNOWN)

    @property
    def n_nuclei(self) -> int:
        """Whole nuclei known as objects."""
        return len(np.unique(self.labels.objects[self.labels.objects > 0]))


def label_boxes(supervision: Supervision, split: Split, downsample: float, margin: int) -> list[Rectangle]:
    """Boxes that contain every known sample of a split, each with a margin of ``margin`` samples.

    Overlapping boxes are merged, as they show the same tissue; boxes larger than ``LARGEST`` are divided.
    """
    shapes: list[shapely.Geometry] = list(supervision.regions[split])
    if split is Split.TRAINING:
        shapes += supervision.background
        shapes += list(supervision.nuclei[supervision.scattered])
    if not shapes:
        return []
    bounds = full_to_edge(shapely.bounds(np.array(shapes, dtype=object)), downsample)
    bounds[:, :2] = np.floor(bounds[:, :2]) - margin
    bounds[:, 2:] = np.ceil(bounds[:, 2:]) + margin
    boxes: list[Rectangle] = []
    for x0, y0, x1, y1 in _merged(bounds):
        for y in range(y0, y1, LARGEST):
            for x in range(x0, x1, LARGEST):
                boxes.append(Rectangle(x, y, min(x + LARGEST, x1), min(y + LARGEST, y1)))
    return boxes


def _merged(bounds: NDArray[np.float64]) -> list[tuple[int, int, int, int]]:
    """Bounding boxes of groups of overlapping boxes, until none overlap, in reading order."""
    boxes = [shapely.box(*b) for b in bounds]
    while True:
        union = shapely.union_all(boxes)
        merged = [shapely.box(*part.bounds) for part in shapely.get_parts(union)]
        if len(merged) == len(boxes):
            break
        boxes = merged
    corners = [tuple(int(v) for v in box.bounds) for box in boxes]
    return sorted(((a, b, c, d) for a, b, c, d in corners), key=lambda box: (box[1], box[0]))


def labelled_window(
    image: NDArray[np.float32],
    supervision: Supervision,
    split: Split,
    box: Rectangle,
    downsample: float,
    source: str,
) -> LabelledWindow:
    """A window of ``box`` with its rasters; ``image`` contains its normalised pixels."""
    labels = render(supervision, split, (box.rows, box.columns), downsample, (box.x0, box.y0))
    return LabelledWindow(image, labels, box, split, source)
