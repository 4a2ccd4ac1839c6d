"""Normalises the colours of slides to one scale: percentiles of tissue become 0 and 1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..core.config import NormalisationConfig
from ..geometry.coordinates import grid_size
from ..geometry.mirror import mirrored_around, part_with_data
from ..geometry.rectangle import Rectangle
from .appearance import Colours
from .areas import Void
from .margin import samples_within
from .reader import SlideReader
from .tissue import TissueMask

_WHOLE = 4_000_000
"""Images of up to this many samples are read whole."""
_TILE = 256
_TILES = 24
CLIP = (-0.5, 1.5)
"""Normalised colours end here."""
_LEAST_CONTRAST = 32.0
"""Minimum number of grey values between 0 and 1: noise in an almost empty image must not fill the scale."""


@dataclass(frozen=True)
class Normalisation:
    """The grey values of red, green and blue that become 0 (``low``) and 1 (``high``); float64 (3,).

    voids : colours that stand for "no data" on the slide (fill, burnt-in text); they become white, as beyond
            the image's edge.
    part  : the slide inside a margin of one colour, in full-resolution pixels; None where there is no margin.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    voids: tuple[Void, ...] = ()
    part: Rectangle | None = None

    def seen(
        self, image: NDArray[np.uint8], origin: tuple[int, int], size: tuple[int, int], downsample: float
    ) -> tuple[NDArray[np.float32], tuple[slice, slice]]:
        """What a network sees of a window, and the part (rows, columns) that is not mirrored.

        Around the image, and around its part with data, is the mirror image. ``origin``: (column, row) of the
        window's first sample; ``size``: (columns, rows) of the whole image on the grid of ``downsample``.
        """
        mirrored, part = self.mirrored(image, origin, size, downsample)
        return self.apply(mirrored), part

    def mirrored(
        self, image: NDArray[np.uint8], origin: tuple[int, int], size: tuple[int, int], downsample: float
    ) -> tuple[NDArray[np.uint8], tuple[slice, slice]]:
        """The same before the colours are normalised."""
        inner = samples_within(self.part, size, downsample)
        at = (origin[0] - inner.x0, origin[1] - inner.y0)
        part = part_with_data(image.shape, at, (inner.columns, inner.rows), self.empty(image))
        return mirrored_around(image, part), part

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Normalised colours (..., 3), clipped to [-0.5, 1.5]; a channel without contrast gives 0."""
        low = self.low.astype(np.float32)
        contrast = np.maximum(self.high - self.low, 1.0).astype(np.float32)
        table = (np.arange(256, dtype=np.float32)[:, None] - low) / contrast
        np.clip(table, *CLIP, out=table)
        normalised = np.asarray(cv2.LUT(image, table[None]), np.float32)
        normalised[self.empty(image)] = table[255]
        return normalised

    def empty(self, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which samples of an image (rows, columns, 3) hold no data."""
        found = np.zeros(image.shape[:2], bool)
        for void in self.voids:
            found |= void.matches(image)
        return found


def estimate(
    reader: SlideReader,
    downsample: float,
    config: NormalisationConfig,
    mask: TissueMask | None = None,
) -> Normalisation:
    """Percentiles of each channel over a slide's tissue, at the working resolution ``downsample``.

    Coarser levels are smoother and have other percentiles. Images of up to 4 million samples are read
    whole, larger ones in 24 tiles of 256 x 256 samples at fixed positions evenly distributed over the
    tissue. Without tissue (or a mask) all pixels count. The ends of the scale keep a minimum distance, so
    that a single nucleus on glass stands out from noise. Colours of areas without data never count.
    """
    counts = np.zeros((3, 256), np.int64)
    backup = np.zeros_like(counts)
    for pixels, inside in _samples(reader, downsample, mask):
        for c in range(3):
            backup[c] += np.bincount(pixels[..., c].ravel(), minlength=256)
            counts[c] += np.bincount(pixels[..., c][inside], minlength=256)
    if counts[0].sum() == 0:
        counts = backup
    low, high = (
        np.array([_percentile(channel, percent) for channel in counts])
        for percent in (config.low, config.high)
    )
    voids = () if mask is None else mask.voids
    part = None if mask is None else mask.part
    return Normalisation(np.minimum(low, high - _LEAST_CONTRAST), high, voids, part)


def tissue_colours(reader: SlideReader, downsample: float, mask: TissueMask) -> Colours:
    """The colours of a slide's tissue, of the same samples as for ``estimate``."""
    colours = Colours()
    for pixels, inside in _samples(reader, downsample, mask):
        colours.add(pixels[inside])
    return colours


def _samples(
    reader: SlideReader, downsample: float, mask: TissueMask | None
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    """Parts of a slide, and which of their pixels count."""
    columns, rows = grid_size(reader.width, reader.height, downsample)
    for x, y, w, h in _sample_windows(columns, rows, downsample, mask):
        pixels = reader.read_grid(x, y, w, h, downsample)
        inside = np.ones((h, w), bool) if mask is None else mask.window(x, y, w, h, downsample)
        for void in () if mask is None else mask.voids:
            inside &= ~void.matches(pixels)
        yield pixels, inside


def _sample_windows(
    columns: int, rows: int, downsample: float, mask: TissueMask | None
) -> list[tuple[int, int, int, int]]:
    """Rectangles (x, y, columns, rows) of samples to read, all inside the grid."""
    if columns * rows <= _WHOLE:
        strip = max(1, _WHOLE // 4 // columns)
        return [(0, y, columns, min(strip, rows - y)) for y in range(0, rows, strip)]
    w, h = min(_TILE, columns), min(_TILE, rows)
    xs, ys = np.meshgrid(np.arange(0, columns - w + 1, w), np.arange(0, rows - h + 1, h))
    x, y = xs.ravel(), ys.ravel()
    if mask is not None:
        share = mask.coverage(x * downsample, y * downsample, w * downsample, h * downsample)
        good = share >= min(0.5, float(share.max()))
        x, y = x[good], y[good]
    chosen = np.unique(np.linspace(0, len(x) - 1, _TILES).round().astype(int))
    return [(int(x[i]), int(y[i]), w, h) for i in chosen]


def _percentile(counts: NDArray[np.int64], percent: float) -> float:
    """The percentile of grey values, from their histogram, interpolated linearly."""
    ends = np.cumsum(counts)
    rank = percent / 100 * (ends[-1] - 1)
    below = int(np.searchsorted(ends, np.floor(rank), side="right"))
    above = int(np.searchsorted(ends, np.ceil(rank), side="right"))
    return below + (above - below) * float(rank - np.floor(rank))
