"""What is known of an image before it is segmented: scale, stains, and the identity of its tiles."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shapely

from ..core.config import ClassNames
from ..core.errors import CalibrationError, EntryDataError
from ..core.progress import Reporter
from ..qupath.origin import origin_of
from ..qupath.project import ImageEntry, Project, StainVectors, WriteOptions
from ..qupath.stains import can_be_separated
from ..slides.pixel_size import Calibration, downsample_for, resolve_mpp
from ..slides.reader import SlideReader
from ..slides.view import AS_STORED
from .model import Model
from .options import SegmentOptions
from .plan import segmented_geometry

if TYPE_CHECKING:
    from .workers import Workers

_COARSE = 2.5


@dataclass(frozen=True)
class Run:
    """What the images of one run share.

    writing : how nuclei are written into the project.
    classes : which annotations are ignored.
    folder  : of the run's checkpoints.
    client  : the workers that segment tiles; None for this process alone.
    """

    project: Project
    model: Model
    options: SegmentOptions
    writing: WriteOptions
    classes: ClassNames
    model_name: str
    folder: Path
    client: Workers | None
    reporter: Reporter


@dataclass(frozen=True)
class Prepared:
    """An open image with its scale.

    downsample : full-resolution pixels per input sample of the model.
    within     : segment only inside this geometry (full-resolution pixels); None: everywhere.
    ignored    : nuclei inside this geometry are left out; None: nowhere.
    stains     : to be measured; None for an image without.
    """

    entry: ImageEntry
    reader: SlideReader
    calibration: Calibration
    downsample: float
    within: shapely.Geometry | None
    ignored: shapely.Geometry | None
    stains: StainVectors | None

    @property
    def measured_in(self) -> tuple[float, float] | None:
        """(x, y) µm per pixel for measurements, QuPath's where it is plausible; None to measure in pixels."""
        return self.calibration.measured_in(self.entry.mpp)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What the image's tiles depend on besides the run: the slide's file, scale, stains and area."""
        state = self.reader.path.stat()
        mpp, within, stains = self.measured_in, self.within, self.stains
        return {
            "slide": self.reader.path.name,
            "bytes": state.st_size,
            "modified": state.st_mtime_ns,
            "digest": origin_of(self.entry)["digest"],
            "series": self.entry.series,
            "size": [self.reader.width, self.reader.height],
            "mpp": [self.calibration.mpp_x, self.calibration.mpp_y],
            "measured in": None if mpp is None else list(mpp),
            "stains": None if stains is None else json.loads(json.dumps(asdict(stains))),
            "downsample": self.downsample,
            "within": _digest(within),
            "ignored": _digest(self.ignored),
        } | ({} if self.entry.view == AS_STORED else {"view": self.entry.view.document()})

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in full-resolution pixels."""
        return self.reader.width, self.reader.height

    @property
    def area(self) -> shapely.Geometry:
        """The part in which nuclei are kept, glass included, in full-resolution pixels."""
        return segmented_geometry(*self.size, self.within, self.ignored)

    @property
    def mm2(self) -> float | None:
        """The size of ``area``; None without a pixel size."""
        x, y = self.calibration.mpp_x, self.calibration.mpp_y
        if x is None or y is None:
            return None
        return float(shapely.area(self.area)) * x * y / 1e6


def _digest(geometry: shapely.Geometry | None) -> str | None:
    return None if geometry is None else hashlib.sha256(shapely.to_wkb(geometry)).hexdigest()


def prepare(
    run: Run,
    entry: ImageEntry,
    reader: SlideReader,
    within: shapely.Geometry | None,
    ignored: shapely.Geometry | None = None,
) -> Prepared:
    """Check that an image can be segmented as asked. Raises CalibrationError and EntryDataError."""
    model, options = run.model, run.options
    calibration = resolve_mpp(entry.mpp, reader.stated_mpp, options.mpp, entry.name)
    downsample = 1.0 if model.mpp is None else downsample_for(calibration, model.mpp)
    if calibration.warning:
        run.reporter.warn(calibration.warning)
    if options.cells is not None and calibration.mpp is None:
        raise CalibrationError(entry.name, "has no pixel size, which --cells needs", "Set it with --mpp")
    stains = _stains(run, entry)
    if entry.mpp is None and calibration.mpp is not None:
        run.reporter.say(
            f"{entry.name}: is measured in pixels, as it has no pixel size in QuPath (Image tab)"
        )
    return Prepared(entry, reader, calibration, downsample, within, ignored, stains)


def _stains(run: Run, entry: ImageEntry) -> StainVectors | None:
    """The stains to measure; none where QuPath's pixel values do not run from 0 to 255."""
    if entry.channels != 3 or entry.pixel_type != "UINT8":
        return None
    if entry.icc:
        run.reporter.warn(
            f"{entry.name}: QuPath converts its colours by the colour profile in the file (--icc-profile), "
            "which is not applied here, so stains are not measured."
        )
        return None
    stains = run.project.stains(entry)
    if stains is None:
        run.reporter.say(
            f"{entry.name}: stains are not measured, as none are set in QuPath (Image tab > Image type)"
        )
    elif not can_be_separated(stains):
        raise EntryDataError(
            entry.name,
            "its stain vectors cannot be separated",
            "Set them again in QuPath (Analyze > Preprocessing > Estimate stain vectors)",
        )
    return stains


def warn_if_coarse(run: Run, image: Prepared) -> None:
    """Warn of pixels so large that the model hardly sees a nucleus in them."""
    if run.model.mpp is not None and image.downsample < 1 / _COARSE:
        run.reporter.warn(
            f"{image.entry.name}: its pixels ({image.calibration.mpp:.3g} µm) are much coarser than those "
            f"the model was trained on ({run.model.mpp:.3g} µm). Results will be poor."
        )
