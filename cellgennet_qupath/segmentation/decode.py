"""Maps to instances: peaks of the object map, grown over the foreground by a watershed, and merged where
no valley separates them.

A nucleus depends only on a bounded neighbourhood (``Decoding.reach``), not on its absolute position, and
all comparisons are made on exact integers, so a nucleus is the same in every tile it is decoded in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..geometry.rectangle import Rectangle
from .regions import Foreground, boxes_of, regions, touches

LEVELS = 1023
"""The value of probability 1 in quantised maps."""

_WEIGHTS = 128
# Levels times squared weights stay below 2 ** 24: float32 sums of them are exact in any order.

NOMINAL_MPP = 0.25
"""µm per pixel assumed for the sizes of nuclei in uncalibrated images."""

# Far above any nucleus: only values that no rule can mean are excluded.
_Length = Annotated[float, Field(ge=0, le=100)]
_Area = Annotated[float, Field(ge=0, le=10_000)]

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


def decode_levels(levels: NDArray[np.uint16], decoding: Decoding, core: Rectangle | None = None) -> Objects:
    """Nuclei of one window of ``quantised`` maps, uint16 (h, w, 2): foreground, objectness.

    core : only those whose bounding box overlaps or touches this part of the window; None for all.
    """
    likely, height = (np.asarray(channel, np.uint16) for channel in cv2.split(levels))
    mask = _fill_small_holes(likely > np.float32(decoding.foreground * LEVELS), decoding.max_hole)
    smooth = _blurred(height.astype(np.float32), decoding.blur)
    foreground = Foreground.of(mask, _peaks(smooth, mask, decoding))
    if core is not None:
        foreground = foreground.around(core)
    owner = regions(foreground, smooth, decoding.max_extent, decoding.valley)
    return _sound_objects(foreground.position, owner, likely, height, decoding, core)


def _fill_small_holes(mask: NDArray[np.bool_], max_area: float) -> NDArray[np.bool_]:
    """The mask with enclosed gaps of at most ``max_area`` closed; a lumen between nuclei stays open."""
    gaps, parts = cv2.connectedComponents((~mask).view(np.uint8), connectivity=_EIGHT_CONNECTED)
    enclosed = np.ones(gaps, bool)
    for side in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):
        enclosed[side] = False
    enclosed[0] = False
    if not enclosed.any():
        return mask
    # The first gap is nearly always all that surrounds the nuclei.
    position = np.flatnonzero(parts >= (1 if enclosed[1] else 2))
    gap = parts.reshape(-1)[position]
    small = enclosed & (np.bincount(gap, minlength=gaps) <= max_area)
    filled = mask.copy()
    filled.reshape(-1)[position[small[gap]]] = True
    return filled


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


def _peaks(smooth: NDArray[np.float32], mask: NDArray[np.bool_], decoding: Decoding) -> NDArray[np.intp]:
    """Positions, in the flattened window, of the samples that are the highest in the disc around them.

    Of equally high samples in one disc the first in reading order counts, wherever the tile starts.
    """
    rows, columns = mask.shape
    radius = math.floor(decoding.peak_distance)
    padded = np.full((rows + 2 * radius, columns + 2 * radius), np.float32(-1))
    np.copyto(padded[radius : radius + rows, radius : radius + columns], smooth, where=mask)
    width, flat = padded.shape[1], padded.reshape(-1)
    place = np.flatnonzero(padded >= decoding.peak * LEVELS * _WEIGHTS**2)
    # The nearest first: few samples are higher than their neighbours.
    for dy, dx in _disc(decoding.peak_distance):
        own, other = flat[place], flat[place + dy * width + dx]
        place = place[other < own if (dy, dx) < (0, 0) else other <= own]
    row, column = np.divmod(place, width)
    position: NDArray[np.intp] = (row - radius) * columns + column - radius
    return position


def _disc(radius: float) -> list[tuple[int, int]]:
    """Rows and columns of the samples around one within a radius, the nearest first."""
    reach = range(-math.floor(radius), math.floor(radius) + 1)
    inside = [(dy, dx) for dy in reach for dx in reach if 0 < dy**2 + dx**2 <= radius**2]
    return sorted(inside, key=lambda step: step[0] ** 2 + step[1] ** 2)


def _sound_objects(
    position: NDArray[np.intp],
    owner: NDArray[np.int32],
    likely: NDArray[np.uint16],
    height: NDArray[np.uint16],
    decoding: Decoding,
    core: Rectangle | None,
) -> Objects:
    """Drop objects that are too small, too wide, too faint or far from the core; number the rest by position;
    score them. ``position``: of samples in the flattened window, in reading order; ``owner``: 0 for none."""
    count = int(owner.max(initial=0)) + 1
    area = np.bincount(owner, minlength=count)
    # Sums of integers below 2 ** 53: exact, so independent of their order.
    total = np.bincount(owner, weights=likely.reshape(-1)[position], minlength=count)
    best = np.zeros(count, np.uint16)
    np.maximum.at(best, owner, height.reshape(-1)[position])
    boxes = boxes_of(position, owner, count, likely.shape[1])
    extent = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) + 1
    sound = (
        (area >= max(decoding.min_area, 1))
        & (total >= decoding.mean_foreground * LEVELS * area)
        & (extent <= decoding.max_extent)
    )
    if core is not None:
        sound &= touches(boxes, core)
    sound[0] = False
    first = np.full(count, likely.size)
    first[owner[::-1]] = position[::-1]  # the last one written stays
    kept = np.flatnonzero(sound)
    kept = kept[np.argsort(first[kept])]
    renumber = np.zeros(count, np.int32)
    renumber[kept] = np.arange(1, len(kept) + 1)
    labels = np.zeros(likely.shape, np.int32)
    labels.reshape(-1)[position] = renumber[owner]
    return Objects(labels, best[kept].astype(np.float32) / np.float32(LEVELS), boxes[kept])
