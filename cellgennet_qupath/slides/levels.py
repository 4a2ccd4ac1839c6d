"""The step of each stored level of a pyramid, and whether its pixels lie where that step puts them.

Pyramids drop or round the remainder of their division, and some writers pad levels to whole tiles, so that
the ratio of lengths is not the step. Levels of which every other pixel was left out ("nearest") are shifted
by up to half of their own pixels. Nothing in a file says so; the pixels do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .source import Stored

_LEAST_TEXTURE = 4.0
"""Grey values: a difference that rounding and lossy codecs explain."""
_UNLIKE = 0.75
"""Share of a level's contrast that the next finer level may leave unexplained. Other content: 1.4."""
_OTHER_COLOUR = 10.0
"""Grey values by which the mean of a channel may differ: more than lossy codecs and sharpening change it."""


@dataclass(frozen=True)
class Level:
    """A usable level.

    index : among the stored levels.
    step  : full-resolution pixels per pixel, along both axes.
    size  : (width, height) of the part that holds the image, without padding.
    """

    index: int
    step: float
    size: tuple[int, int]


def usable_levels(stored: Sequence[Stored]) -> list[Level]:
    """The levels whose step is known, the finest first.

    A level whose width and height have no step in common is left out, and so is one that is not coarser
    than the one before.
    """
    width, height = stored[0].size
    found = [Level(0, 1.0, stored[0].size)]
    order = sorted(range(1, len(stored)), key=lambda i: -stored[i].size[0] * stored[i].size[1])
    for index in order:
        steps = [level.step for level in found]
        expected = steps[-1] * steps[-1] / steps[-2] if len(steps) > 1 else None
        step = level_step(stored[0].size, stored[index].size, stored[index].tile, expected)
        if step is None or step <= steps[-1]:
            continue
        size = (
            min(stored[index].size[0], math.ceil(width / step)),
            min(stored[index].size[1], math.ceil(height / step)),
        )
        found.append(Level(index, step, size))
    return found


def level_step(
    full: tuple[int, int],
    level: tuple[int, int],
    tile: tuple[int, int] | None = None,
    expected: float | None = None,
) -> float | None:
    """Full-resolution pixels per level pixel that explain the width and the height of a level; None if none.

    full, level : (width, height).
    tile        : the level may be padded to a multiple of it.
    expected    : the step if the pyramid went on as before; it decides where padding leaves several.

    A power of two that explains the lengths to within one pixel comes first, then such a whole number, then
    any number; then a power of two that explains them with padding.
    """
    if min(*full, *level) < 1:
        return None
    exact = [(f / (n + 1), f / (n - 1) if n > 1 else math.inf) for f, n in zip(full, level, strict=True)]
    ratio = full[0] / level[0] if full[0] >= full[1] else full[1] / level[1]
    for step in (2.0 ** round(math.log2(ratio)), float(round(ratio)), ratio):
        if step >= 1 and all(low < step < high for low, high in exact):
            return step
    if tile is None or any(n % side for n, side in zip(level, tile, strict=True)):
        return None
    padded = [
        (f / (n + 1), f / (n - side) if n > side else math.inf)
        for f, n, side in zip(full, level, tile, strict=True)
    ]
    low, high = max(low for low, _ in padded), min(high for _, high in padded)
    if expected is not None and low < expected < high:
        return expected
    first = 2.0 ** max(0, math.floor(math.log2(low)) + 1)
    return first if first < high <= 2 * first else None


def shift(pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> tuple[float, float] | None:
    """How far a level is shifted, (x, y) in its own pixels; None if it holds another image or other colours.

    pairs : windows of the level, and the means of the next finer level over the same pixels; uint8
            (rows, columns, 3). Positive: its pixels show what lies further right and down.

    The least-squares solution of level - mean = shift · gradient of the mean (Lucas and Kanade 1981), after
    smoothing, which leaves of a level without averaging little but its shift. No texture: no shift.
    """
    matrix, products = np.zeros((2, 2)), np.zeros(2)
    difference = contrast = 0.0
    count = 0
    if _colour_change(pairs) > _OTHER_COLOUR:
        return None
    for level, mean in pairs:
        seen, wanted = (
            cv2.GaussianBlur(window.astype(np.float32).mean(axis=2), (0, 0), 1.0)[2:-2, 2:-2]
            for window in (level, mean)
        )
        if min(seen.shape) < 4:
            continue
        down, right = np.gradient(wanted.astype(np.float64))
        slopes = np.stack([right.ravel(), down.ravel()])
        change = (seen - wanted).ravel().astype(np.float64)
        matrix += slopes @ slopes.T
        products += slopes @ change
        difference += float(change @ change)
        contrast += float(np.var(wanted)) * wanted.size
        count += wanted.size
    if not count:
        return 0.0, 0.0
    texture = contrast > count * _LEAST_TEXTURE**2
    moved = np.linalg.lstsq(matrix, products, rcond=1e-3)[0] if texture else np.zeros(2)
    unexplained = max(0.0, difference - float(moved @ products))
    if math.sqrt(unexplained / count) > _LEAST_TEXTURE + _UNLIKE * math.sqrt(contrast / count):
        return None
    return float(moved[0]), float(moved[1])


def _colour_change(pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> float:
    """The largest difference of a channel's mean over all pairs of windows."""
    sums = [(level.astype(np.float64) - mean).sum(axis=(0, 1)) for level, mean in pairs]
    pixels = sum(level.shape[0] * level.shape[1] for level, _ in pairs)
    return float(np.abs(sum(sums)).max()) / pixels if pixels else 0.0
