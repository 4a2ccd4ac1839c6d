"""The foreground of maps divided into one region per seed.

Most of a slide is background, so samples of the foreground are kept as lists, not as images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from ..core.lazy import lazy
from ..geometry.rectangle import Rectangle

if TYPE_CHECKING:
    import scipy.sparse as sparse
    import scipy.sparse.csgraph as csgraph
    import scipy.spatial as spatial
    import skimage.segmentation as segmentation
else:
    sparse = lazy("scipy.sparse")
    csgraph = lazy("scipy.sparse.csgraph")
    spatial = lazy("scipy.spatial")
    segmentation = lazy("skimage.segmentation")

_FOUR_CONNECTED = 4
_SQUARE = 8
"""Samples along a side; not more than a side apart are the middle and the farthest sample."""


@dataclass(frozen=True)
class Foreground:
    """The samples of a foreground mask, in reading order.

    position : intp (m,), in the flattened window, which has ``width`` columns.
    part     : int32 (m,), the 4-connected part of the mask to which each belongs, 1 ... p.
    boxes    : int (p + 1, 4), first row, first column, last row and last column of each part.
    seeds    : intp (k,), positions of the seeds; seed_parts: int32 (k,), their parts.
    """

    position: NDArray[np.intp]
    part: NDArray[np.int32]
    boxes: NDArray[np.intp]
    seeds: NDArray[np.intp]
    seed_parts: NDArray[np.int32]
    width: int

    @classmethod
    def of(cls, mask: NDArray[np.bool_], seeds: NDArray[np.intp]) -> Foreground:
        """The foreground of a mask with seeds in it."""
        count, parts = cv2.connectedComponents(mask.view(np.uint8), connectivity=_FOUR_CONNECTED)
        flat = np.asarray(parts, np.int32).reshape(-1)
        position = np.flatnonzero(mask)
        part = flat[position]
        width = mask.shape[1]
        return cls(position, part, boxes_of(position, part, count, width), seeds, flat[seeds], width)

    def around(self, core: Rectangle) -> Foreground:
        """The samples of the parts that touch a core; all seeds and boxes."""
        near = touches(self.boxes, core)[self.part]
        return replace(self, position=self.position[near], part=self.part[near])


def touches(boxes: NDArray[np.intp], core: Rectangle) -> NDArray[np.bool_]:
    """Which boxes (n, 4) overlap a core or touch it."""
    top, left, bottom, right = boxes.T
    down = (bottom >= core.y0 - 1) & (top <= core.y1 + 1)
    return np.asarray(down & (right >= core.x0 - 1) & (left <= core.x1 + 1), bool)


def boxes_of(
    position: NDArray[np.intp], owner: NDArray[np.int32], count: int, width: int
) -> NDArray[np.intp]:
    """(count, 4) first row, first column, last row and last column of each owner of samples."""
    boxes = np.zeros((count, 4), np.intp)
    row = position // width
    column = position - row * width
    boxes[owner[::-1], 0] = row[::-1]  # in reading order, and the last one written stays
    boxes[owner, 2] = row
    boxes[:, 1] = width
    np.minimum.at(boxes[:, 1], owner, column)
    np.maximum.at(boxes[:, 3], owner, column)
    return boxes


def regions(
    foreground: Foreground, smooth: NDArray[np.float32], max_extent: float, valley: float
) -> NDArray[np.int32]:
    """The region of each sample, int32 (m,), 0 for none: that of a seed (from 1), or a part without a seed.

    A part with several seeds is divided by a watershed on ``smooth``, no farther from a seed than
    ``max_extent``. Of its regions, those that no valley separates are merged.
    """
    count = len(foreground.boxes)
    seeds = len(foreground.seeds)
    number = np.bincount(foreground.seed_parts, minlength=count)
    whole = np.zeros(count, np.int32)
    seedless = np.flatnonzero(number == 0)
    whole[seedless] = seeds + 1 + np.arange(len(seedless))
    height, width = (foreground.boxes[:, 2:] - foreground.boxes[:, :2]).T
    wide = np.hypot(height, width) > max_extent
    alone = (number == 1) & ~wide
    seeded = np.flatnonzero(alone[foreground.seed_parts])
    whole[foreground.seed_parts[seeded]] = seeded + 1
    owner = whole[foreground.part]
    mixed = np.flatnonzero(owner == 0)
    if len(mixed):
        position, part = foreground.position[mixed], foreground.part[mixed]
        near = np.ones(len(mixed), bool)
        near[wide[part]] = _within_reach(position[wide[part]], foreground, max_extent)
        divided = _Divided(foreground, position[near], part[near], smooth)
        owner[mixed[near]] = divided.merged(max_extent, valley)
    return owner


def _within_reach(position: NDArray[np.intp], foreground: Foreground, reach: float) -> NDArray[np.bool_]:
    """Which samples have a seed no farther away than ``reach``."""
    seeds = spatial.KDTree(_points(foreground.seeds, foreground.width))
    points = _points(position, foreground.width)
    # Most are answered by the square of samples that they are in: all of it is near, if its middle is.
    square, member = np.unique(points // _SQUARE @ (foreground.width, 1), return_inverse=True)
    middle = (_points(square, foreground.width) + 0.5) * _SQUARE - 0.5
    distance = np.asarray(seeds.query(middle)[0])[member] + _SQUARE
    unsure = np.flatnonzero(distance > reach)
    distance[unsure] = seeds.query(points[unsure])[0]
    return np.asarray(distance <= reach, bool)


def _points(position: NDArray[np.intp], width: int) -> NDArray[np.intp]:
    return np.column_stack(np.divmod(position, width))


class _Divided:
    """Samples divided among their seeds by a watershed, on an image in which their parts are side by side."""

    def __init__(
        self,
        foreground: Foreground,
        position: NDArray[np.intp],
        part: NDArray[np.int32],
        smooth: NDArray[np.float32],
    ) -> None:
        numbers = np.unique(part)
        boxes = foreground.boxes[numbers]
        size = boxes[:, 2:] - boxes[:, :2] + 2  # a row and a column of background keep parts apart
        places = _side_by_side(size)
        shape = (places + size).max(axis=0)
        self.width = int(shape[1])
        shift = np.zeros((len(foreground.boxes), 2), np.intp)
        shift[numbers] = places - boxes[:, :2]

        def place_of(position: NDArray[np.intp], part: NDArray[np.int32]) -> NDArray[np.intp]:
            row = position // foreground.width
            moved = shift[part]
            return (row + moved[:, 0]) * self.width + position - row * foreground.width + moved[:, 1]

        self.position = place_of(position, part)
        heights = smooth.reshape(-1)
        self.peaks = heights[foreground.seeds].astype(np.float64)
        self.depth = np.zeros(shape.prod())
        self.depth[self.position] = -heights[position]
        mask = np.zeros(shape, bool)
        mask.reshape(-1)[self.position] = True
        markers = np.zeros(shape, np.int32)
        here = np.flatnonzero(np.isin(foreground.seed_parts, numbers))
        markers.reshape(-1)[place_of(foreground.seeds[here], foreground.seed_parts[here])] = here + 1
        labels = segmentation.watershed(self.depth.reshape(shape), markers, mask=mask)
        self.labels: NDArray[np.int32] = labels.reshape(-1)

    def merged(self, max_extent: float, valley: float) -> NDArray[np.int32]:
        """The region of each sample, neighbours merged if no valley separates them.

        Regions that together would be wider than an object may be are not merged.
        """
        one, other, saddle = self._saddles()
        flat = saddle >= valley * np.minimum(self.peaks[one - 1], self.peaks[other - 1])
        count = len(self.peaks) + 1
        links = sparse.coo_array((np.ones(int(flat.sum())), (one[flat], other[flat])), shape=(count, count))
        _, group = csgraph.connected_components(links, directed=False)
        owner = self.labels[self.position]
        reached = owner > 0
        boxes = boxes_of(self.position[reached], group[owner[reached]], count, self.width)
        wide = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) + 1 > max_extent
        # A group gets the number of its first region.
        numbers = np.arange(count, dtype=np.int32)
        first = np.full(count, count, np.int32)
        np.minimum.at(first, group, numbers)
        merged: NDArray[np.int32] = np.where(wide[group], numbers, first[group])[owner]
        return merged

    def _saddles(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Each pair of touching regions, and the highest value at which they touch."""
        count = len(self.peaks) + 1
        pairs, depths = [], []
        for step in (1, self.width):
            own, next_one = self.labels[self.position], self.labels[self.position + step]
            touch = np.flatnonzero((own != next_one) & (own > 0) & (next_one > 0))
            low, high = np.minimum(own[touch], next_one[touch]), np.maximum(own[touch], next_one[touch])
            pairs.append(low.astype(np.int64) * count + high)
            place = self.position[touch]
            depths.append(np.maximum(self.depth[place], self.depth[place + step]))
        ends, owner = np.unique(np.concatenate(pairs), return_inverse=True)
        depth = np.zeros(len(ends))
        np.minimum.at(depth, owner, np.concatenate(depths))
        one, other = np.divmod(ends, count)
        return one, other, -depth


def _side_by_side(size: NDArray[np.intp]) -> NDArray[np.intp]:
    """Places (n, 2) for rectangles of (n, 2) rows and columns on an image that holds them without overlap."""
    order = np.argsort(-size[:, 0], kind="stable")
    rows, columns = size[order].T
    # In rows of about equal length, the highest rectangles first.
    end = np.cumsum(columns)
    line = (end - columns) // max(int(np.sqrt(size.prod(axis=1).sum())), 1)
    first = np.flatnonzero(np.diff(line, prepend=-1))
    count = np.diff(first, append=len(line))
    places = np.empty_like(size)
    places[order, 0] = np.repeat(np.cumsum(rows[first]) - rows[first], count)
    places[order, 1] = end - columns - np.repeat((end - columns)[first], count)
    return places
