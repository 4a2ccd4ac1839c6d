"""DICOM whole-slide images through wsidicom: one series in one folder, with a file for each level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import SlideError
from .samples import SampleFormat, bits_used, notes_on
from .source import AS_OME_TIFF, Stored, planes_note

_LOOKED_AT = 2000
"""Pixels along each side of the coarsest level from which the bits that samples use are told."""
MARK = (128, b"DICM")
"""Where a DICOM file holds which bytes."""


class DicomSource:
    """The pyramid to which a DICOM file belongs, whichever of its levels the file holds.

    Raises SlideError where the file is not part of a slide (a microscopy series of tiled images).
    """

    reader = "wsidicom"
    bounds = None

    def __init__(self, path: Path) -> None:
        from wsidicom import WsiDicom
        from wsidicom.errors import WsiDicomError

        try:
            self._slide = WsiDicom.open(_series_of(path))
        except (WsiDicomError, ValueError, KeyError, AttributeError) as error:
            raise SlideError(
                path, f"is a DICOM file, but not of a whole slide ({error})", AS_OME_TIFF
            ) from error
        pyramid = self._slide.pyramid
        self._levels = [pyramid[number] for number in range(len(pyramid))]
        self.levels = [Stored((level.size.width, level.size.height)) for level in self._levels]
        spacing = pyramid.mpp
        self.mpp: tuple[float, float] | None = (float(spacing.width), float(spacing.height))
        planes = len(self._levels[0].focal_planes)
        self.notes: tuple[str, ...] = (planes_note(planes),) if planes > 1 else ()
        paths = len(self._levels[0].optical_paths)
        if paths > 1:
            self.notes += (f"has {paths} optical paths (channels), of which one is read",)
        self._plane = min(self._levels[0].focal_planes, default=None)
        self._form = SampleFormat()
        bits = int(self._levels[0].default_instance.image_data.bits)
        if bits > 8:
            width, height = self.levels[-1].size
            window = self._raw(len(self.levels) - 1, 0, 0, min(width, _LOOKED_AT), min(height, _LOOKED_AT))
            largest = int(window.max(initial=0))
            self.notes += notes_on(largest, bits)
            self._form = SampleFormat(high=float(2 ** min(bits, bits_used(largest)) - 1))

    def read(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
        return self._form.to_rgb(self._raw(level, x0, y0, x1, y1))

    def _raw(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[Any]:
        return np.asarray(
            self._slide.read_region(
                (x0, y0), self._levels[level].level, (x1 - x0, y1 - y0), z=self._plane, as_array=True
            )
        )

    def close(self) -> None:
        self._slide.close()


def _series_of(path: Path) -> list[Path]:
    """The files of the same series beside a DICOM file, or in a folder that holds one."""
    import pydicom

    wanted = None if path.is_dir() else _series_uid(path)
    found: dict[str, list[Path]] = {}
    for file in sorted((path if path.is_dir() else path.parent).iterdir()):
        if not is_dicom(file):
            continue
        try:
            uid = _series_uid(file)
        except (pydicom.errors.InvalidDicomError, OSError):
            continue  # not a slide; of the file itself, the error was raised above
        if uid and wanted in (None, uid):
            found.setdefault(uid, []).append(file)
    if len(found) != 1:
        raise ValueError(f"{len(found)} series of images")
    return next(iter(found.values()))


def _series_uid(file: Path) -> str:
    import pydicom

    return str(pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"]).get(
        "SeriesInstanceUID", ""
    ))  # fmt: skip


def is_dicom(path: Path) -> bool:
    """Whether a file has DICOM's mark."""
    if not path.is_file():
        return False
    offset, mark = MARK
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(len(mark)) == mark
