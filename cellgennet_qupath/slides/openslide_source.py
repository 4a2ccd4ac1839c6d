"""Formats that only OpenSlide reads (MRXS, BIF, VMS and others), and what tiffslide cannot open."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .samples import SampleFormat
from .source import Stored


def detected(path: Path) -> bool:
    """Whether OpenSlide is installed and recognises a file."""
    try:
        import openslide
    except ImportError:
        return False
    return openslide.OpenSlide.detect_format(str(path)) is not None


def openslide_error() -> type[Exception]:
    """The error that OpenSlide raises."""
    import openslide

    error: type[Exception] = openslide.OpenSlideError
    return error


class OpenSlideSource:
    """A slide as OpenSlide shows it. What was not scanned is transparent there, and white here."""

    reader = "OpenSlide"
    absent = ""
    notes = ()

    def __init__(self, path: Path) -> None:
        import openslide

        self._slide = openslide.OpenSlide(str(path))
        self.levels = [Stored(size) for size in self._slide.level_dimensions]
        stated = self._slide.properties
        size = [float(stated.get(f"openslide.mpp-{axis}") or 0) for axis in "xy"]
        self.mpp = (size[0], size[1]) if min(size) > 0 else None
        ends = [int(stated.get(f"openslide.bounds-{name}") or 0) for name in ("x", "y", "width", "height")]
        self.bounds = (ends[0], ends[1], ends[2], ends[3]) if ends[2] and ends[3] else None
        self._form = SampleFormat(alpha=True)

    def read(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
        step = self._slide.level_downsamples[level]
        place = (round(x0 * step), round(y0 * step))
        return self._form.to_rgb(np.asarray(self._slide.read_region(place, level, (x1 - x0, y1 - y0))))

    def close(self) -> None:
        self._slide.close()
