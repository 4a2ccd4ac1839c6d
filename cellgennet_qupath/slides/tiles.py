"""Tiles and strips of a TIFF as they are stored: which are missing, and which are damaged."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from ..core.errors import SlideError
from .encoded import check_jpeg, check_jpeg2000, check_webp
from .source import RE_EXPORT

_JPEG = (7, 33007)
_JPEG2000 = (33003, 33004, 33005, 34712)
_WEBP = (34927, 50001)
"""Compressions by their numbers in a TIFF."""


def watch(level: tifffile.TiffPageSeries) -> None:
    """Let a level's tiles raise DamagedTileError where they are known to be damaged, though they decode."""
    page = level.keyframe
    if page.jpegheader is not None:  # of NDPI, whose tiles are parts of one JPEG
        return
    decode: Callable[..., Any] = page.decode

    def watched(data: bytes | None, index: int, **options: Any) -> Any:
        if data is not None and page.compression in _JPEG:
            tables = options.get("jpegtables") or b""
            check_jpeg(data, lambda other: np.asarray(decode(other, index, **options)[0]), tables)
        elif data is not None and page.compression in _JPEG2000:
            check_jpeg2000(data)
        elif data is not None and page.compression in _WEBP:
            check_webp(data)
        return decode(data, index, **options)

    # The place where tifffile keeps the decoder of a page.
    page.__dict__["decode"] = watched


def check_complete(level: tifffile.TiffPageSeries) -> None:
    """Raise SlideError if pixels of a level's first plane are not in the file, or in those that it names."""
    pages = _first_plane(level)
    file = level.keyframe.parent.filehandle
    for page in pages or [level.keyframe]:
        if page is None:
            raise SlideError(
                file.path,
                "lacks pixels: its metadata names pages, or other files, that are not there",
                "Put the files that belong together into one folder, or export it again",
            )
        ends = (
            offset + count
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False)
            if offset and count
        )
        own = page.parent.filehandle
        if max(ends, default=0) > own.size:
            which = "" if own.path == file.path else f" {own.name}"
            raise SlideError(
                file.path, f"is truncated: pixels are missing at the end of the file{which}", RE_EXPORT
            )


def missing_tiles(level: tifffile.TiffPageSeries) -> NDArray[np.bool_]:
    """Which tiles or strips of a level's first plane have no bytes, in any channel: (down, across)."""
    page = level.keyframe
    width, height = tile_size(page)
    down, across = -(-page.imagelength // height), -(-page.imagewidth // width)
    planes = page.samplesperpixel if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE else 1
    missing = np.zeros((down, across), bool)
    for one in _first_plane(level) or [page]:
        if one is not None:
            stored = np.zeros((2, planes * down * across), bool)
            for part, numbers in zip(stored, (one.dataoffsets, one.databytecounts), strict=True):
                known = np.asarray(numbers[: part.size], np.int64) > 0
                part[: known.size] = known
            missing |= (~stored.all(axis=0)).reshape(planes, down, across).any(axis=0)
    return missing


def tile_size(page: tifffile.TiffPage) -> tuple[int, int]:
    """(width, height) of a page's tiles or strips."""
    if page.is_tiled:
        return int(page.tilewidth), int(page.tilelength)
    return int(page.imagewidth), int(min(page.rowsperstrip, page.imagelength))


def _first_plane(level: tifffile.TiffPageSeries) -> list[tifffile.TiffPage | tifffile.TiffFrame | None]:
    """The pages with the channels of the first plane, None for one that is not there."""
    pages = list(level.pages)
    outer = level.shape[: len(level.shape) - len(level.keyframe.shape)]
    if len(pages) != math.prod(outer):  # in one piece, as ImageJ writes large stacks
        return []
    number = np.arange(len(pages)).reshape(outer)
    first = number[tuple(slice(None) if axis == "C" else 0 for axis in level.axes[: len(outer)])]
    return [pages[at] for at in np.ravel(first).tolist()]
