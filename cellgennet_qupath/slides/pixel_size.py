"""The size of a pixel, from the file, the project or the user."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import tifffile

from ..core.errors import CalibrationError

ANISOTROPY = 0.01
"""Relative difference of pixel width and height up to which pixels count as square."""

SNAP = 0.02
"""Downsamples this close to a whole number are rounded to it (see ``downsample_for``)."""

_PLAUSIBLE_TAGS = (0.05, 10.0)
_UNITS = {
    "pm": 1e-6,
    "å": 1e-4,
    "nm": 1e-3,
    "µm": 1.0,
    "μm": 1.0,
    "um": 1.0,
    "\\u00b5m": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "in": 25400.0,
    "inch": 25400.0,
}


@dataclass(frozen=True)
class Calibration:
    """The pixel size of an image in µm; all None if unknown. ``image`` names it in errors."""

    mpp_x: float | None
    mpp_y: float | None
    source: Literal["option", "project", "file"] | None
    image: str = "the image"

    @property
    def mpp(self) -> float | None:
        """One number for (nearly) square pixels: the geometric mean of width and height."""
        if self.mpp_x is None or self.mpp_y is None:
            return None
        return math.sqrt(self.mpp_x * self.mpp_y)


def resolve_mpp(
    entry_mpp: tuple[float, float] | None,
    slide_mpp: tuple[float, float] | None,
    option: float | None,
    image: object = "the image",
) -> Calibration:
    """The pixel size to use: the project's, else the file's, else the ``--mpp`` option, else none.

    The option is only for images that have no pixel size: one number must not rescale the calibrated
    slides of a mixed project. All in µm per full-resolution pixel. Raises CalibrationError if pixels are
    not square (by more than 1 %), as every model here expects square ones.
    """
    for mpp, source in ((entry_mpp, "project"), (slide_mpp, "file")):
        if mpp is None or not _usable(*mpp):
            continue
        if abs(mpp[0] - mpp[1]) > ANISOTROPY * max(mpp):
            raise CalibrationError(
                image,
                f"its pixels are not square ({mpp[0]:.4g} x {mpp[1]:.4g} µm in the {source})",
                "Correct the pixel size in QuPath (Image tab)",
            )
        return Calibration(*mpp, "project" if source == "project" else "file", str(image))
    if option is not None:
        if not _usable(option, option):
            raise CalibrationError(
                image, f"{option:g} µm is not a pixel size", "Set --mpp to a number above 0"
            )
        return Calibration(option, option, "option", str(image))
    return Calibration(None, None, None, str(image))


def downsample_for(calibration: Calibration, target_mpp: float) -> float:
    """Full-resolution pixels per sample at ``target_mpp`` µm.

    A downsample within 2 % of a whole number (or of one half) is rounded to it, so that pixels are copied
    from the file instead of interpolated; nuclei then differ by up to 2 % in size, far less than their
    natural variation. Raises CalibrationError for an image without a pixel size.
    """
    mpp = calibration.mpp
    if mpp is None:
        raise CalibrationError(
            calibration.image,
            "has no pixel size, in the project or in its file",
            "Set it with --mpp MICROMETRES or in QuPath (Image tab)",
        )
    downsample = target_mpp / mpp
    whole = max(round(downsample * 2) / 2 if downsample < 0.75 else float(round(downsample)), 0.5)
    return whole if abs(downsample - whole) <= SNAP * whole else downsample


def file_mpp(
    tiff: tifffile.TiffFile, series: int, properties: Mapping[str, object]
) -> tuple[float, float] | None:
    """(x, y) µm per pixel as stated in a TIFF; None if it is missing or implausible.

    From OME-XML, else from the vendor's metadata (read by tiffslide), else from ImageJ's, else from the
    resolution tags. Those often contain a print resolution, so only 0.05 to 10 µm are accepted.

    properties : of tiffslide; empty where it cannot read the file.
    """
    if tiff.is_ome:
        return _ome_mpp(tiff, series)
    stated = (properties.get("tiffslide.mpp-x"), properties.get("tiffslide.mpp-y"))
    vendor = properties.get("tiffslide.vendor")
    page = tiff.series[series].keyframe
    if vendor and all(isinstance(value, int | float) for value in stated):
        mpp = (float(stated[0]), float(stated[1]))  # type: ignore[arg-type]
        return mpp if _usable(*mpp) else None
    if tiff.is_imagej:
        unit = _UNITS.get(str((tiff.imagej_metadata or {}).get("unit", "")).lower())
        resolution = page.get_resolution(tifffile.RESUNIT.NONE)
        if unit and min(resolution) > 0:
            return unit / resolution[0], unit / resolution[1]
        return None
    if page.resolutionunit == tifffile.RESUNIT.NONE:
        return None
    resolution = page.get_resolution(tifffile.RESUNIT.MICROMETER)
    if min(resolution) <= 0:
        return None
    mpp = (1 / resolution[0], 1 / resolution[1])
    low, high = _PLAUSIBLE_TAGS
    return mpp if low <= min(mpp) and max(mpp) <= high else None


def _ome_mpp(tiff: tifffile.TiffFile, series: int) -> tuple[float, float] | None:
    images = tifffile.xml2dict(tiff.ome_metadata or "<OME/>").get("OME", {}).get("Image", [])
    if isinstance(images, dict):
        images = [images]
    if series >= len(images):
        return None
    pixels = images[series].get("Pixels", {})
    mpp = []
    for axis in "XY":
        size = pixels.get(f"PhysicalSize{axis}")
        unit = _UNITS.get(str(pixels.get(f"PhysicalSize{axis}Unit", "µm")).lower())
        if unit is None or not isinstance(size, int | float):
            return None
        mpp.append(float(size) * unit)
    return (mpp[0], mpp[1]) if _usable(*mpp) else None


def _usable(x: float, y: float) -> bool:
    return math.isfinite(x) and math.isfinite(y) and x > 0 and y > 0
