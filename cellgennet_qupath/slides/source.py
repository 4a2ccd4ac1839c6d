"""What every image format offers to the reader of slides: stored levels, and their pixels as 8-bit RGB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

RE_EXPORT = "Copy it again from its source, or export it again"
ZARR_MARKS = ("zarr.json", ".zattrs", ".zgroup")
"""Files of which one is at the top of every Zarr; QuPath records one of them in place of the folder."""

AS_OME_TIFF = "Export it from QuPath as OME-TIFF (File > Export images) and add that file to the project"


Frame = Literal["bounds", "canvas", "image"]
"""Where a slide's coordinates begin, if its scanned areas lie on a larger canvas (Leica SCN, MRXS): at their
common bounds, as in QuPath through OpenSlide; at the canvas, as there with ``--no-crop``; or each area is an
image of its own, as through Bio-Formats."""


@dataclass(frozen=True)
class Stored:
    """A level as it is stored.

    size  : (width, height) in pixels, padding included.
    tile  : (width, height) of the tiles to whose multiple it may be padded; None where it cannot be.
    shift : how far a part of it is known to lie from its place, in its own pixels.
    """

    size: tuple[int, int]
    tile: tuple[int, int] | None = None
    shift: float = 0.0


class Source(Protocol):
    """The stored levels of an image.

    levels : the largest first.
    mpp    : (x, y) µm per pixel as the file states it, plausible or not.
    bounds : (x, y, width, height) of the scanned part of a larger canvas, in full-resolution pixels.
    reader : the library that reads the pixels, as users know it.
    notes  : what to report of the image besides, in words that follow its name.
    absent : identifies which parts of the image are not there, so that results change if they come; "" if
             all are, or if the file itself would change.
    """

    @property
    def levels(self) -> list[Stored]: ...

    @property
    def mpp(self) -> tuple[float, float] | None: ...

    @property
    def bounds(self) -> tuple[int, int, int, int] | None: ...

    @property
    def reader(self) -> str: ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    @property
    def absent(self) -> str: ...

    def read(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
        """Pixels [x0, x1) x [y0, y1) of a level, all inside it: (rows, columns, 3)."""

    def close(self) -> None:
        """Close the file."""


def planes_note(planes: int) -> str:
    """What to report of an image of several planes."""
    return f"is a stack of {planes} planes, of which the first is read (z = 0, t = 0)"


def whiten(
    rgb: NDArray[np.uint8], missing: NDArray[np.bool_], tile: tuple[int, int], x0: int, y0: int
) -> None:
    """Make missing tiles white in pixels that begin at (x0, y0). tile : (width, height)."""
    width, height = tile
    rows, columns = rgb.shape[:2]
    top, left = y0 // height, x0 // width
    seen = missing[top : -(-(y0 + rows) // height), left : -(-(x0 + columns) // width)]
    for row, column in np.argwhere(seen).tolist():
        y, x = (row + top) * height - y0, (column + left) * width - x0
        rgb[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)] = 255
