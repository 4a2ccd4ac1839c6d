"""Detects tissue on a slide at low resolution, by its colour relative to the glass around it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..geometry.rectangle import Rectangle
from .areas import Area, Void, find_fill, find_ink, find_text
from .margin import picture_within, samples_within
from .reader import SlideReader
from .source import Frame
from .view import View

_MICRONS_PER_SAMPLE = 8.0
_LARGEST_SIDE = 2048
_SMALLEST_SIDE = 256
_SAFETY_MICRONS = 40.0

_GLASS_BRIGHTNESS = 190
"""Darkest grey value of a glass pixel's darkest channel."""
_GLASS_TINT = 0.045
_GLASS_ROUGHNESS = 4.0
_GLASS_SHARE = 0.002

_TEXT_SIDE = 3072
"""Longest side, in pixels, of images in which text is looked for: exports and snapshots, not slides."""

_TISSUE_TINT = 0.02
_TISSUE_DENSITY = 0.04
_KEPT = 4
_RECENT: dict[tuple[str, tuple[int, View, Frame], int, int, float], TissueMask] = {}
_LOCK = threading.Lock()

_LEFT_OUT = {
    "fill": "uniform areas without data (unscanned or padded)",
    "ink": "pen marks",
    "text": "text or a scale bar drawn into the pixels",
}


def _percent(share: float) -> str:
    """A share in percent with two digits; never in scientific notation, and at least 0.1."""
    percent = max(share * 100, 0.1)
    return f"{percent:.2g}" if percent < 10 else f"{percent:.0f}"


@dataclass(frozen=True)
class TissueMask:
    """Tissue on a coarse sample grid anchored at the image's origin.

    tissue     : bool (rows, columns).
    downsample : full-resolution pixels per sample of the mask.
    voids      : colours of areas without data (fill, text), which are no tissue wherever they occur.
    shares     : share of the image that is "fill", "ink" or "text", where there is any.
    dense      : tissue without its margin, to measure areas; None where it is the same.
    part       : the slide inside a margin of one colour, in full-resolution pixels (see ``margin``).
    """

    tissue: NDArray[np.bool_]
    downsample: float
    voids: tuple[Void, ...] = ()
    shares: dict[str, float] = field(default_factory=dict)
    dense: NDArray[np.bool_] | None = None
    part: Rectangle | None = None

    def __post_init__(self) -> None:
        padded = np.pad(self.tissue.astype(np.float64), ((1, 0), (1, 0)))
        object.__setattr__(self, "_integral", padded.cumsum(axis=0).cumsum(axis=1))

    def __reduce__(self) -> tuple[object, ...]:
        return TissueMask, (self.tissue, self.downsample, self.voids, self.shares, self.dense, self.part)

    @property
    def share(self) -> float:
        """Share of the image that is tissue."""
        return float(self.tissue.mean())

    @property
    def findings(self) -> list[str]:
        """One sentence on each kind of area that is left out, without the image's name."""
        return [
            f"{_LEFT_OUT[kind]} on {_percent(share)} % of the image: no nuclei are looked for there"
            for kind, share in self.shares.items()
        ]

    def covers(self, x: float, y: float, w: float, h: float) -> float:
        """Share in [0, 1] of a rectangle (full-resolution pixels) that is tissue; none outside the image."""
        return float(self.coverage([x], [y], w, h)[0])

    def coverage(self, x: ArrayLike, y: ArrayLike, w: float, h: float) -> NDArray[np.float64]:
        """``covers`` for many rectangles of one size, given their corners (n,) x and y."""
        x0, y0 = np.asarray(x, np.float64), np.asarray(y, np.float64)
        area = (
            self._area(x0 + w, y0 + h) - self._area(x0, y0 + h) - self._area(x0 + w, y0) + self._area(x0, y0)
        )
        share = np.clip(area * self.downsample**2 / (w * h), 0, 1)
        return np.where(share < 1e-9, 0.0, share)

    def window(self, x: int, y: int, columns: int, rows: int, downsample: float) -> NDArray[np.bool_]:
        """The mask on samples [x, x + columns) x [y, y + rows) of another grid: bool (rows, columns)."""
        out = np.zeros((rows, columns), bool)
        at_row = np.floor((np.arange(y, y + rows) + 0.5) * downsample / self.downsample).astype(int)
        at_column = np.floor((np.arange(x, x + columns) + 0.5) * downsample / self.downsample).astype(int)
        good_rows = (at_row >= 0) & (at_row < self.tissue.shape[0])
        good_columns = (at_column >= 0) & (at_column < self.tissue.shape[1])
        out[np.ix_(good_rows, good_columns)] = self.tissue[np.ix_(at_row[good_rows], at_column[good_columns])]
        inner = samples_within(self.part, (x + columns, y + rows), downsample)
        out[: max(0, inner.y0 - y)] = out[max(0, inner.y1 - y) :] = False
        out[:, : max(0, inner.x0 - x)] = out[:, max(0, inner.x1 - x) :] = False
        return out

    def _area(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Tissue in [0, x) x [0, y), in samples: the integral image, linear between its nodes."""
        integral: NDArray[np.float64] = self.__dict__["_integral"]
        rows, columns = self.tissue.shape
        u = np.clip(x / self.downsample, 0, columns)
        v = np.clip(y / self.downsample, 0, rows)
        i = np.minimum(u.astype(int), columns - 1)
        j = np.minimum(v.astype(int), rows - 1)
        fu, fv = u - i, v - j
        upper = integral[j, i] * (1 - fu) + integral[j, i + 1] * fu
        lower = integral[j + 1, i] * (1 - fu) + integral[j + 1, i + 1] * fu
        area: NDArray[np.float64] = upper * (1 - fv) + lower * fv
        return area


def tissue_mask(reader: SlideReader, mpp: float | None = None) -> TissueMask:
    """The tissue of a slide, with a margin of 40 µm so that no nucleus is missed.

    Glass is bright, hardly tinted and smooth. Tissue is denser or more tinted than the glass of the same
    slide, in optical density. If almost nothing looks like glass (a field within tissue, a dim camera),
    everything is tissue; an empty slide has none. Fill, pen ink and burnt-in text are never tissue (see
    ``areas``).

    mpp : µm per full-resolution pixel, by default the file's; 0.25 is assumed if it is unknown.
    A sample of the mask is about 8 µm; the longer side has 256 to 2048 of them. The masks of the last few
    slides are kept, because training asks for one at every tile.
    """
    known = mpp or (reader.mpp[0] if reader.mpp else 0.25)
    state = reader.path.stat()
    shown = (reader.series, reader.view, reader.view.frame)
    key = (str(reader.path.absolute()), shown, state.st_size, state.st_mtime_ns, known)
    with _LOCK:
        mask = _RECENT.pop(key, None)
    if mask is None:
        mask = _tissue_mask(reader, known)
    with _LOCK:
        _RECENT[key] = mask
        while len(_RECENT) > _KEPT:
            del _RECENT[next(iter(_RECENT))]
    return mask


def tissue_samples(mask: TissueMask, mpp: float) -> NDArray[np.bool_]:
    """The tissue of a mask without its margin, to measure areas: bool (rows, columns).

    Gaps narrower than 80 µm, twice the margin, count as tissue. ``mpp``: as for ``tissue_mask``.
    """
    dense = mask.tissue if mask.dense is None else mask.dense
    disc = _margin(mpp * mask.downsample)
    reach = len(disc) // 2
    # Closing by hand, with room around: the image's edges and what is left out are no tissue to widen from.
    around = cv2.copyMakeBorder(dense.astype(np.uint8), *(reach,) * 4, cv2.BORDER_CONSTANT, value=0)
    closed = cv2.erode(cv2.dilate(around, disc), disc)[reach:-reach, reach:-reach]
    return np.asarray((closed > 0) & mask.tissue, bool)


def _margin(um: float) -> NDArray[np.uint8]:
    """The disc by which tissue is widened; ``um``: µm per sample."""
    reach = max(2, round(_SAFETY_MICRONS / um))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(disc, np.uint8)


def _tissue_mask(reader: SlideReader, known: float) -> TissueMask:
    longest = max(reader.width, reader.height)
    downsample = min(_MICRONS_PER_SAMPLE / known, longest / _SMALLEST_SIDE)
    downsample = max(1.0, round(downsample), longest / _LARGEST_SIDE)
    columns = int(np.ceil(reader.width / downsample))
    rows = int(np.ceil(reader.height / downsample))
    image = reader.read_grid(0, 0, columns, rows, downsample)
    um = known * downsample
    fill = find_fill(image, um)
    ink = find_ink(image, um, fill.samples)
    part = picture_within(reader, _without_marks(image, fill.samples | ink.samples), downsample)
    beyond, across = _margin_samples(part, (columns, rows), downsample)
    if part is not None:
        within = find_ink(image, um, fill.samples | beyond | across)
        ink = Area(within.samples | (ink.samples & beyond), within.voids)
    areas = {"fill": Area(fill.samples | (beyond & ~ink.samples), fill.voids), "ink": ink}
    if longest <= _TEXT_SIDE and downsample == int(downsample):
        whole = _without_margin(reader.read_grid(0, 0, reader.width, reader.height, 1.0), part)
        areas["text"] = find_text(whole, int(downsample), (rows, columns))
    excluded = np.logical_or.reduce([area.samples for area in areas.values()])
    if (excluded | across).any():
        image = _continued(image, excluded | across)
    tissue = _denser_than_glass(image) & ~excluded
    wide = (cv2.dilate(tissue.astype(np.uint8), _margin(um)) > 0) & ~excluded
    voids = tuple(void for area in areas.values() for void in area.voids)
    shares = {name: area.share for name, area in areas.items() if area.samples.any()}
    return TissueMask(wide, downsample, voids, shares, tissue, part)


def _without_marks(image: NDArray[np.uint8], marks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """An image whose marks have the colour of its edges; marks that reach an edge stay.

    Someone may have drawn on the margin around a picture, which then has more than one colour.
    """
    if not marks.any():
        return image
    blurred = cv2.dilate(marks.astype(np.uint8), np.ones((5, 5), np.uint8))
    parts = np.asarray(cv2.connectedComponents(blurred)[1])
    frame = np.ones(marks.shape, bool)
    frame[1:-1, 1:-1] = False
    inside = (parts > 0) & ~np.isin(parts, parts[frame])
    painted = image.copy()
    painted[inside] = np.median(image[frame], axis=0).astype(np.uint8)
    return painted


def _margin_samples(
    part: Rectangle | None, size: tuple[int, int], downsample: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Samples in the margin around a part of an image, and those across its edge; bool (rows, columns)."""
    beyond = np.zeros(size[::-1], bool)
    across = beyond.copy()
    if part is not None:
        inner = samples_within(part, size, downsample)
        outer = Rectangle(
            *(max(0, int(np.floor(edge / downsample + 1e-6))) for edge in part[:2]),
            *(int(np.ceil(edge / downsample - 1e-6)) for edge in part[2:]),
        )
        beyond[:] = across[outer.y0 : outer.y1, outer.x0 : outer.x1] = True
        beyond[outer.y0 : outer.y1, outer.x0 : outer.x1] = False
        across[inner.y0 : inner.y1, inner.x0 : inner.x1] = False
    return beyond, across


def _without_margin(image: NDArray[np.uint8], part: Rectangle | None) -> NDArray[np.uint8]:
    """An image at full resolution whose margin repeats the outermost pixels of the part within."""
    if part is None:
        return image
    rows, columns = image.shape[:2]
    inner = samples_within(part, (columns, rows), 1.0)
    return np.pad(
        image[inner.y0 : inner.y1, inner.x0 : inner.x1],
        ((inner.y0, rows - inner.y1), (inner.x0, columns - inner.x1), (0, 0)),
        mode="edge",
    )


def _continued(image: NDArray[np.uint8], excluded: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The image with each excluded sample replaced by the nearest other one, as beyond an image's edge."""
    if excluded.all():
        return np.full_like(image, 255)
    _, nearest = cv2.distanceTransformWithLabels(
        excluded.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colour_of = np.zeros((int(nearest.max()) + 1, 3), np.uint8)
    colour_of[nearest[~excluded]] = image[~excluded]
    return np.asarray(colour_of[nearest], np.uint8)


def _denser_than_glass(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tissue without its margin: bool (rows, columns) of an 8-bit RGB image."""
    smooth = cv2.blur(image, (3, 3), borderType=cv2.BORDER_REPLICATE).astype(np.float32)
    density = -np.log10((smooth + 1) / 256)
    tint = density.max(axis=2) - density.min(axis=2)
    grey = image.astype(np.float32).mean(axis=2)
    mean = cv2.blur(grey, (5, 5), borderType=cv2.BORDER_REPLICATE)
    variance = cv2.blur(grey * grey, (5, 5), borderType=cv2.BORDER_REPLICATE) - mean * mean
    glass = (
        (smooth.min(axis=2) >= _GLASS_BRIGHTNESS) & (tint <= _GLASS_TINT) & (variance <= _GLASS_ROUGHNESS**2)
    )
    if glass.mean() < _GLASS_SHARE:
        return np.ones(glass.shape, bool)
    brightness = smooth.mean(axis=2)
    clear = glass & (brightness >= np.quantile(brightness[glass], 0.5))
    density = density - np.median(density[clear], axis=0)
    tinted = density.max(axis=2) - density.min(axis=2) > _TISSUE_TINT
    dense = density.mean(axis=2) > _TISSUE_DENSITY
    specks_removed = cv2.morphologyEx(
        (tinted | dense).astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)
    )
    return specks_removed > 0
