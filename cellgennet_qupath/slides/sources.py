"""Sources of pixels: TIFF pyramids through tiffslide, other TIFFs, and plain images.

Every source returns 8-bit RGB. Other pixels are converted in one way everywhere:

- grey becomes three equal channels; "white is zero" is inverted;
- alpha is composited over white; other extra samples are ignored;
- YCbCr that a decoder leaves as it is (JPEG 2000 of Aperio, 33003) becomes RGB;
- 8-bit samples are taken as they are, whatever range the file states;
- other integers are scaled to 0..255 from a fixed range: the file's SMinSampleValue and SMaxSampleValue
  if stated, else the bits that its samples use: 10, 12 or 14 bits in 16 are recognised from the largest
  sample. Floating-point pixels need a stated range.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import tifffile
import tiffslide
import zarr
from numpy.typing import NDArray

from ..core.errors import SlideError
from .pixel_size import stated_mpp

# tifffile logs oddities of a file; those that matter are raised as exceptions.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_APERIO_YCBCR = 33003
_RAW_COLOURS = (1, 5, 8, 32773, 32946, 33003, 33004, 33005, 34712, 34925, 50000)
"""Compressions whose decoders return samples as stored; those of JPEG, WebP and JPEG XL return RGB."""
_BIT_DEPTHS = (10, 12, 14, 16)
_LOOKED_AT = 4_000_000
_STRIPS = 8
_RE_EXPORT = "Copy it again from its source, or export it again"


_AS_OME_TIFF = "Export it from QuPath as OME-TIFF (File > Export images) and add that file to the project"


class Source(Protocol):
    """The levels of an image.

    sizes : (width, height) of each level, the largest first.
    mpp   : (x, y) µm per pixel as the file states it, plausible or not.
    """

    sizes: list[tuple[int, int]]
    mpp: tuple[float, float] | None
    properties: Mapping[str, object]

    def read(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
        """Pixels [x0, x1) x [y0, y1) of a level, all inside it: (rows, columns, 3)."""

    def close(self) -> None:
        """Close the file."""


@dataclass(frozen=True)
class SampleFormat:
    """How stored samples become 8-bit RGB (see the module's docstring)."""

    low: float = 0.0
    high: float = 255.0
    inverted: bool = False
    alpha: bool = False
    premultiplied: bool = False
    ycbcr: bool = False

    def to_rgb(self, raw: NDArray[Any]) -> NDArray[np.uint8]:
        """8-bit RGB (rows, columns, 3) from stored samples (rows, columns) or (rows, columns, channels)."""
        pixels = raw[..., None] if raw.ndim == 2 else raw
        if pixels.dtype != np.uint8 or (self.low, self.high) != (0.0, 255.0):
            scaled = (pixels.astype(np.float32) - self.low) * (255.0 / (self.high - self.low))
            pixels = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
        colours = 3 if pixels.shape[2] >= 3 else 1
        rgb = pixels[..., :colours]
        if self.ycbcr and colours == 3:
            rgb = _rgb_of_ycbcr(rgb)
        if self.inverted:
            rgb = 255 - rgb
        if self.alpha:
            opacity = pixels[..., colours : colours + 1].astype(np.float32) / 255
            own = rgb if self.premultiplied else rgb * opacity
            rgb = np.clip(np.rint(own + 255 * (1 - opacity)), 0, 255).astype(np.uint8)
        return np.repeat(rgb, 3, axis=2) if colours == 1 else np.ascontiguousarray(rgb)


def _rgb_of_ycbcr(ycbcr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB of 8-bit YCbCr (..., 3) in the full range of JFIF (ITU-R BT.601), rounded."""
    y, cb, cr = (ycbcr[..., channel].astype(np.float32) for channel in range(3))
    cb, cr = cb - 128, cr - 128
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=-1)
    rounded: NDArray[np.uint8] = np.clip(np.rint(rgb), 0, 255).astype(np.uint8)
    return rounded


def bits_used(largest: int) -> int:
    """Bits per sample of a camera's picture in 16-bit integers, from its largest sample: 10, 12, 14 or 16.

    Less than 10 count as 16, so that a dark picture is not taken for a bright one.
    """
    if largest < 2**8:
        return 16
    return next(bits for bits in _BIT_DEPTHS if largest < 2**bits)


class TiffSource:
    """One image of a TIFF file: an SVS, an OME-TIFF or another pyramid, tiled or in strips.

    Missing tiles (without bytes, as scanners write them for plain glass) are white.
    """

    def __init__(self, path: Path, series: int) -> None:
        self._path = path
        self._slide = _Slide.open_or_none(path) if series == 0 else None
        self._tiff = self._slide.ts_tifffile if self._slide else tifffile.TiffFile(path)
        try:
            if series >= len(self._tiff.series):
                raise SlideError(path, f"has no image number {series + 1}, only {len(self._tiff.series)}")
            if self._slide:
                series = self._slide.properties["tiffslide.series-index"]
            self._levels = self._tiff.series[series].levels
            self._arrays: dict[int, Any] = {}
            self.properties: Mapping[str, object] = self._slide.properties if self._slide else {}
            self.mpp = stated_mpp(self._tiff, series, self.properties)
            self._axes = self._levels[0].axes
            self._check_complete()
            self._format = self._sample_format()
            self.sizes = (
                list(self._slide.level_dimensions)
                if self._slide
                else [self._extent(level.shape) for level in self._levels]
            )
        except BaseException:
            self._tiff.close()
            raise

    def read(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
        if self._slide:
            raw = self._slide.read_region((x0, y0), level, (x1 - x0, y1 - y0), as_array=True, padding=False)
        else:
            raw = self._read_array(level, x0, y0, x1, y1)
        rgb = self._format.to_rgb(raw)
        self._whiten_missing(rgb, level, x0, y0)
        return rgb

    def close(self) -> None:
        self._tiff.close()

    def _extent(self, shape: tuple[int, ...]) -> tuple[int, int]:
        return shape[self._axes.index("X")], shape[self._axes.index("Y")]

    def _check_complete(self) -> None:
        for page in self._pages():
            end = max((o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)), default=0)
            if end > self._path.stat().st_size:
                raise SlideError(
                    self._path, "is truncated: pixels are missing at the end of the file", _RE_EXPORT
                )

    def _pages(self) -> list[tifffile.TiffPage]:
        return [level.keyframe for level in self._levels]

    def _sample_format(self) -> SampleFormat:
        page = self._levels[0].keyframe
        sizes = dict(zip(self._axes, self._levels[0].shape, strict=True))
        channels = sizes.pop("S", 1) * sizes.pop("C", 1)
        if any(size > 1 for axis, size in sizes.items() if axis not in "YX"):
            raise SlideError(
                self._path, f"is a stack of images (axes {self._axes})", "Export one plane of it as OME-TIFF"
            )
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
        low, high = self._value_range(page)
        return SampleFormat(
            low=low,
            high=high,
            inverted=photometric == kinds.MINISWHITE,
            alpha=extra in alphas,
            premultiplied=extra == tifffile.EXTRASAMPLE.ASSOCALPHA,
            ycbcr=page.compression == _APERIO_YCBCR
            or (photometric == kinds.YCBCR and page.compression in _RAW_COLOURS),
        )

    def _value_range(self, page: tifffile.TiffPage) -> tuple[float, float]:
        if page.dtype == np.uint8 and page.bitspersample == 8:
            return 0.0, 255.0
        stated = [page.tags.valueof(name) for name in ("SMinSampleValue", "SMaxSampleValue")]
        ends = [float(np.asarray(v).ravel()[0]) for v in stated if v is not None]
        if len(ends) == 2 and ends[1] > ends[0]:
            return ends[0], ends[1]
        if page.dtype is None or page.dtype.kind not in "ub":
            raise SlideError(
                self._path, f"has {page.dtype} pixels without a stated range", "Export it as 8-bit RGB"
            )
        bits = page.bitspersample
        if bits == 16:
            bits = bits_used(self._largest_sample())
        return 0.0, float(2**bits - 1)

    def _largest_sample(self) -> int:
        """The largest of some samples: the coarsest level if it is small, else strips over all of level 0."""
        level = len(self._levels) - 1
        width, height = self._extent(self._levels[level].shape)
        rows = max(1, min(height, _LOOKED_AT // width // _STRIPS))
        starts = np.unique(np.linspace(0, height - rows, _STRIPS).round().astype(int)).tolist()
        return max(int(self._read_array(level, 0, y, width, y + rows).max(initial=0)) for y in starts)

    def _read_array(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[Any]:
        if level not in self._arrays:
            self._arrays[level] = zarr.open(self._levels[level].aszarr(level=0), mode="r")
        window = {"Y": slice(y0, y1), "X": slice(x0, x1), "S": slice(None), "C": slice(None)}
        raw = np.asarray(self._arrays[level][tuple(window.get(axis, 0) for axis in self._axes)])
        kept = [axis for axis in self._axes if axis in window]
        order = sorted(range(len(kept)), key=lambda i: "YXSC".index(kept[i]))
        raw = raw.transpose(order)
        return raw.reshape(*raw.shape[:2], -1)

    def _whiten_missing(self, rgb: NDArray[np.uint8], level: int, x0: int, y0: int) -> None:
        if level >= len(self._levels):
            return
        page = self._levels[level].keyframe
        if not page.is_tiled or all(page.databytecounts):
            return
        tile_w, tile_h = page.tilewidth, page.tilelength
        across = -(-page.imagewidth // tile_w)
        down = -(-page.imagelength // tile_h)
        for number, count in enumerate(page.databytecounts[: across * down]):
            if count == 0:
                top, left = (number // across) * tile_h - y0, (number % across) * tile_w - x0
                rgb[max(0, top) : max(0, top + tile_h), max(0, left) : max(0, left + tile_w)] = 255


class PictureSource:
    """A PNG, JPEG, BMP or WebP picture, whole in memory; it states no pixel size to believe."""

    mpp: tuple[float, float] | None = None

    def __init__(self, path: Path) -> None:
        data = np.fromfile(path, np.uint8)
        if bytes(data[:2]) == b"\xff\xd8" and b"\xff\xd9" not in bytes(data[-4096:]):
            raise SlideError(path, "is truncated: the JPEG has no end", _RE_EXPORT)
        try:
            raw = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        except cv2.error as error:
            raise SlideError(path, f"cannot be decoded ({error.err})", _RE_EXPORT) from error
        if raw is None:
            raise SlideError(
                path,
                "is not an image that can be read, or is damaged",
                "Export it as OME-TIFF (QuPath: File > Export images)",
            )
        pixels = raw[..., None] if raw.ndim == 2 else raw
        channels = pixels.shape[2]
        if channels >= 3:
            pixels = np.concatenate([pixels[..., 2::-1], pixels[..., 3:]], axis=2)
        if raw.dtype.kind != "u":
            raise SlideError(path, f"has {raw.dtype} pixels", "Export it as 8-bit RGB")
        bits = 8 if raw.dtype == np.uint8 else bits_used(int(pixels[..., :3].max(initial=0)))
        form = SampleFormat(high=float(2**bits - 1), alpha=channels in (2, 4) and bits in (8, 16))
        self._pixels = form.to_rgb(pixels)
        self.sizes = [(self._pixels.shape[1], self._pixels.shape[0])]
        self.properties: Mapping[str, object] = {}

    def read(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
        return self._pixels[y0:y1, x0:x1]

    def close(self) -> None:
        self._pixels = self._pixels[:0]


def open_source(path: Path, series: int) -> Source:
    """The source for a file, chosen by its content. Raises SlideError."""
    if not path.exists():
        raise SlideError(path, "does not exist", "Check the path, or say where slides are with --slides")
    if path.is_dir():
        zarr_marks = ("zarr.json", ".zgroup", ".zattrs")
        kind = "is an OME-Zarr" if any((path / mark).exists() for mark in zarr_marks) else "is a folder"
        raise SlideError(path, f"{kind}, which cannot be opened as a slide", _AS_OME_TIFF)
    try:
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(128)
            if file.read(4) == b"DICM":
                raise SlideError(path, "is a DICOM file, which cannot be opened as a slide", _AS_OME_TIFF)
        if not start:
            raise SlideError(path, "is empty", _RE_EXPORT)
        if start in _TIFF_STARTS:
            return TiffSource(path, series)
        if series:
            raise SlideError(path, f"has no image number {series + 1}")
        return PictureSource(path)
    except OSError as error:
        raise SlideError(
            path, f"cannot be opened ({error.strerror or error})", "Check that it is a readable file"
        ) from error
    except SlideError:
        raise
    except Exception as error:
        # Readers of foreign formats raise whatever a damaged file makes them stumble over.
        raise SlideError(path, f"is damaged or no TIFF that can be read ({_brief(error)})", _RE_EXPORT) from (
            error
        )


class _Slide(tiffslide.TiffSlide):  # type: ignore[misc]
    """A TiffSlide whose ``read_region`` takes places in pixels of the level itself.

    In full-resolution pixels, as by default, a place is rounded where levels do not divide evenly.
    """

    def _read_region_loc_transform(self, location: tuple[int, int], level: int) -> tuple[int, int]:
        return location

    @classmethod
    def open_or_none(cls, path: Path) -> _Slide | None:
        """The slide, or None where tiffslide does not know its layout."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            slide = cls(path)
            try:
                slide.properties  # noqa: B018 (parsed here, so that what it cannot parse shows here)
            except NotImplementedError:
                slide.close()
                return None
            except BaseException:
                slide.close()
                raise
        return slide


def _brief(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0][:120] if text else type(error).__name__
