"""Windows of a slide that show what was detected: a typical one, the densest, and the least sure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from ..geometry.rectangle import Rectangle
from ..nuclei import Nuclei
from ..slides.reader import SlideReader
from .density import ScaleBar, scale_bar
from .locations import Locations
from .overlay import jpeg

_UM = 100.0
_PX = 400
"""Side of a window in µm, and in pixels where there is no pixel size."""
_SAMPLES = 360
"""Samples of a window's picture along its side."""
_FEW = 0.25
"""The least sure window holds at least this share of the typical window's nuclei."""
SURE = 0.5
"""Nuclei of a lower detection probability have dashed outlines."""


@dataclass(frozen=True)
class Window:
    """A window of a slide: why it is shown, and where it is in full-resolution pixels."""

    kind: str
    box: Rectangle


@dataclass(frozen=True)
class Crop:
    """A window's picture with the outlines of its nuclei, as the page draws it.

    tissue        : data URI; width and height: in samples, the unit of the outlines.
    sure, unsure  : outlines as SVG path data, by detection probability (see ``SURE``).
    nuclei        : number of outlines; probability: their mean, None where unknown.
    at            : middle of the window as shares of the slide's width and height.
    """

    kind: str
    tissue: str
    width: int
    height: int
    sure: str
    unsure: str
    nuclei: int
    probability: float | None
    bar: ScaleBar | None
    at: tuple[float, float]


def choose_windows(found: Locations, size: tuple[int, int], mpp: float | None) -> list[Window]:
    """The typical, the densest and the least sure window of a slide, all different; fewer on a small slide.

    size : width and height of the slide in full-resolution pixels; mpp: µm per pixel.

    The slide is divided into cells of at most a window's size. *Typical* is the cell whose number of nuclei
    and mean probability are nearest to the median over nuclei: half of the nuclei are in denser cells, half
    in less dense ones. *Densest* is the cell with the most nuclei. *Least sure* is the cell with the lowest
    mean probability among those that have at least a quarter of the typical cell's nuclei. Of equal cells the
    first is chosen, from the top left.
    """
    if not len(found):
        return []
    side = max(1, round(_UM / mpp)) if mpp else _PX
    columns, rows = (math.ceil(length / side) for length in size)
    column, row = (
        np.clip(found.centres[:, axis] * (n / length), 0, n - 1).astype(np.int64)
        for axis, (n, length) in enumerate(zip((columns, rows), size, strict=True))
    )
    cells, cell, counts = np.unique(row * columns + column, return_inverse=True, return_counts=True)
    known = ~np.isnan(found.probability)
    sums = np.bincount(cell[known], weights=found.probability[known], minlength=len(cells))
    numbers = np.bincount(cell[known], minlength=len(cells))
    with np.errstate(invalid="ignore"):
        probability = np.where(numbers > 0, sums / numbers, np.nan)
    away = np.abs(_rank(counts, counts) - 0.5) + np.abs(_rank(probability, counts) - 0.5)
    typical = int(np.argmin(away))
    chosen = {"typical": typical}
    rest = np.ones(len(cells), bool)
    rest[typical] = False
    if rest.any():
        chosen["densest"] = int(np.argmax(np.where(rest, counts, -1)))
        rest[chosen["densest"]] = False
    rest &= (counts >= _FEW * counts[typical]) & ~np.isnan(probability)
    if rest.any():
        chosen["least sure"] = int(np.argmin(np.where(rest, probability, np.inf)))
    places = {kind: divmod(int(cells[i]), columns) for kind, i in chosen.items()}
    return [Window(kind, _box(place, (columns, rows), size, side)) for kind, place in places.items()]


def _rank(
    values: NDArray[np.floating] | NDArray[np.integer], weights: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Share of the weight below each value, half of the equal ones included; .5 for unknown values."""
    known = ~np.isnan(values)
    rank = np.full(len(values), 0.5)
    if known.any():
        _, group = np.unique(values[known], return_inverse=True)
        weight = np.bincount(group, weights=weights[known])
        rank[known] = ((np.cumsum(weight) - weight / 2) / weight.sum())[group]
    return rank


def _box(cell: tuple[int, int], cells: tuple[int, int], size: tuple[int, int], side: int) -> Rectangle:
    """The window in the middle of a cell (row, column), inside the slide."""
    starts, lengths = [], []
    for index, n, length in zip(cell[::-1], cells, size, strict=True):
        shown = min(side, length)
        middle = (index + 0.5) * length / n
        starts.append(int(np.clip(round(middle - shown / 2), 0, length - shown)))
        lengths.append(shown)
    return Rectangle(starts[0], starts[1], starts[0] + lengths[0], starts[1] + lengths[1])


def draw_crops(
    reader: SlideReader, windows: Sequence[Window], chunks: Iterable[Nuclei], mpp: float | None
) -> list[Crop]:
    """Read the windows' pixels and the outlines in them.

    chunks : all nuclei of the slide; only the outlines inside the windows are kept.

    Raises SlideError and EntryDataError.
    """
    if not windows:
        return []
    outlines = _outlines(windows, chunks)
    crops = []
    for window, (polygons, probability) in zip(windows, outlines, strict=True):
        box = window.box
        step = max(1.0, max(box.columns, box.rows) / _SAMPLES)
        columns, rows = (max(1, round(length / step)) for length in (box.columns, box.rows))
        # The grid is anchored at the image's origin, so the picture begins at a whole sample.
        left, top = round(box.x0 / step), round(box.y0 / step)
        sure = np.isnan(probability) | (probability >= SURE)
        known = probability[~np.isnan(probability)]
        crops.append(
            Crop(
                kind=window.kind,
                tissue=jpeg(reader.read_grid(left, top, columns, rows, step), 82),
                width=columns,
                height=rows,
                sure=_path(polygons[sure], step, (left, top)),
                unsure=_path(polygons[~sure], step, (left, top)),
                nuclei=len(polygons),
                probability=float(known.mean()) if len(known) else None,
                bar=scale_bar(columns * step, mpp),
                at=((box.x0 + box.x1) / 2 / reader.width, (box.y0 + box.y1) / 2 / reader.height),
            )
        )
    return crops


def _outlines(
    windows: Sequence[Window], chunks: Iterable[Nuclei]
) -> list[tuple[NDArray[np.object_], NDArray[np.float32]]]:
    """The nuclei that reach into each window: outlines and probabilities."""
    polygons: list[list[NDArray[np.object_]]] = [[np.empty(0, object)] for _ in windows]
    probability: list[list[NDArray[np.float32]]] = [[np.empty(0, np.float32)] for _ in windows]
    for chunk in chunks:
        x0, y0, x1, y1 = shapely.bounds(chunk.polygons).reshape(-1, 4).T
        for number, window in enumerate(windows):
            box = window.box
            rows = np.flatnonzero((x1 > box.x0) & (x0 < box.x1) & (y1 > box.y0) & (y0 < box.y1))
            polygons[number].append(chunk.polygons[rows])
            probability[number].append(chunk.probability[rows])
    return [(np.concatenate(a), np.concatenate(b)) for a, b in zip(polygons, probability, strict=True)]


def _path(polygons: NDArray[np.object_], step: float, origin: tuple[int, int]) -> str:
    """SVG path data of outlines in samples of a picture that begins at the sample ``origin``."""
    rings = []
    for part in shapely.get_parts(polygons):
        points = shapely.get_coordinates(shapely.get_exterior_ring(part))[:-1] / step - origin
        rings.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z")
    return "".join(rings)
