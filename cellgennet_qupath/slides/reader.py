"""Pixels of a slide on a sample grid of any downsample, independent of how it is divided into tiles."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ..core.errors import SlideError
from ..geometry.coordinates import grid_size
from .pixel_size import implausible
from .resample import resample, taps
from .sources import Source, open_source
from .view import AS_STORED, View, ViewedSource

_LARGEST_WINDOW = 16_000_000
"""Source pixels read at once; larger requests are read in halves."""

_EQUAL = 1e-9


class SlideReader:
    """An open slide. Use it in a ``with`` block; a pickled copy opens the file again.

    Several threads may read; a lock serialises their access to the file.

    path              : the file, and its image ``series`` as ``view`` shows it.
    width, height     : of full resolution, in pixels.
    level_downsamples : full-resolution pixels per pixel of each stored level, along x.
    stated_mpp        : (x, y) µm per full-resolution pixel as the file states it, None if it does not.
    mpp               : the same, None also where it is implausible.
    properties        : what the file says about itself, by tiffslide's names.
    """

    def __init__(self, path: Path, series: int, source: Source, view: View = AS_STORED) -> None:
        self.path = path
        self.series = series
        self.view = view
        self._source = source
        self._turn = threading.Lock()
        self.width, self.height = source.sizes[0]
        if self.width < 1 or self.height < 1:
            source.close()
            raise SlideError(path, f"has no pixels ({self.width} x {self.height})")
        self._steps = [
            (level_downsample(self.width, w), level_downsample(self.height, h)) for w, h in source.sizes
        ]
        self.level_downsamples: tuple[float, ...] = tuple(x for x, _ in self._steps)
        self.stated_mpp = source.mpp
        self.mpp = None if source.mpp is None or implausible(source.mpp) else source.mpp
        self.properties: Mapping[str, object] = source.properties

    def read_grid(
        self, x: int, y: int, columns: int, rows: int, downsample: float, fill: int = 255
    ) -> NDArray[np.uint8]:
        """Samples [x, x + columns) x [y, y + rows) of the grid of ``downsample``: uint8 (rows, columns, 3).

        The grid is anchored at the image's origin (see ``coordinates``). Samples outside the image, also at
        negative positions, are ``fill``. If a stored level has exactly this downsample, its pixels are
        copied; else they are averaged or interpolated from the next finer level. A sample does not depend
        on the window that was read. Raises SlideError if a tile cannot be decoded.
        """
        if downsample <= 0 or columns < 0 or rows < 0:
            raise ValueError(f"no grid of {columns} x {rows} samples of downsample {downsample}")
        out = np.full((rows, columns, 3), fill, np.uint8)
        all_columns, all_rows = grid_size(self.width, self.height, downsample)
        x0, x1 = max(x, 0), min(x + columns, all_columns)
        y0, y1 = max(y, 0), min(y + rows, all_rows)
        if x0 < x1 and y0 < y1:
            inside = self._samples(x0, y0, x1, y1, downsample)
            out[y0 - y : y1 - y, x0 - x : x1 - x] = inside
        return out

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def __enter__(self) -> SlideReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[object, ...]:
        return open_slide, (self.path.absolute(), self.series, self.view)

    def _samples(self, x0: int, y0: int, x1: int, y1: int, downsample: float) -> NDArray[np.uint8]:
        """Samples that are all inside the image."""
        level = self._best_level(downsample)
        step_x, step_y = self._steps[level]
        width, height = self._source.sizes[level]
        columns = taps(x0, x1 - x0, _ratio(downsample, step_x), width)
        rows = taps(y0, y1 - y0, _ratio(downsample, step_y), height)
        left, right = columns.span
        top, bottom = rows.span
        if (right - left) * (bottom - top) > _LARGEST_WINDOW and max(x1 - x0, y1 - y0) > 1:
            if (right - left) > (bottom - top) and x1 - x0 > 1:
                middle = (x0 + x1) // 2
                halves = [self._samples(a, y0, b, y1, downsample) for a, b in ((x0, middle), (middle, x1))]
                return np.concatenate(halves, axis=1)
            middle = (y0 + y1) // 2
            halves = [self._samples(x0, a, x1, b, downsample) for a, b in ((y0, middle), (middle, y1))]
            return np.concatenate(halves, axis=0)
        window = self._read(level, left, top, right, bottom)
        if columns.copies and rows.copies:
            return window[rows.index[:, 0, None] - top, columns.index[None, :, 0] - left]
        return resample(window, rows, columns)

    def _best_level(self, downsample: float) -> int:
        """The coarsest level that is not coarser than the requested grid."""
        fine = [i for i, steps in enumerate(self._steps) if max(steps) <= downsample * (1 + _EQUAL)]
        return max(fine, key=lambda i: max(self._steps[i]), default=0)

    def _read(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
        try:
            with self._turn:
                window = self._source.read(level, x0, y0, x1, y1)
        except MemoryError:
            raise
        except Exception as error:
            # Codecs raise errors of their own types; all mean that these bytes cannot be decoded.
            raise SlideError(
                self.path,
                f"a tile near x={x0 * self._steps[level][0]:.0f}, y={y0 * self._steps[level][1]:.0f} "
                f"of level {level} cannot be decoded ({type(error).__name__}: {error})",
                "Copy the slide again from its source, or export it again",
            ) from error
        if window.shape != (y1 - y0, x1 - x0, 3):
            raise SlideError(
                self.path, f"level {level} has fewer pixels than recorded", "Export the slide again"
            )
        return window


def open_slide(path: Path, series: int = 0, view: View = AS_STORED) -> SlideReader:
    """Open a slide file; ``series`` is the index of the image in a file that holds several.

    view : how the pixels are turned, mirrored and reordered.

    Raises SlideError: missing, empty, damaged, truncated, not an image, or neither RGB nor grey.
    """
    path = Path(path)
    source = open_source(path, series)
    return SlideReader(path, series, source if view == AS_STORED else ViewedSource(source, view), view)


def slide_size(path: Path) -> tuple[int, int] | None:
    """(width, height) of a slide file's first image; None if it cannot be opened."""
    try:
        with open_slide(path) as reader:
            return reader.width, reader.height
    except SlideError:
        return None


def level_downsample(full: int, level: int) -> float:
    """Full-resolution pixels per level pixel along one side, from both lengths.

    Pyramids have whole steps and drop or pad the remainder, so the ratio of lengths is slightly off:
    1023 px give a level of 255 px whose pixels cover 4.0, not 4.012. A power of two that explains the
    lengths to within one pixel is used, else such a whole number, else the ratio.
    """
    ratio = full / max(level, 1)
    for step in (2.0 ** round(np.log2(ratio)), float(round(ratio))):
        if step >= 1 and abs(full / step - level) < 1:
            return step
    return ratio


def _ratio(downsample: float, step: float) -> float:
    ratio = downsample / step
    return 1.0 if abs(ratio - 1) <= _EQUAL else ratio
