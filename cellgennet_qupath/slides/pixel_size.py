"""The size of a pixel, from the project, the file or the user, and one rule for which sizes are plausible."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..core.errors import CalibrationError
from ..core.lazy import lazy

if TYPE_CHECKING:
    import tifffile
else:
    tifffile = lazy("tifffile")

ANISOTROPY = 0.01
"""Relative difference of pixel width and height up to which pixels count as square."""

SNAP = 0.02
"""Downsamples this close to a whole number are rounded to it (see ``downsample_for``)."""

PLAUSIBLE = (0.05, 6.0)
"""µm per pixel of a slide in which nuclei can be segmented: from below the resolution of light microscopy
to the size of a small nucleus."""

_INCH = 25400.0  # µm
_RESOLUTION_UNITS = {2: _INCH, 3: 1e4, 4: 1e3, 5: 1.0}
"""µm per unit of resolution tags: inch, centimetre, and two that some programs use beyond the standard."""
_PRINT_DPI = (
    60,
    72,
    75,
    90,
    96,
    100,
    120,
    144,
    150,
    180,
    200,
    240,
    254,
    300,
    350,
    360,
    400,
    600,
    720,
    1200,
    2400,
)
_TYPED_IN = {"millimetres": 1e3, "centimetres": 1e4, "metres": 1e6, "nanometres": 1e-3}
"""Units that are entered in place of µm, with the factor that makes µm of them."""
_USUAL = (0.1, 1.1)
"""µm per pixel of scanners, 80x to 10x, among which a mistaken unit is recognised."""
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
    "angstrom": 1e-4,
    "picometer": 1e-6,
    "nanometer": 1e-3,
    "micrometer": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "meter": 1e6,
}


@dataclass(frozen=True)
class Calibration:
    """The pixel size of an image in µm; all None if unknown.

    image    : names it in errors.
    rejected : why a recorded size is not used, in words; "" where none was rejected.
    """

    mpp_x: float | None
    mpp_y: float | None
    source: Literal["option", "project", "file"] | None
    image: str = "the image"
    rejected: str = ""

    @property
    def mpp(self) -> float | None:
        """One number for (nearly) square pixels: the geometric mean of width and height."""
        if self.mpp_x is None or self.mpp_y is None:
            return None
        return math.sqrt(self.mpp_x * self.mpp_y)

    def measured_in(self, recorded: tuple[float, float] | None) -> tuple[float, float] | None:
        """(x, y) µm per pixel for measurements; None to measure in pixels.

        recorded : the size in QuPath, whose units measurements have; replaced where it is implausible.
        """
        if recorded is None or not implausible(recorded):
            return recorded
        return None if self.mpp_x is None or self.mpp_y is None else (self.mpp_x, self.mpp_y)

    @property
    def warning(self) -> str:
        """What to report of a recorded size that is not used; "" where none was rejected."""
        if not self.rejected:
            return ""
        if self.source == "option":
            return f"{self.image}: --mpp {self.mpp_x:g} replaces the recorded pixel size: {self.rejected}."
        return f"{self.image}: {self.rejected}. It counts as an image without a pixel size."


def implausible(mpp: tuple[float, float]) -> str:
    """Why no slide can have pixels of this size, in words that follow the image's name; "" if it can.

    mpp : (x, y) µm per full-resolution pixel. Outside ``PLAUSIBLE``, or not square by more than 1 %.
    """
    x, y = mpp
    if not _positive(x, y):
        return f"has a pixel size that is not a number above 0 ({x:g} x {y:g} µm)"
    low, high = PLAUSIBLE
    size = math.sqrt(x * y)
    if max(x, y) > high:
        return f"has pixels of {max(x, y):.4g} µm, larger than a nucleus{_mistake(size)}"
    if min(x, y) < low:
        return f"has pixels of {min(x, y):.4g} µm, smaller than light can resolve{_mistake(size)}"
    if abs(x - y) > ANISOTROPY * max(mpp):
        return f"its pixels are not square ({x:.4g} x {y:.4g} µm)"
    return ""


def _mistake(size: float) -> str:
    """The usual mistake that explains an implausible size, in brackets; "" if there is no such one."""
    for dpi in _PRINT_DPI:
        if abs(size * dpi / _INCH - 1) < 0.005:
            return f" (that is {dpi} dpi, a resolution for printing)"
    for unit, factor in _TYPED_IN.items():
        low, high = _USUAL
        if low <= size * factor <= high:
            return f" (probably {size * factor:.4g} µm, entered in {unit})"
    return ""


def check_option(mpp: float) -> None:
    """Raises CalibrationError if ``--mpp`` is not plausible."""
    if implausible((mpp, mpp)):
        low, high = PLAUSIBLE
        raise CalibrationError(
            f"--mpp {mpp:g}",
            f"is not the pixel size of a slide{_mistake(mpp) if _positive(mpp, mpp) else ''}",
            f"Give µm per pixel, a number above 0 (between {low:g} and {high:g})",
        )


def resolve_mpp(
    entry_mpp: tuple[float, float] | None,
    slide_mpp: tuple[float, float] | None,
    option: float | None,
    image: object = "the image",
) -> Calibration:
    """The pixel size to use: the project's, else the file's, else the ``--mpp`` option, else none.

    The option is for images without a plausible pixel size: one number must not rescale the calibrated
    slides of a mixed project, but it replaces a size that no slide can have (see ``implausible``). All in
    µm per full-resolution pixel.

    Raises CalibrationError for an implausible option, and for an implausible size in the project if there is
    no option. An implausible size in the file alone counts as none: most are resolutions for printing.
    """
    if option is not None:
        check_option(option)
    rejected = ""
    for mpp, source in ((entry_mpp, "project"), (slide_mpp, "file")):
        if mpp is None:
            continue
        reason = implausible(mpp)
        if not reason and not rejected:
            return Calibration(*mpp, "project" if source == "project" else "file", str(image))
        if reason and not rejected and _positive(*mpp):  # zeros and NaN are how a missing size is written
            rejected = f"{reason} in the {source}"
    if option is not None:
        return Calibration(option, option, "option", str(image), rejected)
    if rejected and entry_mpp is not None and _positive(*entry_mpp):
        hint = "" if slide_mpp is None or implausible(slide_mpp) else f" (its file states {slide_mpp[0]:.4g})"
        raise CalibrationError(
            image,
            rejected,
            f"Correct the pixel size in QuPath (Image tab), or give it with --mpp MICROMETRES{hint}",
        )
    return Calibration(None, None, None, str(image), rejected)


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
            calibration.rejected or "has no pixel size, in the project or in its file",
            "Set it with --mpp MICROMETRES or in QuPath (Image tab)",
        )
    downsample = target_mpp / mpp
    whole = max(round(downsample * 2) / 2 if downsample < 0.75 else float(round(downsample)), 0.5)
    return whole if abs(downsample - whole) <= SNAP * whole else downsample


def unit_of_length(name: object) -> float | None:
    """µm per unit of a length, by the unit's symbol or name; None if it is not known."""
    return _UNITS.get(str(name).lower())


def stated_mpp(
    tiff: tifffile.TiffFile, series: int, properties: Mapping[str, object]
) -> tuple[float, float] | None:
    """(x, y) µm per pixel as stated in a TIFF, plausible or not; None if it states none.

    From OME-XML, else from the vendor's metadata (read by tiffslide), else from ImageJ's, else from the
    resolution tags, which often hold a resolution for printing (see ``implausible``).

    properties : of tiffslide; empty where it cannot read the file.
    """
    if tiff.is_ome:
        return _ome_mpp(tiff, series)
    if tiff.is_svs:
        return _aperio_mpp(tiff) or _resolution_mpp(tiff, series)
    stated = (properties.get("tiffslide.mpp-x"), properties.get("tiffslide.mpp-y"))
    vendor = properties.get("tiffslide.vendor")
    if vendor and all(isinstance(value, int | float) for value in stated):
        mpp = (float(stated[0]), float(stated[1]))  # type: ignore[arg-type]
        return mpp if _positive(*mpp) else None
    if tiff.is_imagej:
        unit = _UNITS.get(str((tiff.imagej_metadata or {}).get("unit", "")).lower())
        resolution = tiff.series[series].keyframe.get_resolution(tifffile.RESUNIT.NONE)
        if unit and min(resolution) > 0:
            return unit / resolution[0], unit / resolution[1]
        return None
    return _resolution_mpp(tiff, series)


def _aperio_mpp(tiff: tifffile.TiffFile) -> tuple[float, float] | None:
    """MPP of Aperio's description; scanners of some countries write a decimal comma."""
    for item in tiff.pages.first.description.split("|"):
        name, _, value = item.partition("=")
        if name.strip() == "MPP":
            try:
                mpp = float(value.strip().replace(",", "."))
            except ValueError:
                return None
            return (mpp, mpp) if _positive(mpp, mpp) else None
    return None


def _resolution_mpp(tiff: tifffile.TiffFile, series: int) -> tuple[float, float] | None:
    page = tiff.series[series].keyframe
    unit = _RESOLUTION_UNITS.get(page.resolutionunit)
    per_unit = [_number(page.tags.valueof(f"{axis}Resolution")) for axis in "XY"]
    # 1 x 1 is what writers put where they know no resolution.
    if unit is None or not _positive(*per_unit) or per_unit == [1.0, 1.0]:
        return None
    return unit / per_unit[0], unit / per_unit[1]


def _number(value: object) -> float:
    """The value of a tag, a number or a fraction; NaN where there is none, or per 0."""
    parts = value if isinstance(value, tuple) else (value, 1)
    above, below = (*parts, 1)[:2]
    known = isinstance(above, int | float) and isinstance(below, int | float) and below
    return float(above) / float(below) if known else math.nan


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
    return (mpp[0], mpp[1]) if _positive(*mpp) else None


def _positive(x: float, y: float) -> bool:
    return math.isfinite(x) and math.isfinite(y) and x > 0 and y > 0
