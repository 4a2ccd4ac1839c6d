"""Pixels of a slide on a sample grid of any downsample, independent of how it is divided into tiles."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ..core.errors import SlideError
from ..core.parallel import still_at_work
from ..geometry.coordinates import grid_size
from .levels import Level, shift, usable_levels
from .pixel_size import implausible
from .resample import resample, taps
from .source import Source
from .sources import open_source
from .view import AS_STORED, View, ViewedSource

_LARGEST_WINDOW = 16_000_000
"""Source pixels read at once; larger requests are read in halves."""

_EQUAL = 1e-9
_NEAR = 0.125
"""Samples of a grid by which the pixels of a level may be shifted to be used for it."""
_PATCH = 64
_PLACES = 5
_COMPARED = 4
_FINEST_PIXELS = 1024
"""Side of the largest window of the finer level when two levels are compared."""


class SlideReader:
    """An open slide. Use it in a ``with`` block; a pickled copy opens the file again.

    Several threads may read; a lock serialises their access to the file.

    path              : the file, or the folder of an OME-Zarr or a DICOM slide; of it the image ``series`` as
                        ``view`` shows it.
    width, height     : of full resolution, in pixels.
    level_downsamples : full-resolution pixels per pixel of each usable level.
    stated_mpp        : (x, y) µm per full-resolution pixel as the file states it, None if it does not.
    mpp               : the same, None also where it is implausible.
    backend           : the library that reads the pixels.
    notes             : what to report of the image besides, in words that follow its name.
    absent            : identifies which of its parts are not there (see ``Source``).
    """

    def __init__(self, path: Path, series: int, source: Source, view: View = AS_STORED) -> None:
        self.path = path
        self.series = series
        self.view = view
        self._source = source
        self._turn = threading.Lock()
        self._left, self._top = 0, 0
        self.width, self.height = source.levels[0].size
        self._scanned = source.bounds or (0, 0, self.width, self.height)
        if view.frame == "bounds" and source.bounds is not None:
            self._left, self._top, self.width, self.height = source.bounds
            self._scanned = (0, 0, self.width, self.height)
        if self.width < 1 or self.height < 1:
            source.close()
            raise SlideError(path, f"has no pixels ({self.width} x {self.height})")
        self._levels = usable_levels(source.levels)
        self._shifts: dict[int, float | None] = {0: 0.0}
        self.level_downsamples: tuple[float, ...] = tuple(level.step for level in self._levels)
        self.stated_mpp = source.mpp
        self.mpp = None if source.mpp is None or implausible(source.mpp) else source.mpp
        self.backend = source.reader
        self.notes = source.notes
        self.absent = source.absent

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
        if not still_at_work():  # a step that reads may have been left alone after a stop
            self.close()

    def __reduce__(self) -> tuple[object, ...]:
        return open_slide, (self.path.absolute(), self.series, self.view)

    def _samples(
        self, x0: int, y0: int, x1: int, y1: int, downsample: float, number: int | None = None
    ) -> NDArray[np.uint8]:
        """Samples that are all inside the image, from the usable level of this number or the best one."""
        if number is None:
            number = self._best_level(downsample)
        level = self._levels[number]
        width, height = level.size
        ratio = _ratio(downsample, level.step)
        columns = taps(x0, x1 - x0, ratio, width, self._left / level.step)
        rows = taps(y0, y1 - y0, ratio, height, self._top / level.step)
        left, right = columns.span
        top, bottom = rows.span
        if (right - left) * (bottom - top) > _LARGEST_WINDOW and max(x1 - x0, y1 - y0) > 1:
            if (right - left) > (bottom - top) and x1 - x0 > 1:
                middle = (x0 + x1) // 2
                halves = [
                    self._samples(a, y0, b, y1, downsample, number) for a, b in ((x0, middle), (middle, x1))
                ]
                return np.concatenate(halves, axis=1)
            middle = (y0 + y1) // 2
            halves = [
                self._samples(x0, a, x1, b, downsample, number) for a, b in ((y0, middle), (middle, y1))
            ]
            return np.concatenate(halves, axis=0)
        window = self._read(level, left, top, right, bottom)
        if columns.copies and rows.copies:
            if window.shape[:2] == (y1 - y0, x1 - x0):
                return window
            return window[rows.index[:, 0, None] - top, columns.index[None, :, 0] - left]
        return resample(window, rows, columns)

    def _best_level(self, downsample: float) -> int:
        """The coarsest level that is not coarser than the requested grid, and that lies on it."""
        for number in range(len(self._levels) - 1, 0, -1):
            step = self._levels[number].step
            if step > downsample * (1 + _EQUAL):
                continue
            moved = self._shift(number)
            if moved is not None and moved * step <= _NEAR * downsample:
                return number
        return 0

    def _shift(self, number: int) -> float | None:
        """How far a usable level is shifted, in its own pixels; None if it is another image.

        It is compared with the next finer level that is part of the image, where it has most structure. The
        two are added up, at worst in the same direction.
        """
        if number not in self._shifts:
            finer = number - 1
            while self._shift(finer) is None:
                finer -= 1
            level, step = self._levels[number], self._levels[number].step
            ratio = step / self._levels[finer].step
            side = max(8, min(_PATCH, int(_FINEST_PIXELS / ratio)))
            measured = shift(
                [
                    (
                        self._samples(x, y, right, bottom, step, number),
                        self._samples(x, y, right, bottom, step, finer),
                    )
                    for x, y, right, bottom in self._structured(level, side)
                ]
            )
            before = self._shifts[finer] or 0.0
            known = self._source.levels[level.index].shift
            self._shifts[number] = (
                None if measured is None else max(known, *map(abs, measured)) + before / ratio
            )
        return self._shifts[number]

    def _structured(self, level: Level, side: int) -> list[tuple[int, int, int, int]]:
        """The windows of a level's grid, of 25 spread over the image, whose pixels vary most."""
        left, top, columns, rows = (int(end / level.step) for end in self._scanned)
        width, height = min(side, max(1, columns)), min(side, max(1, rows))
        xs = np.unique(np.linspace(left, left + columns - width, _PLACES).astype(int)).tolist()
        ys = np.unique(np.linspace(top, top + rows - height, _PLACES).astype(int)).tolist()
        windows = [(x, y, x + width, y + height) for y in ys for x in xs]
        number = self._levels.index(level)
        varied = {one: float(self._samples(*one, level.step, number).std()) for one in windows}
        return sorted(windows, key=lambda one: -varied[one])[:_COMPARED]

    def _read(self, level: Level, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
        try:
            with self._turn:
                window = self._source.read(level.index, x0, y0, x1, y1)
        except MemoryError:
            raise
        except Exception as error:
            # Codecs raise errors of their own types; all mean that these bytes cannot be decoded.
            raise SlideError(
                self.path,
                f"a tile near x={x0 * level.step:.0f}, y={y0 * level.step:.0f} "
                f"of level {level.index} cannot be decoded ({type(error).__name__}: {error})",
                "Copy the slide again from its source, or export it again",
            ) from error
        if window.shape != (y1 - y0, x1 - x0, 3):
            raise SlideError(
                self.path, f"level {level.index} has fewer pixels than recorded", "Export the slide again"
            )
        return window


def open_slide(path: Path, series: int = 0, view: View = AS_STORED) -> SlideReader:
    """Open a slide: a file, or the folder of an OME-Zarr or a DICOM slide.

    series : index of the image in a file that holds several.
    view   : where coordinates begin, and how the pixels are turned, mirrored and reordered.

    Raises SlideError: missing, empty, damaged, truncated, not an image, or neither RGB nor grey.
    """
    path = Path(path)
    source = open_source(path, series, apart=view.frame == "image")
    return SlideReader(path, series, source if view == AS_STORED else ViewedSource(source, view), view)


def slide_size(path: Path) -> tuple[int, int] | None:
    """(width, height) of a slide file's first image; None if it cannot be opened."""
    try:
        with open_slide(path) as reader:
            return reader.width, reader.height
    except SlideError:
        return None


def _ratio(downsample: float, step: float) -> float:
    ratio = downsample / step
    return 1.0 if abs(ratio - 1) <= _EQUAL else ratio
