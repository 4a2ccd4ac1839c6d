"""A margin of one colour around a picture, as programs add it to reach a size: white, grey or any other.

It is not glass: glass has noise, and tissue ends on it in curves. Inside a margin, the picture is cut off in
straight lines, as at the edge of an image.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..geometry.rectangle import Rectangle
from .reader import SlideReader

Pixels = NDArray[np.uint8]
_SAME = 2
"""Grey values by which a margin may vary."""
_ALL = 0.98
"""Share of a line that has the margin's colour: compression leaves specks."""
_OTHER = 6
_CUT = 0.5
"""Share of a line of the picture whose colour is another one, by more than ``_OTHER`` grey values."""
_BLOCK = 16
"""Pixels beyond the picture's edge to which compression carries its colours."""
_STRAIGHT = 2
"""Pixels behind its edge where a picture is cut, and where rounded tissue is still narrow."""
_LEAST = 16
_SLIVER = 0.05
"""Share of a sample inside the picture that may be margin: 13 grey values of its colour at most."""
_FAR = 1 << 40


def picture_within(reader: SlideReader, image: Pixels, downsample: float) -> Rectangle | None:
    """The part of a slide inside its margin, in full-resolution pixels; None where there is no margin.

    image : the slide on the grid of ``downsample``.
    The edges of the part at sides without a margin are far beyond the image.
    """
    top, bottom = (_margin(_from(side, image)) for side in ("top", "bottom"))
    between = image[top : len(image) - bottom]
    left, right = (_margin(_from(side, between)) for side in ("left", "right"))
    inner = between[:, left : image.shape[1] - right]
    samples = {"top": top, "bottom": bottom, "left": left, "right": right}
    # Full-resolution pixels that are surely not beyond another side's margin.
    x0, y0 = math.ceil(left * downsample), math.ceil(top * downsample)
    x1 = math.floor((image.shape[1] - right) * downsample) if right else reader.width
    y1 = math.floor((image.shape[0] - bottom) * downsample) if bottom else reader.height
    if not any(samples.values()) or min(x1 - x0, y1 - y0) < _LEAST:
        return None
    pixels = {
        side: _exact(reader, side, number, downsample, Rectangle(x0, y0, x1, y1))
        for side, number in samples.items()
        if number and _is_cut(_from(side, image), _from(side, inner), math.ceil(_BLOCK / downsample))
    }
    if not any(pixels.values()):
        return None
    ends = {side: number or -_FAR for side, number in pixels.items()}
    return Rectangle(
        ends.get("left", -_FAR),
        ends.get("top", -_FAR),
        reader.width - ends.get("right", -_FAR),
        reader.height - ends.get("bottom", -_FAR),
    )


def samples_within(part: Rectangle | None, size: tuple[int, int], downsample: float) -> Rectangle:
    """The samples of a grid, of ``size`` (columns, rows), that are inside the part of a picture."""
    whole = Rectangle(0, 0, *size)
    if part is None:
        return whole
    x0, y0 = (math.ceil(edge / downsample - _SLIVER) for edge in part[:2])
    x1, y1 = (math.floor(edge / downsample + _SLIVER) for edge in part[2:])
    return Rectangle(max(0, x0), max(0, y0), min(size[0], x1), min(size[1], y1))


def first_sample(part: Rectangle | None, downsample: float) -> tuple[int, int]:
    """The (column, row) nearest to where the part of a picture begins; 0 at sides without a margin."""
    if part is None:
        return 0, 0
    return max(0, round(part.x0 / downsample)), max(0, round(part.y0 / downsample))


def _from(side: str, image: Pixels) -> Pixels:
    """An image with the lines of one side as its first rows."""
    lines = image.transpose(1, 0, 2) if side in ("left", "right") else image
    return lines[::-1] if side in ("right", "bottom") else lines


def _unlike(lines: Pixels, colour: NDArray[np.float64], tolerance: int) -> NDArray[np.float64]:
    """The share of each line that differs from a colour."""
    return np.asarray((np.abs(lines - colour) > tolerance).any(axis=2).mean(axis=1), np.float64)


def _margin(lines: Pixels) -> int:
    """How many of the first lines have the colour of the first one; 0 where all have."""
    if not lines.size:
        return 0
    other = np.flatnonzero(_unlike(lines, np.median(lines[0], axis=0), _SAME) > 1 - _ALL)
    return int(other[0]) if len(other) else 0


def _is_cut(lines: Pixels, inner: Pixels, further: int) -> bool:
    """Whether a picture begins in a straight line, behind what compression has smeared."""
    line = inner[min(further, len(inner) - 1)][None]
    return bool(_unlike(line, np.median(lines[0], axis=0), _OTHER)[0] >= _CUT)


def _exact(reader: SlideReader, side: str, samples: int, downsample: float, inner: Rectangle) -> int:
    """Pixels of a margin of so many samples, seen along the inner part; 0 where it has noise."""
    across = side in ("left", "right")
    length = reader.width if across else reader.height
    start = max(0, math.floor((samples - 1) * downsample) - _BLOCK)
    stop = min(length, math.ceil((samples + 1) * downsample) + _BLOCK)
    low, high = (length - stop, length - start) if side in ("right", "bottom") else (start, stop)
    box = Rectangle(low, inner.y0, high, inner.y1) if across else Rectangle(inner.x0, low, inner.x1, high)
    strip = _from(side, reader.read_grid(box.x0, box.y0, box.columns, box.rows, 1.0))
    clean = _margin(strip)
    if not clean:
        return 0
    # Compression smears the edge: the picture begins where lines change much, not where they begin to.
    edge = strip[clean - 1 : clean + _BLOCK].astype(np.float64)
    jumps = np.abs(np.diff(edge.mean(axis=1), axis=0)).sum(axis=1)
    clean += int(np.argmax(jumps >= jumps.max() / 2))
    return start + clean if _is_cut(strip, strip[clean:], _STRAIGHT) else 0
