"""Slides in TIFF files: SVS, SCN, OME-TIFF and other pyramids, tiled or in strips, through tifffile.

Levels are found among the file's own pages. tiffslide reads the vendor's metadata: pixel size, and how the
scanned areas of a Leica SCN lie on its canvas.
"""

from __future__ import annotations

import itertools
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from ..core.errors import SlideError
from ..core.lazy import lazy
from .levels import level_step
from .orientation import orientation_note, tiff_orientation
from .pixel_size import stated_mpp
from .samples import TRANSPARENT, SampleFormat, bits_used, notes_on, range_of_inverted
from .source import Stored, planes_note, whiten
from .tiles import check_complete, missing_tiles, tile_size, watch

if TYPE_CHECKING:
    import tiffslide
    import zarr
else:
    tiffslide = lazy("tiffslide")
    zarr = lazy("zarr")

# tifffile logs oddities of a file; those that matter are raised as exceptions.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_APERIO_YCBCR = 33003
_RAW_COLOURS = (1, 5, 8, 32773, 32946, 33003, 33004, 33005, 34712, 34925, 50000)
"""Compressions whose decoders return samples as stored; those of JPEG, WebP and JPEG XL return RGB."""
_LOOKED_AT = 4_000_000
_STRIPS = 8
_WINDOW = 512
"""Side of the windows of full resolution in which the darkest samples are looked for."""
_THUMBNAIL = 4
"""An image of so many times the pixels of the first is probably the slide, and the first its thumbnail."""
_MOST_PAGES = 64
"""Pages among which levels are looked for: pyramids come first, and stacks have thousands."""
_MACRO = 9


class OverlappingTilesError(Exception):
    """A file whose tiles overlap (Ventana BIF) and must be stitched."""


@dataclass(frozen=True)
class _Part:
    """A scanned area: its levels, and the (x, y) of its corner on the canvas at each of them."""

    levels: list[tifffile.TiffPageSeries]
    corners: list[tuple[int, int]]


class TiffSource:
    """One image of a TIFF file.

    Missing tiles and strips (without bytes, as scanners write them for plain glass) and the canvas between
    the scanned areas of an SCN are white.

    series : index of the image as the file counts them; the canvas of all areas, for 0 of an SCN.
    apart  : do not compose the areas of an SCN, as Bio-Formats does not.
    """

    reader = "tifffile"
    absent = ""

    def __init__(self, path: Path, series: int, apart: bool = False) -> None:
        self._path = path
        self._tiff, properties = _opened(path)
        try:
            if self._tiff.is_bif:
                raise OverlappingTilesError
            found = self._tiff.series
            if series >= len(found):
                raise SlideError(path, f"has no image number {series + 1}, only {len(found)}")
            layout = properties.get("tiffslide.series-composition") if series == 0 and not apart else None
            self.bounds: tuple[int, int, int, int] | None = None
            if layout:
                series = int(properties["tiffslide.series-index"])
                self._parts = _composed(found, layout["located_series"])
                sizes = [(int(shape[1]), int(shape[0])) for shape in layout["level_shapes"]]
                self.levels = [
                    Stored(size, shift=_off_the_grid(self._parts, number, level_step(sizes[0], size)))
                    for number, size in enumerate(sizes)
                ]
                ends = [properties[f"tiffslide.bounds-{name}"] for name in ("x", "y", "width", "height")]
                self.bounds = (int(ends[0]), int(ends[1]), int(ends[2]), int(ends[3]))
            else:
                levels = [*found[series].levels, *_further_levels(self._tiff, series)]
                self._parts = [_Part(levels, [(0, 0)] * len(levels))]
                self.levels = [Stored(_extent(level), _tile(level)) for level in levels]
            self._arrays: dict[tuple[int, int], Any] = {}
            self._missing: dict[tuple[int, int], NDArray[np.bool_]] = {}
            self.mpp = stated_mpp(self._tiff, series, properties)
            for level in (level for part in self._parts for level in part.levels):
                check_complete(level)
                watch(level)
            self.notes = orientation_note(tiff_orientation(self._parts[0].levels[0].keyframe))
            self.notes += () if series or layout else _larger_image(found)
            self._format = self._sample_format()
        except BaseException:
            self._tiff.close()
            raise

    def read(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
        if len(self._parts) == 1 and self.bounds is None:
            return self._read_part(0, level, x0, y0, x1, y1)
        out = np.full((y1 - y0, x1 - x0, 3), 255, np.uint8)
        for number, part in enumerate(self._parts):
            x, y = part.corners[level]
            width, height = _extent(part.levels[level])
            left, right = max(x0, x), min(x1, x + width)
            top, bottom = max(y0, y), min(y1, y + height)
            if left < right and top < bottom:
                out[top - y0 : bottom - y0, left - x0 : right - x0] = self._read_part(
                    number, level, left - x, top - y, right - x, bottom - y
                )
        return out

    def close(self) -> None:
        self._tiff.close()

    def _read_part(self, part: int, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
        stored = self._parts[part].levels[level]
        page = stored.keyframe
        form = replace(self._format, ycbcr=_is_raw_ycbcr(page))
        rgb = form.to_rgb(self._read_array(part, level, x0, y0, x1, y1))
        if (part, level) not in self._missing:
            self._missing[part, level] = missing_tiles(stored)
        whiten(rgb, self._missing[part, level], tile_size(page), x0, y0)
        return rgb

    def _read_array(self, part: int, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[Any]:
        series = self._parts[part].levels[level]
        if (part, level) not in self._arrays:
            self._arrays[part, level] = zarr.open(series.aszarr(level=0), mode="r")
        window = {"Y": slice(y0, y1), "X": slice(x0, x1), "S": slice(None), "C": slice(None)}
        axes = series.axes
        raw = np.asarray(self._arrays[part, level][tuple(window.get(axis, 0) for axis in axes)])
        kept = [axis for axis in axes if axis in window]
        order = sorted(range(len(kept)), key=lambda i: "YXSC".index(kept[i]))
        raw = raw.transpose(order)
        return raw.reshape(*raw.shape[:2], -1)

    def _sample_format(self) -> SampleFormat:
        first = self._parts[0].levels[0]
        page = first.keyframe
        sizes = dict(zip(first.axes, first.shape, strict=True))
        channels = sizes.pop("S", 1) * sizes.pop("C", 1)
        planes = int(np.prod([size for axis, size in sizes.items() if axis not in "YX"]))
        if planes > 1:
            self.notes += (planes_note(planes),)
        photometric = page.photometric
        kinds = tifffile.PHOTOMETRIC
        alphas = [tifffile.EXTRASAMPLE.UNASSALPHA, tifffile.EXTRASAMPLE.ASSOCALPHA]
        extra = page.extrasamples[0] if page.extrasamples else None
        colours = channels - len(page.extrasamples)
        known = (kinds.MINISBLACK, kinds.MINISWHITE, kinds.RGB, kinds.YCBCR)
        if photometric not in known or colours not in (1, 3):
            raise SlideError(
                self._path,
                f"has {channels} channel(s) of kind {getattr(photometric, 'name', photometric)}, "
                "which is neither RGB nor grey",
                "Export it as an RGB OME-TIFF",
            )
        low, high = self._value_range(page, colours)
        alpha = extra in alphas
        if alpha and not self._largest_sample(slice(colours, colours + 1)):
            alpha = False
            self.notes += (TRANSPARENT,)
        return SampleFormat(
            low=low,
            high=high,
            inverted=photometric == kinds.MINISWHITE,
            alpha=alpha,
            premultiplied=extra == tifffile.EXTRASAMPLE.ASSOCALPHA,
        )

    def _value_range(self, page: tifffile.TiffPage, colours: int) -> tuple[float, float]:
        if page.dtype == np.uint8 and page.bitspersample == 8:
            return 0.0, 255.0
        stated = [page.tags.valueof(name) for name in ("SMinSampleValue", "SMaxSampleValue")]
        if all(value is not None for value in stated):
            # One range for all channels: their own (the least and largest samples of each) would cut others.
            low, high = float(np.min(stated[0])), float(np.max(stated[1]))
            if high > low:
                return low, high
        if page.dtype is None or page.dtype.kind not in "ub":
            raise SlideError(
                self._path, f"has {page.dtype} pixels without a stated range", "Export it as 8-bit RGB"
            )
        bits = page.bitspersample
        if bits in (16, 32, 64) and page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            low, high, notes = range_of_inverted(*self._least_and_largest(colours), bits)
            self.notes += notes
            return low, high
        if bits in (16, 32, 64):
            largest = self._largest_sample(slice(colours))
            self.notes += notes_on(largest, bits)
            bits = bits_used(largest) if largest < 2**16 else bits
        return 0.0, float(2**bits - 1)

    def _largest_sample(self, channels: slice) -> int:
        """The largest of some samples of these channels: of the coarsest level, or of strips all over it."""
        return max(int(strip[..., channels].max(initial=0)) for _, strip in self._strips())

    def _least_and_largest(self, colours: int) -> tuple[int, int]:
        """The least of these samples, and the largest at full resolution, looked for where a level has it."""
        least, largest = [], []
        width, height = self.levels[0].size
        for y, strip in self._strips():
            samples = strip[..., :colours]
            least.append(int(samples.min()))
            largest.append(int(samples.max()))
            row, column, _ = np.unravel_index(samples.argmax(), samples.shape)
            step = width / strip.shape[1]
            left, top = (
                max(0, min(int(at * step) - _WINDOW // 2, length - _WINDOW))
                for at, length in ((column, width), (y + row, height))
            )
            right, bottom = min(left + _WINDOW, width), min(top + _WINDOW, height)
            largest.append(int(self._read_array(0, 0, left, top, right, bottom)[..., :colours].max()))
        return min(least), max(largest)

    def _strips(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """The coarsest level, or strips all over it, with the row at which each begins."""
        levels = self._parts[0].levels
        level = len(levels) - 1
        width, height = _extent(levels[level])
        rows = max(1, min(height, _LOOKED_AT // width // _STRIPS))
        starts = np.unique(np.linspace(0, height - rows, _STRIPS).round().astype(int)).tolist()
        return ((y, self._read_array(0, level, 0, y, width, y + rows)) for y in starts)


def _opened(path: Path) -> tuple[tifffile.TiffFile, Mapping[str, Any]]:
    """The file, and its metadata by tiffslide's names: {} for a layout that tiffslide does not know."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        slide = tiffslide.TiffSlide(path)
        try:
            return slide.ts_tifffile, slide.properties
        except NotImplementedError:
            return slide.ts_tifffile, {}
        except (ZeroDivisionError, AttributeError):  # on resolutions per 0, and per units of its own
            if slide.ts_tifffile.is_scn:
                raise
            return slide.ts_tifffile, {}
        except BaseException:
            slide.close()
            raise


def _composed(found: list[tifffile.TiffPageSeries], located: Mapping[Any, Any]) -> list[_Part]:
    """The scanned areas of an SCN. tiffslide gives corners as (y, x, 0), in pixels of each level."""
    return [
        _Part(list(found[int(series)].levels), [(int(x), int(y)) for y, x, _ in corners])
        for series, corners in located.items()
    ]


def _off_the_grid(parts: list[_Part], level: int, step: float | None) -> float:
    """How far corners are from their place at a level, as they are rounded to its pixels."""
    return max(
        abs(ends[axis] / (step or 1.0) - at[axis])
        for part in parts
        for ends, at in [(part.corners[0], part.corners[level])]
        for axis in (0, 1)
    )


def _further_levels(tiff: tifffile.TiffFile, series: int) -> list[tifffile.TiffPageSeries]:
    """Levels of the first image that tifffile does not count among them.

    It groups pages only if each level is the same small fraction of the one before. Candidates are tiled
    pages of the same kind; whether they are levels of this image, their sizes and pixels must show.
    """
    base = tiff.series[0]
    page = base.keyframe
    if series or tiff.is_ome or tiff.is_ndpi or "C" in base.axes:
        return []
    known = {one.offset for level in base.levels for one in level.pages if one is not None}
    found = []
    for one in _pages(tiff, page):
        marked = one.is_reduced or one.is_subifd
        fits = one.is_tiled if tiff.is_svs else marked or (one.is_tiled and not tiff.is_shaped)
        if not fits or one.offset in known or one.subfiletype == _MACRO:
            continue
        if one.dtype != page.dtype or one.axes != page.axes or one.samplesperpixel != page.samplesperpixel:
            continue
        known.add(one.offset)
        found.append(tifffile.TiffPageSeries([one], one.shape, one.dtype, one.axes, kind="page"))
    return found


def _pages(tiff: tifffile.TiffFile, first: tifffile.TiffPage) -> Iterator[tifffile.TiffPage]:
    for number in range(min(_MOST_PAGES, len(tiff.pages))):
        page = tiff.pages[number]
        # In a stack, tifffile keeps of all but the first page where its pixels are, not what they are.
        yield page if isinstance(page, tifffile.TiffPage) else page.aspage()
    if first.pages is not None:
        yield from itertools.islice(first.pages, _MOST_PAGES)


def _extent(level: tifffile.TiffPageSeries) -> tuple[int, int]:
    return int(level.shape[level.axes.index("X")]), int(level.shape[level.axes.index("Y")])


def _larger_image(found: list[tifffile.TiffPageSeries]) -> tuple[str, ...]:
    """What to report of a file whose first image is small beside another one, as a thumbnail is."""
    sizes = [_extent(one) if {"X", "Y"} <= set(one.axes) else (0, 0) for one in found]
    areas = [width * height for width, height in sizes]
    largest = areas.index(max(areas))
    if areas[largest] < _THUMBNAIL * areas[0]:
        return ()
    (width, height), (x, y) = sizes[0], sizes[largest]
    return (
        f"is read in its first image ({width} x {height} px), though image {largest + 1} of the file is "
        f"larger ({x} x {y} px): if that is the slide, export it as a file of its own",
    )


def _tile(level: tifffile.TiffPageSeries) -> tuple[int, int] | None:
    page = level.keyframe
    return tile_size(page) if page.is_tiled else None


def _is_raw_ycbcr(page: tifffile.TiffPage) -> bool:
    return page.compression == _APERIO_YCBCR or (
        page.photometric == tifffile.PHOTOMETRIC.YCBCR and page.compression in _RAW_COLOURS
    )
