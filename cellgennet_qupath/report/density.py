"""The density of nuclei over a slide: a map with its colour bar, and the scale bar of a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from .overlay import jpeg

SIDE = 480
"""Samples of a slide's picture along its longer side."""
_SQUARES = 60
"""Squares along the longer side of the density map, in each of which the nuclei are counted."""
_BAR_SHARE = 0.3
"""Longest scale bar, as a share of the picture's width."""


@dataclass(frozen=True)
class ScaleBar:
    """A scale bar: its length as a share of the picture's width, and its label."""

    share: float
    label: str


def scale_bar(width: float, mpp: float | None) -> ScaleBar | None:
    """The bar for a picture that is ``width`` full-resolution pixels wide; None without a pixel size.

    Its length is 1, 2 or 5 times a power of ten.
    """
    if not mpp or width <= 0:
        return None
    longest = width * mpp * _BAR_SHARE
    power = 10.0 ** np.floor(np.log10(longest))
    um = power * max(factor for factor in (1, 2, 5) if factor * power <= longest * (1 + 1e-9))
    label = f"{um / 1000:g} mm" if um >= 1000 else f"{um:g} µm"
    return ScaleBar(float(um / (width * mpp)), label)


def thumbnail_grid(size: tuple[int, int]) -> tuple[float, int, int]:
    """Full-resolution pixels per sample of the picture of a slide, and its columns and rows.

    size : width and height of the image in full-resolution pixels.
    """
    step = max(1.0, max(size) / SIDE)
    columns, rows = (max(1, int(length / step)) for length in size)
    return step, columns, rows


def count_squares(centres: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Nuclei in each square of the density map: float32 (rows, columns).

    centres : (n, 2), x and y of the nuclei in full-resolution pixels.
    size    : width and height of the image in full-resolution pixels.
    """
    side, (columns, rows) = _squares(size)
    count, _, _ = np.histogram2d(
        centres[:, 1], centres[:, 0], bins=(rows, columns), range=((0, rows * side), (0, columns * side))
    )
    return count.astype(np.float32)


def _squares(size: tuple[int, int]) -> tuple[float, tuple[int, int]]:
    """Side of a square in full-resolution pixels; columns and rows of squares."""
    side = max(size) / _SQUARES
    return side, (max(1, math.ceil(size[0] / side)), max(1, math.ceil(size[1] / side)))


def density_map(
    picture: NDArray[np.uint8], count: NDArray[np.float32], size: tuple[int, int], mpp: float | None
) -> tuple[NDArray[np.uint8], float | None]:
    """The picture in grey with the density of nuclei in colour, and the highest density in nuclei per mm².

    picture : uint8 (rows, columns, 3), RGB of the whole image.
    count   : nuclei in each square (``count_squares``).
    size    : width and height of the image in full-resolution pixels.
    mpp     : µm per pixel; without it the highest density is None.
    """
    side, _ = _squares(size)
    smooth = cv2.GaussianBlur(count, (0, 0), 1.0)
    highest = float(smooth.max()) / (side * mpp / 1000) ** 2 if mpp and count.any() else None
    share = np.asarray(smooth / max(float(smooth.max()), 1e-6), np.float32)
    # Every sample of the picture looks up its own place among the squares, whatever the sides' ratio: the
    # grid of squares extends beyond the image, and the picture's sides are rounded.
    at_y, at_x = (
        ((np.arange(samples, dtype=np.float32) + 0.5) * (length / samples / side) - 0.5).astype(np.float32)
        for samples, length in zip(picture.shape[:2], size[::-1], strict=True)
    )
    map_x, map_y = np.meshgrid(at_x, at_y)
    wide = cv2.remap(share, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return _coloured(picture.mean(axis=2), np.asarray(wide, np.float32)), highest


def colour_bar() -> str:
    """The map's colours from no nuclei to the highest density, over light grey: the data URI of an image."""
    share = np.tile(np.linspace(0, 1, 128, dtype=np.float32), (8, 1))
    return jpeg(_coloured(np.full(share.shape, 225.0), share), 95)


def _coloured(grey: NDArray[np.floating], share: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Grey values with a share of the highest density in colour on top."""
    colour = mpl.colormaps["inferno"](share)[..., :3] * 255
    weight = np.clip(3 * share, 0, 0.85)[..., None]
    return np.asarray(grey[..., None] * (1 - weight) + colour * weight, np.uint8)


def rounded(per_mm2: float) -> str:
    """A density to two significant digits, such as "4,300"."""
    if per_mm2 <= 0:
        return "0"
    digits = 1 - int(np.floor(np.log10(per_mm2)))
    return f"{round(per_mm2, digits):,.{max(0, digits)}f}"
