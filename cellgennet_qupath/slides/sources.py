"""Which reader opens a file, by its content; and what to say of kinds of files that none of them opens."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import SlideError
from ..core.extras import install_line, missing
from . import dicom, ome_zarr, openslide_source
from .picture import PictureSource
from .source import AS_OME_TIFF, RE_EXPORT, ZARR_MARKS, Source
from .tiff import OverlappingTilesError, TiffSource

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_KINDS = {
    b"ZISRAWFILE": "Zeiss CZI",
    b"\x70\0\0\0": "Leica LIF",
    b"\xda\xce\xbe\x0a": "Nikon ND2",
    b"\x89HDF\r\n\x1a\n": "HDF5 (Imaris IMS, BDV)",
    b"\xd0\xcf\x11\xe0": "Zeiss ZVI or Olympus OIB",
    b"OLYMPUSRAWFORMAT": "Olympus OIR",
    b"SQLite format 3\0": "Sakura SVSLIDE",
    b"<DataObject": "Philips iSyntax",
    b"SIS\0": "Olympus ETS",
}
"""Kinds of image files by their first bytes."""
_BY_ENDING = {
    ".vsi": "Olympus VSI",
    ".mrxs": "3DHISTECH MRXS",
    ".vms": "Hamamatsu VMS",
    ".vmu": "Hamamatsu VMU",
    ".isyntax": "Philips iSyntax",
    ".lif": "Leica LIF",
    ".czi": "Zeiss CZI",
    ".sdpc": "SDPC",
    ".tmap": "TMAP",
    ".kfb": "KFBio KFB",
    ".nd2": "Nikon ND2",
}
"""Kinds whose first bytes say nothing, or promise another format (VSI a TIFF, MRXS a JPEG)."""
_OPENSLIDE = (
    "3DHISTECH MRXS",
    "Hamamatsu VMS",
    "Hamamatsu VMU",
    "Sakura SVSLIDE",
    "Ventana BIF",
    "Zeiss CZI",
)


def open_source(path: Path, series: int, apart: bool = False) -> Source:
    """The source for a file or folder, chosen by its content. Raises SlideError.

    series : index of the image in a file that holds several.
    apart  : see ``TiffSource``.
    """
    if path.name in ZARR_MARKS:
        path = path.parent
    if not path.exists():
        raise SlideError(path, "does not exist", "Check the path, or say where slides are with --slides")
    try:
        if path.is_dir():
            return _open_folder(path, series)
        return _open_file(path, series, apart)
    except OSError as error:
        raise SlideError(
            path, f"cannot be opened ({error.strerror or error})", "Check that it is a readable file"
        ) from error
    except SlideError:
        raise
    except Exception as error:
        # Readers of foreign formats raise whatever a damaged file makes them stumble over.
        raise SlideError(path, f"is damaged or no image that can be read ({_brief(error)})", RE_EXPORT) from (
            error
        )


def _open_folder(path: Path, series: int) -> Source:
    if any((path / mark).exists() for mark in ZARR_MARKS):
        return ome_zarr.OmeZarrSource(path, series)
    if any(dicom.is_dicom(file) for file in path.iterdir()):
        return _open_dicom(path)
    raise SlideError(path, "is a folder, which cannot be opened as a slide", AS_OME_TIFF)


def _open_file(path: Path, series: int, apart: bool) -> Source:
    with path.open("rb") as file:
        start = file.read(16)
    if not start:
        raise SlideError(path, "is empty", RE_EXPORT)
    if dicom.is_dicom(path):
        return _open_dicom(path)
    kind = _BY_ENDING.get(path.suffix.lower()) or next(
        (name for mark, name in _KINDS.items() if start.startswith(mark)), ""
    )
    if kind:
        return _open_other(path, kind, series)
    if start.startswith(_TIFF_STARTS):
        return _open_tiff(path, series, apart)
    if series:
        raise SlideError(path, f"has no image number {series + 1}")
    return PictureSource(path)


def _open_tiff(path: Path, series: int, apart: bool) -> Source:
    try:
        return TiffSource(path, series, apart)
    except OverlappingTilesError:
        return _open_other(path, "Ventana BIF", series)
    except SlideError:
        raise
    except Exception:
        if series == 0 and openslide_source.detected(path):
            return openslide_source.OpenSlideSource(path)
        raise


def _open_other(path: Path, kind: str, series: int) -> Source:
    reason = f"is a file of the kind {kind}, which cannot be opened as a slide"
    way_out = AS_OME_TIFF
    if kind in _OPENSLIDE and missing("openslide"):
        way_out = f"Run {install_line('openslide')}, or export it from QuPath as OME-TIFF"
    elif series == 0 and openslide_source.detected(path):
        try:
            return openslide_source.OpenSlideSource(path)
        except openslide_source.openslide_error() as error:
            reason = f"is a file of the kind {kind} that OpenSlide cannot open ({_brief(error)})"
    raise SlideError(path, reason, way_out)


def _open_dicom(path: Path) -> Source:
    if missing("dicom"):
        raise SlideError(
            path,
            "is a DICOM file, and the package that reads them is not installed",
            f"Run {install_line('dicom')}, or export it from QuPath as OME-TIFF",
        )
    return dicom.DicomSource(path)


def _brief(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0][:120] if text else type(error).__name__
