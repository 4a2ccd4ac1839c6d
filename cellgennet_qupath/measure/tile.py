"""Measurements of the nuclei of a tile, in QuPath's order: shape, stains, and whether it touches the edge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from ..qupath.project import StainVectors
from .intensity import stain_columns, stain_measurements
from .shape import shape_measurements

TOUCHES_EDGE = "Touches image edge"
"""1 for a nucleus that the image's edge may cut, else 0: its measurements may be of a part only."""

_LARGEST_WINDOW = 16_000_000


class FullResolution(Protocol):
    """The part of a slide reader that measuring needs."""

    width: int
    height: int

    def read_grid(
        self, x: int, y: int, columns: int, rows: int, downsample: float, fill: int = 255
    ) -> NDArray[np.uint8]:
        """See ``slides.reader.SlideReader``."""


@dataclass(frozen=True)
class Window:
    """Pixels of an image at full resolution; x, y: position of the first one."""

    pixels: NDArray[np.uint8]
    x: int
    y: int


@dataclass(frozen=True)
class MeasureOptions:
    """How the nuclei of an image are measured.

    mpp    : (x, y) µm per full-resolution pixel as calibrated in QuPath; None to measure in pixels.
    stains : None for an image without; only shapes are measured then.
    margin : full-resolution pixels; a nucleus closer to the image's edge than this touches it.
    """

    mpp: tuple[float, float] | None
    stains: StainVectors | None = None
    margin: float = 1.0


def measure_tile(
    image: FullResolution, polygons: NDArray[np.object_], options: MeasureOptions
) -> pd.DataFrame:
    """Measure nuclei anywhere in an image: n rows of float64 columns.

    Stains are measured at full resolution, as in QuPath, whatever resolution the nuclei were segmented at.

    polygons : (n,) Polygons or MultiPolygons in full-resolution pixels.
    Raises SlideError if the image cannot be read.
    """
    parts = [shape_measurements(polygons, options.mpp)]
    if options.stains is not None:
        stains = options.stains
        parts += windowed(
            image,
            polygons,
            lambda window, rows: [
                stain_measurements(window.pixels, polygons[rows], stains, (window.x, window.y))
            ],
        ) or [pd.DataFrame(columns=stain_columns(stains), dtype=np.float64)]
    parts.append(edge_mark(image, polygons, options.margin))
    return pd.concat(parts, axis=1)


def edge_mark(image: FullResolution, polygons: NDArray[np.object_], margin: float) -> pd.DataFrame:
    """The column that marks nuclei closer to the image's edge than a margin."""
    x0, y0, x1, y1 = shapely.bounds(polygons).reshape(-1, 4).T
    nearest = np.minimum.reduce([x0, y0, image.width - x1, image.height - y1])
    return pd.DataFrame({TOUCHES_EDGE: (nearest < margin).astype(np.float64)})


def windowed(
    image: FullResolution,
    polygons: NDArray[np.object_],
    measure: Callable[[Window, NDArray[np.intp]], list[pd.DataFrame]],
) -> list[pd.DataFrame]:
    """Measure polygons window by window, so that memory is bounded; empty without polygons.

    measure : returns tables for the pixels of a window and the indices of the polygons in it.
    Returns these tables for all polygons.
    """
    if not len(polygons):
        return []
    measured: list[list[pd.DataFrame]] = []
    pending = [np.arange(len(polygons))]
    while pending:
        rows = pending.pop()
        extent = _extent(polygons[rows])
        x, y = np.floor(extent[:2]).astype(int).tolist()
        columns, lines = (np.ceil(extent[2:]).astype(int) - (x, y)).tolist()
        if columns * lines > _LARGEST_WINDOW and len(rows) > 1:
            along = shapely.bounds(polygons[rows])[:, int(lines > columns)]
            order = np.argsort(along, kind="stable")
            pending += [np.sort(rows[half]) for half in np.array_split(order, 2)]
            continue
        window = Window(image.read_grid(x, y, columns, lines, 1.0), x, y)
        measured.append([table.set_axis(rows, axis=0) for table in measure(window, rows)])
    return [pd.concat(tables).sort_index() for tables in zip(*measured, strict=True)]


def _extent(polygons: NDArray[np.object_]) -> NDArray[np.float64]:
    extent: NDArray[np.float64] = shapely.total_bounds(polygons)
    return extent
