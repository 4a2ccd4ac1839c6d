"""Parts of a slide that are not specimen: fill, pen ink, and text or scale bars burnt into the pixels.

All are found on the same coarse sample grid as tissue, text on the full resolution of small images (exports
and snapshots). Only what no stained specimen looks like is taken out: hematoxylin, eosin, blood, pigment and
chromogens have other colours, other textures or smaller extents.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_BLACK = 10
"""Largest value of fill without data: 0, with the noise of JPEG."""
_FILL_EXTENT = 40.0  # µm
_UNIFORM_EXTENT = 100.0  # µm
_UNIFORM_SHARE = 0.01
_GAPS = 25.0  # µm
"""Width of holes in fill: bright objects on a dark background are many more than the following allow."""
_HOLES = 0.25
_MOST_HOLES = 10

_INK_EXTENT = 100.0  # µm
"""Ink is longer than this; granules of pigment, megakaryocytes and folds across a nucleus are not."""
_INK_MARGIN = 2  # samples
_MOST_INK = 0.5
_WHITE = 0.99
"""Quantile of the brightest channel that counts as white."""

_SCREEN_BLACK = 2
_FLAT_BLACK = 12
_SCREEN_WHITE = 254
_STROKE = 20
"""Least pixels of one colour in a stroke of a letter or a scale bar."""
_MOST_TEXT = 0.05
_TEXT_GAPS = 12  # pixels, as between letters


@dataclass(frozen=True)
class Void:
    """A colour that stands for "no data" on a slide: within ``tolerance`` of ``colour`` in each channel."""

    colour: tuple[int, int, int]
    tolerance: int

    def matches(self, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which pixels of an image (..., 3) have this colour."""
        low = [max(0, value - self.tolerance) for value in self.colour]
        high = [min(255, value + self.tolerance) for value in self.colour]
        if image.ndim == 3:
            return np.asarray(cv2.inRange(image, tuple(low), tuple(high)) > 0, bool)
        return np.asarray(((image >= low) & (image <= high)).all(axis=-1), bool)


@dataclass(frozen=True)
class Area:
    """Samples of one kind, bool (rows, columns), and the colours that stand for it in every pixel."""

    samples: NDArray[np.bool_]
    voids: tuple[Void, ...] = ()

    @property
    def share(self) -> float:
        """Share of the image."""
        return float(self.samples.mean())


def find_fill(image: NDArray[np.uint8], um: float) -> Area:
    """Unscanned or padded areas: black, or of one other colour without any noise.

    image : the slide on the coarse grid, 8-bit RGB; um : µm per sample.
    White fill counts as glass, unless it is a margin (see ``margin``). Black between bright objects
    (fluorescence, dark field) is not fill.
    """
    samples = np.zeros(image.shape[:2], bool)
    voids = []
    black = _long(image.max(axis=2) <= _BLACK, um, _FILL_EXTENT)
    if black.any() and _without_gaps(black, um):
        samples |= black
        darkest = int(np.quantile(image[black].max(axis=1), 0.99))
        voids.append(Void((0, 0, 0), min(darkest + 2, _FLAT_BLACK)))
    for colour in _uniform_colours(image):
        same = _long((image == colour).all(axis=2), um, _UNIFORM_EXTENT)
        if same.mean() >= _UNIFORM_SHARE and _without_gaps(same, um):
            samples |= same
            voids.append(Void((int(colour[0]), int(colour[1]), int(colour[2])), 0))
    return Area(samples, tuple(voids))


def _uniform_colours(image: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Colours, neither black nor as bright as glass, of which large parts of the image are exactly."""
    kernel = np.ones((3, 3), np.uint8)
    flat = (cv2.dilate(image, kernel) == cv2.erode(image, kernel)).all(axis=2)
    flat &= (image.max(axis=2) > _BLACK) & (image.min(axis=2) < 190)
    if flat.mean() < _UNIFORM_SHARE / 2:
        return []
    colours, counts = np.unique(image[flat], axis=0, return_counts=True)
    order = np.argsort(-counts)[:3]
    return [colours[i] for i in order if counts[i] >= _UNIFORM_SHARE / 2 * flat.size]


def _without_gaps(samples: NDArray[np.bool_], um: float) -> bool:
    """Whether an area is not strewn with small holes."""
    radius = max(1, round(_GAPS / um / 2))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    closed = cv2.morphologyEx(samples.astype(np.uint8), cv2.MORPH_CLOSE, disc)
    if float(closed.sum()) > (1 + _HOLES) * float(samples.sum()):
        return False
    # Objects as small as nuclei, surrounded by this colour: it is the background of a dark image.
    _, _, stats, _ = cv2.connectedComponentsWithStats((~samples).astype(np.uint8), connectivity=4)
    left, top, width, height = stats[1:, :4].T
    inside = (left > 0) & (top > 0) & (left + width < samples.shape[1]) & (top + height < samples.shape[0])
    small = np.maximum(width, height) <= max(2, _GAPS / um)
    return int((inside & small).sum()) <= _MOST_HOLES


def find_ink(image: NDArray[np.uint8], um: float, fill: NDArray[np.bool_]) -> Area:
    """Pen marks in blue, green, black and red, with a margin of 2 samples; arguments as for ``find_fill``.

    In optical density (relative to the brightest grey): stains of hematoxylin and eosin absorb green most.
    Blue and green ink absorb red clearly more than green. Black ink absorbs all alike, and more than the
    densest nuclei. Red ink absorbs blue nearly as much as green and hardly any red, and dark blue ink red a
    little more than green, both as evenly as only a liquid does (blood, muscle and nuclei are grained).
    """
    near_fill = cv2.dilate(fill.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    smooth = cv2.blur(image, (3, 3), borderType=cv2.BORDER_REPLICATE).astype(np.float32)
    brightest = smooth.max(axis=2)
    usable = brightest[~near_fill]
    if usable.size == 0:
        return Area(np.zeros(fill.shape, bool))
    white = max(float(np.quantile(usable, _WHITE)), 100.0)
    density = -np.log10((smooth + 1) / (white + 1))
    red, green, blue = (density[..., channel] for channel in range(3))
    mean = density.mean(axis=2)
    cool = (red >= 1.25 * green + 0.05) & (red >= 0.35)
    black = (mean >= 0.7) & (density.max(axis=2) - density.min(axis=2) <= 0.2 * mean + 0.05)
    even = _even(green)
    warm = (green >= 0.7) & (blue >= 0.8 * green) & (red <= 0.25 * green) & even
    navy = (mean >= 0.6) & (red >= 1.02 * green) & (red >= 1.5 * blue) & even
    kernel = np.ones((3, 3), np.uint8)
    ink = np.zeros(fill.shape, bool)
    for kind in (cool, black, warm, navy):
        if kind.any():
            long = _long(kind & ~near_fill, um, _INK_EXTENT)
            if kind is warm or kind is navy:  # an edge is not even
                long = cv2.dilate(long.astype(np.uint8), kernel, iterations=2) > 0
            ink |= long
    if not ink.any():
        return Area(ink)
    if ink.mean() > _MOST_INK or not _without_gaps(ink, um):  # a dark background, or a stain of that colour
        return Area(np.zeros(fill.shape, bool))
    side = 2 * _INK_MARGIN + 1
    return Area(cv2.dilate(ink.astype(np.uint8), np.ones((side, side), np.uint8)) > 0)


def _even(density: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where density varies by less than 6 % around."""
    mean = cv2.blur(density, (3, 3))
    variance = np.maximum(cv2.blur(density * density, (3, 3)) - mean * mean, 0)
    return np.asarray(np.sqrt(variance) <= 0.06 * np.abs(mean), bool)


def find_text(image: NDArray[np.uint8], step: int, shape: tuple[int, int]) -> Area:
    """Letters, arrows and scale bars drawn in a colour of screens (black, white, red, yellow ...).

    image : the whole image at full resolution, 8-bit RGB.
    step  : pixels per sample of the result, which has ``shape`` (rows, columns).
    """
    low, high = _extremes(image)
    white = low >= _SCREEN_WHITE
    values = np.arange(256)
    either = np.asarray((values <= _SCREEN_BLACK) | (values >= _SCREEN_WHITE), np.uint8)
    screen = _extremes(np.asarray(cv2.LUT(image, either), np.uint8))[0] > 0
    strokes = _large(screen & ~white, _STROKE)
    kernel = np.ones((3, 3), np.uint8)
    near_black = high <= _FLAT_BLACK
    if near_black.any():
        around = cv2.subtract(cv2.dilate(image, kernel), cv2.erode(image, kernel))
        _, span = _extremes(np.asarray(around, np.uint8))
        strokes |= _large(near_black & (span <= 3), _STROKE)
    voids = [Void(colour, _SCREEN_BLACK) for colour in _screen_colours(image[strokes])]
    almost = ((low >= _SCREEN_WHITE - 8) & ~white).sum()
    if white.any() and white.mean() <= _MOST_TEXT and almost <= 0.3 * white.sum():
        letters = _large(white, _STROKE)
        if letters.any():
            strokes |= letters
            voids.append(Void((255, 255, 255), 255 - _SCREEN_WHITE))
    if not strokes.any() or strokes.mean() > _MOST_TEXT:
        return Area(np.zeros(shape, bool))
    side = 2 * _TEXT_GAPS + 1
    whole = cv2.morphologyEx(strokes.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    rows, columns = shape
    padded = np.zeros((rows * step, columns * step), np.uint8)
    padded[: whole.shape[0], : whole.shape[1]] = whole[: rows * step, : columns * step]
    samples = padded.reshape(rows, step, columns, step).max(axis=(1, 3)) > 0
    return Area(cv2.dilate(samples.astype(np.uint8), kernel) > 0, tuple(voids))


def _extremes(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The darkest and the brightest channel of every pixel: (rows, columns)."""
    red, green, blue = cv2.split(image)
    low, high = cv2.min(cv2.min(red, green), blue), cv2.max(cv2.max(red, green), blue)
    return np.asarray(low, np.uint8), np.asarray(high, np.uint8)


def _screen_colours(pixels: NDArray[np.uint8]) -> list[tuple[int, int, int]]:
    """The colours of screens (each channel 0 or 255) among pixels (n, 3)."""
    if not len(pixels):
        return []
    codes = np.unique((pixels > 127) @ np.array([4, 2, 1]))
    return [(255 * (code >> 2 & 1), 255 * (code >> 1 & 1), 255 * (code & 1)) for code in codes.tolist()]


def _long(samples: NDArray[np.bool_], um: float, extent: float) -> NDArray[np.bool_]:
    """The connected parts that are at least ``extent`` µm long or as long as half the image."""
    if not samples.any():
        return samples
    least = min(extent / um, max(samples.shape) / 2)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(samples.astype(np.uint8), connectivity=8)
    sides = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
    kept = (sides >= least) & (stats[:, cv2.CC_STAT_AREA] >= 4)
    kept[0] = False
    return np.asarray(kept[labels], bool)


def _large(samples: NDArray[np.bool_], area: int) -> NDArray[np.bool_]:
    """The connected parts of at least ``area`` samples."""
    position = np.flatnonzero(samples)
    large = np.zeros(samples.shape, bool)
    if len(position):
        _, labels = cv2.connectedComponents(samples.astype(np.uint8), connectivity=8)
        part = np.asarray(labels).reshape(-1)[position]
        large.reshape(-1)[position] = np.bincount(part)[part] >= area
    return large
