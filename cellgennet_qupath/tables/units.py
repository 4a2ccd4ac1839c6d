"""µm or px: the unit of every number of an export, decided once before anything is written.

QuPath shows an image without a pixel size in px and all others in µm, in columns of their own. A format that
holds numbers in one matrix must not mix them, so it takes one unit for all images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from ..core.errors import UsageError
from ..core.wording import listed
from ..qupath.project import DetectionChunk, ImageEntry
from ..slides.pixel_size import check_option, implausible

Unit = Literal["µm", "px"]
_CONSTANT = (" within ", " per ")
"""In the names of measurements whose last word is a radius or an area that they refer to, not their unit."""


@dataclass(frozen=True)
class Units:
    """The unit of an export and the pixel size of images that have none.

    target : of all images; None: of each image as QuPath shows it.
    mpp    : µm per pixel of images without a plausible pixel size.
    """

    target: Unit | None = None
    mpp: float | None = None

    def entry(self, entry: ImageEntry) -> ImageEntry:
        """The image with the pixel size that its numbers refer to: None for px."""
        return replace(entry, mpp=None) if self.target == "px" else self.calibrated(entry)

    def chunk(self, entry: ImageEntry, chunk: DetectionChunk) -> DetectionChunk:
        """Detections of an image of the project with measurements in the unit of the export.

        Areas are converted by width times height of a pixel, lengths by the geometric mean of both, which
        is exact for square pixels. Raises UsageError for an image without a pixel size to convert by.
        """
        if self.target is None:
            return chunk
        nuclei, other = chunk.nuclei, _alike(self.target == "µm")
        names = {str(name): _in_unit(str(name), other, self.target) for name in nuclei.measurements.columns}
        changed = {old: new for old, new in names.items() if old != new}
        if not changed:
            return chunk
        size = self.calibrated(entry).mpp
        if size is None:
            raise _unknown_size([entry.name], f"but measurements in {other}")
        length = math.sqrt(size[0] * size[1]) if self.target == "µm" else 1 / math.sqrt(size[0] * size[1])
        table = nuclei.measurements.copy()
        for old, new in changed.items():
            table[old] *= length**2 if old.endswith("^2") else length
            if new in names:  # nuclei measured before and after the image got its pixel size
                table[old] = table[old].fillna(table.pop(new))
        table = table.rename(columns=changed)
        order = dict.fromkeys(changed.get(name, name) for name in chunk.order)
        return replace(chunk, nuclei=replace(nuclei, measurements=table), order=tuple(order))

    def is_unlike(self, entry: ImageEntry, chunk: DetectionChunk) -> bool:
        """Whether detections have measurements in another unit than their image."""
        in_px = self.entry(entry).mpp is None
        other, unit = _alike(not in_px), _alike(in_px)
        return any(_in_unit(str(n), other, unit) != str(n) for n in chunk.nuclei.measurements.columns)

    def calibrated(self, entry: ImageEntry) -> ImageEntry:
        """The image with the pixel size by which px and µm are converted; None if it is not known."""
        known = entry.mpp is not None and (self.mpp is None or not implausible(entry.mpp))
        return entry if known or self.mpp is None else replace(entry, mpp=(self.mpp, self.mpp))


def choose_units(
    entries: Iterable[ImageEntry],
    unit: Unit | None,
    mpp: float | None,
    one_unit: bool,
    has_nuclei: Callable[[ImageEntry], bool],
) -> tuple[Units, list[str]]:
    """The units of an export, and the images without a pixel size beside others (empty: nothing is mixed).

    one_unit   : whether the format takes one unit only.
    has_nuclei : asked only where it matters, as reading an image takes time.

    Raises UsageError where one unit is needed and images of both kinds have nuclei, and CalibrationError for
    an impossible ``mpp``.
    """
    if mpp is not None:
        check_option(mpp)
        if unit == "px":
            raise UsageError("--units px and --mpp", "exclude each other", "Give only one of them")
        unit = "µm"
    if unit == "px":
        return Units("px"), []
    entries = list(entries)
    without = [entry for entry in entries if entry.mpp is None and mpp is None]
    if unit is None and len(without) in (0, len(entries)):
        return Units(_alike(bool(without)) if one_unit else None), []
    names = [entry.name for entry in without if has_nuclei(entry)]
    if not names:
        return Units(unit or (_alike(False) if one_unit else None), mpp), []
    if unit == "µm":
        raise _unknown_size(names, "so nothing can be given in µm")
    if not any(has_nuclei(entry) for entry in entries if entry.mpp is not None):
        return Units(_alike(True) if one_unit else None), []
    if one_unit:
        raise _unknown_size(names, "other images have one, and this format holds either px or µm")
    return Units(), names


def unit_of(option: Literal["um", "px"] | None) -> Unit | None:
    """The unit that ``--units`` names. Raises UsageError."""
    units: dict[str | None, Unit | None] = {"um": "µm", "px": "px", None: None}
    if option not in units:
        raise UsageError(f"--units {option}", "is not a unit", "Choose um or px")
    return units[option]


def _alike(uncalibrated: bool) -> Unit:
    return "px" if uncalibrated else "µm"


def _unknown_size(names: list[str], what: str) -> UsageError:
    verb = "has" if len(names) == 1 else "have"
    return UsageError(
        listed(names),
        f"{verb} no pixel size in the project, {what}",
        "Give it with --mpp MICROMETRES, or export all images with --units px",
    )


def _in_unit(name: str, other: Unit, unit: Unit) -> str:
    """The name of a measurement in a unit, if it is a length or an area in the other one."""
    for ending in ("", "^2"):
        if name.endswith(f" {other}{ending}") and not any(word in name for word in _CONSTANT):
            return f"{name.removesuffix(other + ending)}{unit}{ending}"
    return name
