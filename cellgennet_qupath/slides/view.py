"""How a project shows an image: turned by quarter turns, mirrored, with its channels in another order.

These are the changes of pixels that are exact, so that a view has the same nuclei as a picture that was
changed for real.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .source import Frame, Stored

if TYPE_CHECKING:
    from .source import Source


@dataclass(frozen=True)
class View:
    """What is done to a file's pixels, in this order: rows and columns swapped, mirrored, channels chosen.

    mirrored : left to right, and top to bottom.
    channels : of the file, for red, green and blue.
    frame    : where coordinates begin before that (see ``Frame``); views are compared without it, because
               it decides the size of an image.
    """

    transposed: bool = False
    mirrored: tuple[bool, bool] = (False, False)
    channels: tuple[int, int, int] = (0, 1, 2)
    frame: Frame = field(default="bounds", compare=False)

    def document(self) -> list[object]:
        """The view as plain data for JSON."""
        return [self.transposed, list(self.mirrored), list(self.channels)]

    def then(self, other: View) -> View:
        """This view, and another one of its result."""
        x, y = reversed(self.mirrored) if other.transposed else self.mirrored
        red, green, blue = other.channels
        return View(
            transposed=self.transposed != other.transposed,
            mirrored=(x != other.mirrored[0], y != other.mirrored[1]),
            channels=(self.channels[red], self.channels[green], self.channels[blue]),
            frame=self.frame,
        )


AS_STORED = View()
QUARTER_TURNS = {
    "ROTATE_NONE": AS_STORED,
    "ROTATE_90": View(transposed=True, mirrored=(True, False)),
    "ROTATE_180": View(mirrored=(True, True)),
    "ROTATE_270": View(transposed=True, mirrored=(False, True)),
}
"""Clockwise, by QuPath's names."""

FLIPS = {
    "NONE": AS_STORED,
    "HORIZONTAL": View(mirrored=(True, False)),
    "VERTICAL": View(mirrored=(False, True)),
    "BOTH": View(mirrored=(True, True)),
}
"""By QuPath's names."""


def reordered(order: str) -> View | None:
    """The view with channels in the order of letters, such as "BGR"; None for anything else."""
    if sorted(order) != ["B", "G", "R"]:
        return None
    red, green, blue = ("RGB".index(letter) for letter in order)
    return replace(AS_STORED, channels=(red, green, blue))


class ViewedSource:
    """A source as a view shows it. Levels whose pixels would begin at fractions of a pixel are left out."""

    def __init__(self, source: Source, view: View) -> None:
        self._source, self._view = source, view
        width, height = source.levels[0].size
        self._levels = [
            number
            for number, level in enumerate(source.levels)
            if number == 0
            or not any(view.mirrored)
            or (width % level.size[0] == 0 and height % level.size[1] == 0)
        ]
        self.levels = [self._turned(source.levels[number]) for number in self._levels]
        order = (1, 0) if view.transposed else (0, 1)
        self.mpp = None if source.mpp is None else (source.mpp[order[0]], source.mpp[order[1]])
        self.bounds = None if source.bounds is None else self._turned_bounds(source.bounds)
        self.reader, self.notes, self.absent = source.reader, source.notes, source.absent

    def _turned(self, level: Stored) -> Stored:
        if not self._view.transposed:
            return level
        return Stored(level.size[::-1], level.tile and level.tile[::-1], level.shift)

    def _turned_bounds(self, bounds: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        x, y, width, height = bounds
        if self._view.transposed:
            x, y, width, height = y, x, height, width
        whole = self.levels[0].size
        across, down = self._view.mirrored
        return (
            whole[0] - x - width if across else x,
            whole[1] - y - height if down else y,
            width,
            height,
        )

    def read(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
        """Pixels [x0, x1) x [y0, y1) of a level of the view (see ``Source``)."""
        width, height = self.levels[level].size
        across, down = self._view.mirrored
        left, right = (width - x1, width - x0) if across else (x0, x1)
        top, bottom = (height - y1, height - y0) if down else (y0, y1)
        if self._view.transposed:
            left, top, right, bottom = top, left, bottom, right
        pixels = self._source.read(self._levels[level], left, top, right, bottom)
        if self._view.transposed:
            pixels = pixels.transpose(1, 0, 2)
        pixels = pixels[:: -1 if down else 1, :: -1 if across else 1]
        return np.ascontiguousarray(pixels[..., list(self._view.channels)])

    def close(self) -> None:
        """Close the file."""
        self._source.close()
