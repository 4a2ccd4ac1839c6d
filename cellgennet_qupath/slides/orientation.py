"""The orientation that an image file states: slide readers leave pixels as stored, some viewers do not."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.lazy import lazy

if TYPE_CHECKING:
    import tifffile
else:
    tifffile = lazy("tifffile")

UPRIGHT = 1
_TAG = 274
_WORDS = {
    2: "mirrored",
    3: "turned by 180°",
    4: "upside down and mirrored",
    5: "turned by 90° and mirrored",
    6: "turned by 90°",
    7: "turned by 90° and mirrored",
    8: "turned by 90°",
}
_EXIF = ((b"\xff\xd8", b"Exif\0\0", 0), (b"\x89PNG", b"eXIf", 0), (b"RIFF", b"EXIF", 4))
"""How pictures begin, what precedes their Exif, and the bytes between."""


def orientation_of(path: Path) -> int:
    """The orientation that a file states, 1 to 8 as TIFF and Exif count; 1 also where it states none."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
            if any(start.startswith(mark) for mark, _, _ in _EXIF):
                return exif_orientation(start + file.read())
        return _stated(path)
    except OSError:
        return UPRIGHT


def exif_orientation(content: bytes) -> int:
    """The same of the content of a JPEG, PNG or WebP."""
    for start, mark, between in _EXIF:
        at = content.find(mark) if content.startswith(start) else -1
        if at >= 0:
            # Exif has the structure of a TIFF without an image.
            return _stated(io.BytesIO(content[at + len(mark) + between :]))
    return UPRIGHT


def tiff_orientation(page: tifffile.TiffPage) -> int:
    """The same of a page of a TIFF."""
    value = page.tags.valueof(_TAG, UPRIGHT)
    return value if value in _WORDS else UPRIGHT


def orientation_note(orientation: int) -> tuple[str, ...]:
    """What to report of an image that states this orientation, in words that follow its name."""
    if orientation not in _WORDS:
        return ()
    return (
        f"is read as stored, as in QuPath: viewers that apply its orientation tag show it "
        f"{_WORDS[orientation]}",
    )


def _stated(file: Path | io.BytesIO) -> int:
    try:
        with tifffile.TiffFile(file) as tiff:
            return tiff_orientation(tiff.pages.first)
    except OSError:
        raise
    except Exception:
        return UPRIGHT  # damaged Exif, or no TIFF: tifffile raises whatever it stumbles over
