"""Staining of nuclei by colour deconvolution, under the names, in the order and by the definitions of QuPath.

Optical density of a channel is ``-log10(value / background)``, with values below 1 taken as 1 and
densities below 0 as 0. The densities of a pixel are the sum of its stains' vectors, each times the
stain's amount; the inverse of the matrix of the vectors gives the amounts (Ruifrok and Johnston, Anal
Quant Cytol Histol 23, 2001). Two stains are completed by a third vector at right angles to both, for the
residual, which is not measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from ..core.lazy import lazy
from ..geometry.raster import ranges, spans
from ..qupath.project import StainVectors

if TYPE_CHECKING:
    import cv2
else:
    cv2 = lazy("cv2")

STATISTICS = ("Mean", "Median", "Min", "Max", "Std.Dev.")

_TIE = np.array([1e-6, 1e-9])
"""Shift that assigns a pixel whose centre is on an outline as QuPath does: to the right, and below a
horizontal line. The latter is smaller, so that it affects nothing else."""

_PIXELS_AT_ONCE = 1 << 22
_SAME_LENGTH = 1.2


def stain_columns(stains: StainVectors) -> list[str]:
    """Names of the columns of ``stain_measurements``."""
    return [f"{name}: {statistic}" for name in dict.fromkeys(stains.names) for statistic in STATISTICS]


def stain_measurements(
    pixels: NDArray[np.uint8],
    polygons: NDArray[np.object_],
    stains: StainVectors,
    origin: tuple[int, int] = (0, 0),
    without: NDArray[np.object_] | None = None,
) -> pd.DataFrame:
    """Mean, median, extremes and standard deviation of each stain's optical density in each nucleus.

    pixels   : uint8 (rows, columns, 3), a window of the image at full resolution.
    polygons : (n,) Polygons or MultiPolygons in full-resolution pixels of the image.
    origin   : (column, row) of the window's first pixel in the image.
    without  : (n,) shapes to exclude from each polygon: for cytoplasm, the nuclei of cells.
    Returns n rows of float64 columns. A pixel belongs to every nucleus that contains its centre. The
    standard deviation is that of a sample (n - 1). A nucleus that contains no pixel's centre has NaN,
    which is never written.

    The values are those of QuPath 0.5 and 0.7 ("Add intensity features" of detections, StarDist and
    InstanSeg extensions) at full resolution, to single precision.
    """
    n, shape = len(polygons), (pixels.shape[0], pixels.shape[1])
    runs = _Runs(polygons, shape, origin)
    left_out = None if without is None else _Runs(without, shape, origin)
    tables = _tables(stains)
    columns = {name: np.full((n, len(STATISTICS)), np.nan) for name in tables}
    flat = pixels.reshape(-1, 3)
    first = 0
    while first < n:
        # Whole nuclei with about this many pixels at once, to bound memory.
        last = runs.until(first, _PIXELS_AT_ONCE)
        nucleus, position = runs.pixels(first, last)
        if left_out is not None:
            own, others = nucleus * len(flat) + position, left_out.pixels(first, last)
            kept = ~np.isin(own, others[0] * len(flat) + others[1], assume_unique=True)
            nucleus, position = nucleus[kept], position[kept]
        covered = np.bincount(nucleus, minlength=last - first)
        rgb = np.take(flat, position, axis=0)
        for name, table in tables.items():
            columns[name][first:last] = grouped_statistics(_densities(rgb, table), covered)
        first = last
    values = np.concatenate(list(columns.values()), axis=1)
    return pd.DataFrame(values, columns=stain_columns(stains))


def _densities(rgb: NDArray[np.uint8], table: NDArray[np.float64]) -> NDArray[np.float32]:
    """(v,) sums of the three channels' contributions to a stain, from a table of ``_tables``."""
    if not len(rgb):
        return np.empty(0, np.float32)
    red, green, blue = cv2.LUT(rgb[:, None], table.T[None].copy())[:, 0].T
    return np.asarray(red + green + blue, np.float32)


class _Runs:
    """The pixels covered by polygons, as runs along the rows of a window."""

    def __init__(
        self, polygons: NDArray[np.object_], shape: tuple[int, int], origin: tuple[int, int]
    ) -> None:
        shifted = np.asarray(shapely.transform(polygons, lambda xy: xy + _TIE), dtype=object)
        self._owner, row, self._start, self._stop = spans(shifted, shape, origin=origin)
        self._first = row * shape[1] + self._start
        self._ends = np.cumsum(np.bincount(self._owner, self._stop - self._start, len(polygons)))

    def until(self, first: int, pixels: int) -> int:
        """End of the range of polygons from ``first`` that cover about ``pixels`` pixels."""
        before = self._ends[first - 1] if first else 0
        return max(int(np.searchsorted(self._ends, before + pixels)), first + 1)

    def pixels(self, first: int, last: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each pixel of the polygons [first, last): its polygon (from ``first``) and its position."""
        runs = slice(*np.searchsorted(self._owner, [first, last]))
        length = self._stop[runs] - self._start[runs]
        return np.repeat(self._owner[runs] - first, length), ranges(self._first[runs], length)


def grouped_statistics(values: NDArray[np.float32], size: NDArray[np.int64]) -> NDArray[np.float64]:
    """(groups, 5) mean, median, minimum, maximum and standard deviation of values by group.

    values : (v,) finite, in the order of the groups.
    size   : (groups,) number of values of each group; NaN for a group without any.
    """
    statistics = np.full((len(size), len(STATISTICS)), np.nan)
    filled = np.flatnonzero(size)
    if not len(filled):
        return statistics
    count = size[filled]
    begin = np.cumsum(count) - count
    exact = values.astype(np.float64)
    low, high = np.minimum.reduceat(exact, begin), np.maximum.reduceat(exact, begin)
    # The mean of equal values can differ from them in the last digit.
    mean = np.clip(np.add.reduceat(exact, begin) / count, low, high)
    square = np.add.reduceat((exact - np.repeat(mean, count)) ** 2, begin)
    deviation = np.sqrt(square / np.maximum(count - 1, 1))
    statistics[filled] = np.column_stack([mean, _medians(values, begin, count), low, high, deviation])
    return statistics


def _medians(
    values: NDArray[np.float32], begin: NDArray[np.int64], count: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Medians of runs of values, at least one in each."""
    median = np.empty(len(count))
    # Runs of similar length are sorted together as rows of a table: much faster than one by one, or than
    # one long sort.
    about = np.ceil(np.log(count) / np.log(_SAME_LENGTH))
    for length in np.unique(about):
        rows = np.flatnonzero(about == length)
        first, n = begin[rows, None], count[rows, None]
        column = np.arange(n.max())
        table = np.take(values, first + column, mode="clip")
        np.putmask(table, column >= n, np.inf)
        table.sort(axis=1)
        middle = np.take_along_axis(table, np.hstack([(n - 1) // 2, n // 2]), axis=1)
        median[rows] = middle.astype(np.float64).mean(axis=1)
    return median


def _tables(stains: StainVectors) -> dict[str, NDArray[np.float64]]:
    """For each stain (3, 256): the contribution of each value of each channel to its amount."""
    vectors = np.array(stains.vectors, np.float64)
    if len(vectors) == 2:
        vectors = np.vstack([vectors, np.cross(*vectors)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    background = np.array(stains.background, np.float64)[:, None]
    density = np.maximum(0.0, -np.log10(np.maximum(np.arange(256.0), 1.0) / background)) + 0.0
    amounts = np.linalg.inv(vectors)
    return {name: amounts[:, [stain]] * density for stain, name in enumerate(stains.names)}
