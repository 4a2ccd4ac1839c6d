"""Blocks of an image: which to look at, and what is seen in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import shapely
from numpy.typing import NDArray

from ..core.parallel import ordered_map
from ..geometry.coordinates import edge_to_full
from ..geometry.grid import round_up
from ..geometry.rectangle import Rectangle
from ..qupath.project import Annotation, ImageEntry
from ..segmentation.model import Model
from ..slides.normalisation import Normalisation
from ..slides.reader import SlideReader
from ..slides.tissue import TissueMask
from ..training.pseudo_labels import AveragedPrediction, mix, predict_views
from ..training.soft_maps import Predict, whole_maps
from .criteria import Windows, measure

PER_BLOCK = 4
"""Windows along a side of a block."""
_VIEWS = 4
_TEACHER_SHARE = 0.5
_LEAST_TISSUE = 0.5


@dataclass(frozen=True)
class Image:
    """An image of which windows may be suggested.

    downsample : full-resolution pixels per sample of the model.
    size       : (columns, rows) of the image in samples.
    annotated  : what is annotated already: regions and known background, in full-resolution pixels.
    taken      : where no window is suggested: what is annotated, ignored, or an earlier suggestion in use.
    """

    entry: ImageEntry
    downsample: float
    mpp: float | None
    size: tuple[int, int]
    tissue: TissueMask
    normalisation: Normalisation
    annotations: Sequence[Annotation]
    annotated: shapely.Geometry
    taken: shapely.Geometry


@dataclass(frozen=True)
class Networks:
    """The networks that look at a block: a model, and its teacher if there is one."""

    model: Model
    teacher: Predict | None = None

    def maps(self, image: NDArray[np.float32]) -> AveragedPrediction:
        """Mean and standard deviation of the maps over views of the student, and over both networks."""
        student = predict_views(partial(whole_maps, self.model.predictor.predict), image, _VIEWS)
        if self.teacher is None:
            return student
        maps = self.teacher(image)
        return mix(student, AveragedPrediction(maps, np.zeros_like(maps)), _TEACHER_SHARE)


def block_boxes(image: Image, size: int) -> list[Rectangle]:
    """Blocks of tissue that together cover the image, in reading order.

    size : side of a window. Blocks have one size and overlap, so that none reaches beyond the image, unless
    the image is smaller than a block.
    """
    side = PER_BLOCK * size
    columns, rows = image.size
    xs, ys = _starts(columns, side), _starts(rows, side)
    corners = np.array([(x, y) for y in ys for x in xs])
    step = image.downsample
    share = image.tissue.coverage(corners[:, 0] * step, corners[:, 1] * step, side * step, side * step)
    # A window of tissue in the block is enough.
    least = _LEAST_TISSUE / PER_BLOCK**2
    return [Rectangle.of_size(int(x), int(y), side, side) for x, y in corners[share >= least]]


def _starts(length: int, side: int) -> list[int]:
    """Even positions of blocks that cover a length evenly."""
    last = max(length - side, 0)
    count = -(-last // side) + 1
    return [int(at) // 2 * 2 for at in np.linspace(0, last, count)]


def _window_starts(start: int, end: int, size: int) -> list[int]:
    """Where windows begin between two edges: at half-window steps, and a last one that reaches the end."""
    last = (end - size) // 2 * 2
    return sorted({*range(start, last + 1, size // 2 // 2 * 2), *([last] if last >= start else [])})


def look_at(
    image: Image, number: int, reader: SlideReader, blocks: Sequence[Rectangle], size: int, networks: Networks
) -> Iterator[tuple[Windows, Windows]]:
    """For each block the windows that may be suggested, and those that are annotated.

    number : of the image, for the windows. One block after the other is in memory.
    """
    model = networks.model
    context = round_up(model.predictor.context, model.predictor.unit)

    def read(block: Rectangle) -> tuple[Rectangle, NDArray[np.float32]]:
        pixels = reader.read_grid(
            block.x0 - context,
            block.y0 - context,
            block.columns + 2 * context,
            block.rows + 2 * context,
            image.downsample,
        )
        corner = (block.x0 - context, block.y0 - context)
        return block, image.normalisation.seen(pixels, corner, image.size, image.downsample)[0]

    def windows(one: tuple[Rectangle, NDArray[np.float32]]) -> tuple[Windows, Windows]:
        block, pixels = one
        maps, rim = networks.maps(pixels), context // model.predictor.stride
        inner = np.s_[rim : maps.mean.shape[0] - rim, rim : maps.mean.shape[1] - rim]
        seen = pixels[context : pixels.shape[0] - context, context : pixels.shape[1] - context]
        candidates, annotated = window_boxes(image, block, size)
        found = [
            measure(seen, maps.mean[inner], maps.std[inner], boxes, model.rule, number, block[:2])
            for boxes in (candidates, annotated)
        ]
        return found[0], found[1]

    return ordered_map(windows, map(read, blocks), model.predictor.streams)


def window_boxes(image: Image, block: Rectangle, size: int) -> tuple[list[Rectangle], list[Rectangle]]:
    """The windows of a block, at half-window steps: those to choose from, and those that are annotated.

    Annotated are those of which half or more is; others that touch what is taken are neither.
    """
    columns, rows = image.size
    boxes = [
        Rectangle.of_size(x, y, size, size)
        for y in _window_starts(block.y0, min(block.y1, rows), size)
        for x in _window_starts(block.x0, min(block.x1, columns), size)
    ]
    if not boxes:
        return [], []
    corners = edge_to_full(np.array(boxes), image.downsample)
    shapes = np.asarray(shapely.box(*corners.T), dtype=object)
    side = size * image.downsample
    tissue = image.tissue.coverage(corners[:, 0], corners[:, 1], side, side) >= _LEAST_TISSUE
    free = tissue & ~shapely.intersects(image.taken, shapes)
    covered = np.asarray(shapely.area(shapely.intersection(image.annotated, shapes)))
    known = covered >= side**2 / 2
    return [boxes[row] for row in np.flatnonzero(free)], [boxes[row] for row in np.flatnonzero(known)]
