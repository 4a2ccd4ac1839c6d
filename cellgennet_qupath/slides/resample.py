"""Resampling along one axis with weights that depend only on absolute positions.

A sample of the new grid is the mean of the source over the sample's own extent, but over at least one
source pixel: area averaging where the grid is coarser than the source, linear interpolation where it is
finer. As every weight follows from the sample's absolute index, the result does not depend on how the
image is divided into tiles.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_HALVINGS = (2, 4, 8)
"""Source pixels per sample whose plain means are exact in 32 bits."""


@dataclass(frozen=True)
class Taps:
    """For each of n samples the k source pixels of which it is the weighted mean.

    index  : (n, k) intp, absolute source pixels.
    weight : (n, k) float32, summing to 1 in each row.
    """

    index: NDArray[np.intp]
    weight: NDArray[np.float32]

    @property
    def copies(self) -> bool:
        """Whether every sample is just one source pixel."""
        return bool((self.weight[:, 0] == 1).all())

    @property
    def span(self) -> tuple[int, int]:
        """First source pixel needed and the one after the last."""
        return int(self.index.min()), int(self.index.max()) + 1

    @property
    def block(self) -> int | None:
        """How many source pixels every sample is the plain mean of, if these are 2, 4 or 8 of its own."""
        size = int(np.count_nonzero(self.weight[0]))
        if size not in _HALVINGS or not (self.weight[:, :size] == np.float32(1 / size)).all():
            return None
        first = self.index[0, 0] + size * np.arange(len(self.index))
        return size if (self.index[:, :size] == first[:, None] + np.arange(size)).all() else None


def taps(start: int, count: int, ratio: float, length: int, offset: float = 0.0) -> Taps:
    """Taps of samples [start, start + count), all inside the image.

    ratio  : source pixels per sample; sample i covers [i * ratio, (i + 1) * ratio) of the source.
    offset : where the first sample begins in the source, in source pixels.
    length : number of source pixels; extents beyond them are cut, and a sample entirely beyond (a
             pyramid level drops the remainder of its division) repeats the last pixel.
    """
    centre = (np.arange(start, start + count) + 0.5) * ratio + offset
    half = max(ratio, 1.0) / 2
    low = np.clip(centre - half, 0, length - 1)
    high = np.clip(centre + half, low, length)
    first = np.floor(low)
    index = first[:, None] + np.arange(int(np.ceil(2 * half)) + 1)
    weight = np.clip(np.minimum(high[:, None], index + 1) - np.maximum(low[:, None], index), 0, None)
    weight /= weight.sum(axis=1, keepdims=True)
    last = np.ceil(high)[:, None] - 1
    return Taps(np.minimum(index, last).astype(np.intp), weight.astype(np.float32))


def resample(window: NDArray[np.uint8], rows: Taps, columns: Taps) -> NDArray[np.uint8]:
    """Samples (rows, columns, channels) from the window of the source that the taps span."""
    if rows.block is not None and rows.block == columns.block:
        return _block_means(window, rows.block, len(rows.index), len(columns.index))
    down = _weighted(window, rows)
    across = _weighted(down.transpose(1, 0, 2), columns).transpose(1, 0, 2)
    return np.clip(np.rint(across), 0, 255).astype(np.uint8)


def _block_means(window: NDArray[np.uint8], block: int, rows: int, columns: int) -> NDArray[np.uint8]:
    """Means of blocks of pixels, the same as by ``_weighted``, in a seventh of its time."""
    part = window[: rows * block, : columns * block].reshape(rows * block, -1)
    sums = part[::block].astype(np.uint16)
    for row in range(1, block):
        cv2.add(sums, part[row::block], dst=sums, dtype=cv2.CV_16U)
    channels = window.shape[2]
    mean = np.tile(np.eye(channels, dtype=np.float32), block) / np.float32(block**2)
    pixels = sums.reshape(rows, columns, block * channels)
    return cv2.transform(pixels, mean).reshape(rows, columns, channels).astype(np.uint8)


def _weighted(values: NDArray[np.uint8] | NDArray[np.float32], along: Taps) -> NDArray[np.float32]:
    """Weighted means along the first axis."""
    offset = along.span[0]
    total = np.zeros((len(along.index), *values.shape[1:]), np.float32)
    for k in range(along.index.shape[1]):
        total += values[along.index[:, k] - offset] * along.weight[:, k, None, None]
    return total
