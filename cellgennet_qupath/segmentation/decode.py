"""Maps to instances: peaks of the object map, grown over the foreground by a watershed, and merged where
no valley separates them.

A nucleus depends only on a bounded neighbourhood (``Decoding.reach``), not on its absolute position, and
all comparisons are made on exact integers, so a nucleus is the same in every tile it is decoded in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..core.lazy import lazy
from ..geometry.distance import distance_to_zero

if TYPE_CHECKING:
    import scipy.sparse as sparse
    import scipy.sparse.csgraph as csgraph
    import skimage.segmentation as segmentation
else:
    sparse = lazy("scipy.sparse")
    csgraph = lazy("scipy.sparse.csgraph")
    segmentation = lazy("skimage.segmentation")

LEVELS = 1023
"""The value of probability 1 in quantised maps."""

_WEIGHTS = 128
# Levels times squared weights stay below 2 ** 24: float32 sums of them are exact in any order.

NOMINAL_MPP = 0.25
"""µm per pixel assumed for the sizes of nuclei in uncalibrated images."""

# Far above any nucleus: only values that no rule can mean are excluded.
_Length = Annotated[float, Field(ge=0, le=100)]
_Area = Annotated[float, Field(ge=0, le=10_000)]

_FOUR_CONNECTED = 4
_EIGHT_CONNECTED = 8


@dataclass(frozen=True)
class Decoding:
    """The decoding rule, with all sizes in samples of the map grid.

    foreground      : a sample is foreground above this probability.
    peak            : an object's peak has at least this (blurred) object probability.
    peak_distance   : of two peaks closer than this only the higher counts.
    blur            : standard deviation of the Gaussian that first smooths the object map.
    valley          : two peaks belong to one object if a path between them stays above this share of the
                      lower one.
    min_area        : smaller objects are dropped (samples).
    max_hole        : larger holes in the foreground stay open (samples).
    max_extent      : objects with a wider or higher bounding box are dropped.
    mean_foreground : objects with a lower mean foreground probability are dropped.
    """

    foreground: float = 0.45
    peak: float = 0.2
    peak_distance: float = 4.0
    blur: float = 2.5
    valley: float = 0.95
    min_area: float = 10.0
    max_hole: float = 20.0
    max_extent: float = 60.0
    mean_foreground: float = 0.7

    @property
    def reach(self) -> int:
        """Samples around an object's bounding-box centre on which it depends, to one side.

        Half of the object itself, the whole of what it may be merged with, and half of a neighbour that
        competes with that, whose peak depends on its own surroundings.
        """
        blurred = len(_gaussian_weights(self.blur)) // 2
        return math.ceil(2 * self.max_extent + self.peak_distance + blurred + math.sqrt(self.max_hole))


class DecodingConfig(BaseModel):
    """The decoding rule in physical sizes (micrometres), as a model bundle keeps it.

    The names are those of ``Decoding``, with their units.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    foreground: Annotated[float, Field(gt=0, lt=1)] = 0.45
    peak: Annotated[float, Field(gt=0, lt=1)] = 0.2
    peak_distance_um: _Length = 2.0
    blur_um: _Length = 1.25
    valley: Annotated[float, Field(gt=0, le=1)] = 0.95
    min_area_um2: _Area = 2.5
    max_hole_um2: _Area = 5.0
    max_extent_um: Annotated[float, Field(gt=0, le=1000)] = 30.0
    mean_foreground: Annotated[float, Field(ge=0, le=1)] = 0.7

    def scaled(self, factor: float) -> DecodingConfig:
        """The same rule for nuclei whose diameters are ``factor`` times as large."""
        powers = {
            "peak_distance_um": 1,
            "blur_um": 1,
            "max_extent_um": 1,
            "min_area_um2": 2,
            "max_hole_um2": 2,
        }
        return self.model_copy(
            update={name: getattr(self, name) * factor**power for name, power in powers.items()}
        )

    def at(self, mpp: float) -> Decoding:
        """The rule for a map grid of ``mpp`` micrometres per MAP sample (stride x the input's mpp)."""
        return Decoding(
            foreground=self.foreground,
            peak=self.peak,
            peak_distance=self.peak_distance_um / mpp,
            blur=self.blur_um / mpp,
            valley=self.valley,
            min_area=self.min_area_um2 / mpp**2,
            max_hole=self.max_hole_um2 / mpp**2,
            max_extent=self.max_extent_um / mpp,
            mean_foreground=self.mean_foreground,
        )


@dataclass(frozen=True)
class Objects:
    """Instances of one window of maps.

    labels      : int32 (h, w), 0 for background and 1 ... n for the nuclei, each 4-connected.
    probability : float32 (n,), the highest objectness of each.
    boxes       : int (n, 4), first row, first column, last row and last column of each.
    """

    labels: NDArray[np.int32]
    probability: NDArray[np.float32]
    boxes: NDArray[np.intp]


def quantised(probability: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Probabilities in steps of 1 / 1023, the form in which maps are kept and compared."""
    return np.asarray(np.rint(probability * np.float32(LEVELS)), np.uint16)


def decode(
    foreground: NDArray[np.float32], objectness: NDArray[np.float32], decoding: Decoding
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Nuclei of one window of maps: ``labels`` and ``probability`` of its ``Objects``.

    foreground, objectness : float32 (h, w) in [0, 1].
    """
    objects = decode_levels(quantised(np.stack([foreground, objectness], axis=-1)), decoding)
    return objects.labels, objects.probability


def decode_levels(levels: NDArray[np.uint16], decoding: Decoding) -> Objects:
    """Nuclei of one window of ``quantised`` maps, uint16 (h, w, 2): foreground, objectness."""
    likely, height = (levels[..., channel].astype(np.float32) for channel in (0, 1))
    mask = _fill_small_holes(likely > decoding.foreground * LEVELS, decoding.max_hole)
    smooth = _blurred(height, decoding.blur)
    seeds = _peaks(smooth, mask, decoding)
    labels = _merge_without_valley(_grow(smooth, seeds, mask, decoding.max_extent), smooth, seeds, decoding)
    _add_peakless_components(labels, mask, seeds)
    return _sound_objects(labels, likely, height, decoding)


def _fill_small_holes(mask: NDArray[np.bool_], max_area: float) -> NDArray[np.bool_]:
    """The mask with enclosed gaps of at most ``max_area`` closed; a lumen between nuclei stays open."""
    gaps, part, box, _ = cv2.connectedComponentsWithStats(
        (~mask).view(np.uint8), connectivity=_EIGHT_CONNECTED
    )
    left, top, width, height, area = box.T
    inner = (left > 0) & (top > 0) & (left + width < mask.shape[1]) & (top + height < mask.shape[0])
    small = inner & (area <= max_area)
    small[0] = False
    return mask | small[part] if gaps > 1 else mask


def _gaussian_weights(sigma: float) -> NDArray[np.float32]:
    """Integer weights of a Gaussian that sum to ``_WEIGHTS``."""
    if sigma <= 0:
        return np.full(1, _WEIGHTS, np.float32)
    radius = math.ceil(3 * sigma)
    bell = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights = np.rint(bell * (_WEIGHTS / bell.sum()))
    weights[radius] += _WEIGHTS - weights.sum()
    return np.asarray(weights[weights > 0], np.float32)


def _blurred(height: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Gaussian blur of integer values, exact: integers of ``LEVELS * _WEIGHTS ** 2`` for 1."""
    weights = _gaussian_weights(sigma)
    smooth = cv2.sepFilter2D(height, cv2.CV_32F, weights, weights, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(smooth, np.float32)


def _peaks(
    smooth: NDArray[np.float32], mask: NDArray[np.bool_], decoding: Decoding
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the samples that are the highest in the disc around them.

    Of equally high samples in one disc the first in reading order counts, wherever the tile starts.
    """
    radius = math.floor(decoding.peak_distance)
    dy, dx = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disc = dy**2 + dx**2 <= decoding.peak_distance**2
    inside = np.where(mask, smooth, np.float32(-1))
    high = inside >= decoding.peak * LEVELS * _WEIGHTS**2
    rows, columns = np.nonzero(high & (inside == cv2.dilate(inside, disc.view(np.uint8))))
    padded = np.pad(inside, radius, constant_values=-1)
    for y, x in zip(*np.nonzero(disc & ((dy < 0) | ((dy == 0) & (dx < 0)))), strict=True):
        earlier = padded[rows + y, columns + x]
        alone = earlier < inside[rows, columns]
        rows, columns = rows[alone], columns[alone]
    return rows, columns


def _grow(
    smooth: NDArray[np.float32],
    seeds: tuple[NDArray[np.intp], NDArray[np.intp]],
    mask: NDArray[np.bool_],
    max_extent: float,
) -> NDArray[np.int32]:
    """Watershed from the seeds over the mask, no farther from a seed than an object may extend."""
    markers = np.zeros(mask.shape, np.int32)
    if not len(seeds[0]):
        return markers
    markers[seeds] = np.arange(1, len(seeds[0]) + 1)
    near = distance_to_zero(markers == 0) <= max_extent
    labels: NDArray[np.int32] = segmentation.watershed(-smooth, markers, mask=mask & near)
    return labels


def _merge_without_valley(
    labels: NDArray[np.int32],
    smooth: NDArray[np.float32],
    seeds: tuple[NDArray[np.intp], NDArray[np.intp]],
    decoding: Decoding,
) -> NDArray[np.int32]:
    """The regions of the watershed, with neighbours merged if no valley separates them.

    Regions that together would be wider than an object may be are not merged. Region i + 1 belongs to
    seed i.
    """
    count = len(seeds[0]) + 1
    one, other, saddle = _saddles(labels, smooth)
    peak = np.concatenate([[0], smooth[seeds]]).astype(np.float64)
    flat = saddle >= decoding.valley * np.minimum(peak[one], peak[other])
    links = sparse.coo_array((np.ones(int(flat.sum())), (one[flat], other[flat])), shape=(count, count))
    _, group = csgraph.connected_components(links, directed=False)
    inside = np.flatnonzero(labels)
    groups = group[labels.reshape(-1)[inside]]
    boxes = _boxes(inside, groups, count, labels.shape[1])
    wide = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) + 1 > decoding.max_extent
    # A group gets the number of its first region.
    first = np.full(count, count, np.int32)
    np.minimum.at(first, group, np.arange(count, dtype=np.int32))
    number = np.where(wide[group], np.arange(count, dtype=np.int32), first[group])
    merged: NDArray[np.int32] = number[labels]
    return merged


def _saddles(
    labels: NDArray[np.int32], smooth: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Each pair of touching regions, and the highest value at which they touch."""
    pairs, values = [], []
    for before, after in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        a, b = labels[before], labels[after]
        touch = (a != b) & (a > 0) & (b > 0)
        low, high = np.minimum(a[touch], b[touch]), np.maximum(a[touch], b[touch])
        pairs.append(np.stack([low, high], axis=1).astype(np.intp))
        values.append(np.minimum(smooth[before][touch], smooth[after][touch]))
    ends, owner = np.unique(np.concatenate(pairs), axis=0, return_inverse=True)
    saddle = np.zeros(len(ends))
    np.maximum.at(saddle, owner, np.concatenate(values))
    return ends[:, 0], ends[:, 1], saddle


def _add_peakless_components(
    labels: NDArray[np.int32], mask: NDArray[np.bool_], seeds: tuple[NDArray[np.intp], NDArray[np.intp]]
) -> None:
    """Make each component of the mask without a seed one object, in place."""
    count, component = cv2.connectedComponents(mask.view(np.uint8), connectivity=_FOUR_CONNECTED)
    number = np.zeros(count, np.int32)
    peakless = np.setdiff1d(np.arange(1, count), component[seeds])
    number[peakless] = len(seeds[0]) + 1 + np.arange(len(peakless))
    np.maximum(labels, number[component], out=labels)


def _sound_objects(
    labels: NDArray[np.int32],
    likely: NDArray[np.float32],
    height: NDArray[np.float32],
    decoding: Decoding,
) -> Objects:
    """Drop objects that are too small, too wide or too faint; number the rest by position; score them."""
    inside = np.flatnonzero(labels)
    owner = labels.reshape(-1)[inside]
    count = int(owner.max(initial=0)) + 1
    area = np.bincount(owner, minlength=count)
    # Sums of integers below 2 ** 53: exact, so independent of their order.
    total = np.bincount(owner, weights=likely.reshape(-1)[inside], minlength=count)
    best = np.zeros(count, np.float32)
    np.maximum.at(best, owner, height.reshape(-1)[inside])
    boxes = _boxes(inside, owner, count, labels.shape[1])
    extent = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) + 1
    sound = (
        (area >= max(decoding.min_area, 1))
        & (total >= decoding.mean_foreground * LEVELS * area)
        & (extent <= decoding.max_extent)
    )
    sound[0] = False
    first = np.full(count, labels.size)
    first[owner[::-1]] = inside[::-1]  # the last one written stays
    kept = np.flatnonzero(sound)
    kept = kept[np.argsort(first[kept])]
    renumber = np.zeros(count, np.int32)
    renumber[kept] = np.arange(1, len(kept) + 1)
    return Objects(renumber[labels], best[kept] / np.float32(LEVELS), boxes[kept])


def _boxes(inside: NDArray[np.intp], owner: NDArray[np.int32], count: int, width: int) -> NDArray[np.intp]:
    """(count, 4) first and last row and column of each number, from the samples that have one."""
    boxes = np.zeros((count, 4), np.intp)
    row, column = np.divmod(inside, width)
    boxes[owner[::-1], 0] = row[::-1]  # in reading order, and the last one written stays
    boxes[owner, 2] = row
    boxes[owner, 1] = width
    np.minimum.at(boxes[:, 1], owner, column)
    np.maximum.at(boxes[:, 3], owner, column)
    return boxes
