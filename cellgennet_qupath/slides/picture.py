"""Plain pictures (PNG, JPEG, BMP, WebP) through OpenCV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..core.errors import SlideError
from .encoded import DamagedTileError, check_jpeg, check_webp
from .orientation import exif_orientation, orientation_note
from .samples import TRANSPARENT, SampleFormat, bits_used, notes_on
from .source import RE_EXPORT, Stored


class PictureSource:
    """A PNG, JPEG, BMP or WebP picture, whole in memory; it states no pixel size to believe."""

    reader = "OpenCV"
    absent = ""
    mpp = None
    bounds = None

    def __init__(self, path: Path) -> None:
        data = np.fromfile(path, np.uint8)
        if bytes(data[:2]) == b"\xff\xd8" and b"\xff\xd9" not in bytes(data[-4096:]):
            raise SlideError(path, "is truncated: the JPEG has no end", RE_EXPORT)
        try:
            raw = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        except cv2.error as error:
            raise SlideError(path, f"cannot be decoded ({error.err})", RE_EXPORT) from error
        if raw is None:
            raise SlideError(
                path,
                "is not an image that can be read, or is damaged",
                "Export it as OME-TIFF (QuPath: File > Export images)",
            )
        _check_whole(path, data.tobytes())
        pixels = raw[..., None] if raw.ndim == 2 else raw
        channels = pixels.shape[2]
        if channels >= 3:
            pixels = np.concatenate([pixels[..., 2::-1], pixels[..., 3:]], axis=2)
        if raw.dtype.kind != "u":
            raise SlideError(path, f"has {raw.dtype} pixels", "Export it as 8-bit RGB")
        largest = int(pixels[..., :3].max(initial=0))
        bits = 8 if raw.dtype == np.uint8 else bits_used(largest)
        self.notes = orientation_note(exif_orientation(data.tobytes()))
        self.notes += () if raw.dtype == np.uint8 else notes_on(largest, 16)
        alpha = channels in (2, 4) and bits in (8, 16)
        if alpha and not pixels[..., -1].any():
            alpha = False
            self.notes += (TRANSPARENT,)
        form = SampleFormat(high=float(2**bits - 1), alpha=alpha)
        self._pixels = form.to_rgb(pixels)
        self.levels = [Stored((self._pixels.shape[1], self._pixels.shape[0]))]

    def read(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
        return self._pixels[y0:y1, x0:x1]

    def close(self) -> None:
        self._pixels = self._pixels[:0]


def _decoded(data: bytes) -> NDArray[Any]:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))


def _check_whole(path: Path, data: bytes) -> None:
    """Raise SlideError if data are damaged though OpenCV decodes them."""
    try:
        if data.startswith(b"\xff\xd8"):
            check_jpeg(data, _decoded)
        check_webp(data)
    except DamagedTileError as error:
        raise SlideError(path, f"is damaged: {error}", RE_EXPORT) from error
