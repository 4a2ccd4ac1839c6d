"""DICOM whole-slide images through wsidicom: one series in one folder, with a file for each level."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import SlideError
from .samples import SampleFormat, bits_used, notes_on
from .source import AS_OME_TIFF, Stored, planes_note

if TYPE_CHECKING:
    import pydicom

_LOOKED_AT = 2000
"""Pixels along each side of the coarsest level from which the bits that samples use are told."""
MARK = (128, b"DICM")
"""Where a DICOM file holds which bytes."""
_HEADER = [
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "ImageType",
    "TotalPixelMatrixColumns",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "BitsAllocated",
    "BitsStored",
]


class DicomSource:
    """The pyramid to which a DICOM file belongs, whichever of its levels the file holds.

    Raises SlideError where the file is not part of a slide (a microscopy series of tiled images), and where
    wsidicom passes over its full resolution.
    """

    reader = "wsidicom"
    absent = ""
    bounds = None

    def __init__(self, path: Path) -> None:
        from wsidicom import WsiDicom

        self._path = path
        self._volumes: Mapping[Path, pydicom.Dataset] = {}
        try:
            files = _series_of(path)
            # Not its label and overview.
            self._volumes = {file: one for file, one in files.items() if "VOLUME" in one.get("ImageType", ())}
            self._slide = WsiDicom.open(list(files))
        except OSError:
            raise
        except Exception as error:  # wsidicom's errors have no type in common
            raise self._unreadable(error) from error
        self._pyramid, found = self._chosen()
        pyramid = self._slide.pyramids[self._pyramid]
        self._levels = [pyramid[number] for number in range(len(pyramid))]
        self.levels = [Stored((level.size.width, level.size.height)) for level in self._levels]
        self.notes: tuple[str, ...] = found + self._finest()
        spacing = pyramid.mpp
        self.mpp: tuple[float, float] | None = (float(spacing.width), float(spacing.height))
        planes = len(self._levels[0].focal_planes)
        self.notes += (planes_note(planes),) if planes > 1 else ()
        paths = len(self._levels[0].optical_paths)
        if paths > 1:
            self.notes += (f"has {paths} optical paths (channels), of which one is read",)
        self._plane = min(self._levels[0].focal_planes, default=None)
        self._form = SampleFormat()
        bits = int(self._levels[0].default_instance.image_data.bits)
        if bits > 8:
            largest = self._largest_sample()
            self.notes += notes_on(largest, bits)
            self._form = SampleFormat(high=float(2 ** min(bits, bits_used(largest)) - 1))

    def read(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
        return self._form.to_rgb(self._raw(level, x0, y0, x1, y1))

    def _raw(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[Any]:
        return np.asarray(
            self._slide.read_region(
                (x0, y0),
                self._levels[level].level,
                (x1 - x0, y1 - y0),
                z=self._plane,
                pyramid=self._pyramid,
                as_array=True,
            )
        )

    def close(self) -> None:
        self._slide.close()

    def _chosen(self) -> tuple[int, tuple[str, ...]]:
        """Which pyramid of the series is read, and what to report of others: areas scanned apart."""
        held = [_instances(pyramid) for pyramid in self._slide.pyramids]
        own = _uid(self._volumes[self._path]) if self._path in self._volumes else None
        chosen = next((number for number, uids in enumerate(held) if own in uids), 0)
        if len(held) == 1:
            return chosen, ()
        which = "the one that this file belongs to" if own in held[chosen] else "the largest"
        return chosen, (f"is one of {len(held)} areas in a DICOM series, of which {which} is read",)

    def _finest(self) -> tuple[str, ...]:
        """What to report of the finest level. Raises SlideError where wsidicom passes over a finer file."""
        read = set().union(*(_instances(pyramid) for pyramid in self._slide.pyramids))
        for file, header in self._volumes.items():
            if _uid(header) in read:
                continue
            finer = _width(header) > self.levels[0].size[0]
            if finer or file == self._path:
                self._slide.close()
                reason = (
                    f"has its full resolution in {file.name}, which" if finer else "is a DICOM slide that"
                )
                raise SlideError(
                    self._path,
                    f"{reason} wsidicom cannot read with the rest of its series ({_kind(header)})",
                    AS_OME_TIFF,
                )
        own = _instances(self._slide.pyramids[self._pyramid])
        types = [one.get("ImageType", ()) for one in self._volumes.values() if _uid(one) in own]
        if not types or not all("RESAMPLED" in one for one in types):
            return ()
        return (
            "may lack its full resolution: all of its DICOM files are marked as resampled, and the finest of "
            "them is read",
        )

    def _largest_sample(self) -> int:
        width, height = self.levels[-1].size
        try:
            window = self._raw(len(self.levels) - 1, 0, 0, min(width, _LOOKED_AT), min(height, _LOOKED_AT))
        except Exception as error:
            self._slide.close()
            raise self._unreadable(error) from error
        return int(window.max(initial=0))

    def _unreadable(self, error: Exception) -> SlideError:
        why = f"({(str(error) or type(error).__name__)[:120]})"
        finest = max(self._volumes.values(), key=_width, default=None)
        if finest is None:
            return SlideError(self._path, f"is a DICOM file, but not of a whole slide {why}", AS_OME_TIFF)
        return SlideError(
            self._path, f"is a DICOM slide ({_kind(finest)}) that wsidicom cannot read {why}", AS_OME_TIFF
        )


def _instances(pyramid: Any) -> set[str]:
    """The files of a pyramid, by the UIDs of their instances."""
    return {str(data.uids.instance) for level in pyramid for data in level.datasets}


def _uid(header: pydicom.Dataset) -> str:
    return str(header.get("SOPInstanceUID", ""))


def _width(header: pydicom.Dataset) -> int:
    return int(header.get("TotalPixelMatrixColumns") or 0)


def _kind(header: pydicom.Dataset) -> str:
    """How a file's samples are stored, in words."""
    kind = f"{header.get('PhotometricInterpretation', 'unknown colours')}, {header.get('BitsStored')} bits"
    if header.get("BitsAllocated") != header.get("BitsStored"):
        kind += f" in {header.get('BitsAllocated')}"
    return f"{kind}, channels apart" if header.get("PlanarConfiguration") else kind


def _series_of(path: Path) -> dict[Path, pydicom.Dataset]:
    """The files of the same series beside a DICOM file, or in a folder that holds one, and what they are."""
    import pydicom

    wanted = None if path.is_dir() else _header(path).get("SeriesInstanceUID", "")
    found: dict[str, dict[Path, pydicom.Dataset]] = {}
    for file in sorted((path if path.is_dir() else path.parent).iterdir()):
        if not is_dicom(file):
            continue
        try:
            header = _header(file)
        except (pydicom.errors.InvalidDicomError, OSError):
            continue  # not a slide; of the file itself, the error was raised above
        uid = str(header.get("SeriesInstanceUID", ""))
        if uid and wanted in (None, uid):
            found.setdefault(uid, {})[file] = header
    if len(found) != 1:
        raise ValueError(f"{len(found)} series of images")
    return next(iter(found.values()))


def _header(file: Path) -> pydicom.Dataset:
    import pydicom

    return pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_HEADER))


def is_dicom(path: Path) -> bool:
    """Whether a file has DICOM's mark."""
    if not path.is_file():
        return False
    offset, mark = MARK
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(len(mark)) == mark
