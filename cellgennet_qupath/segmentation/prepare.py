"""What is known of an image before it is segmented: scale, stains, and the identity of its tiles."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shapely

from ..annotations.classes import Role, near_miss, role_of
from ..core.config import ClassNames
from ..core.errors import CalibrationError, EntryDataError
from ..core.progress import Reporter
from ..nuclei import Nuclei, empty
from ..qupath.origin import origin_of
from ..qupath.project import Annotation, ImageEntry, Project, StainVectors, WriteOptions
from ..qupath.stains import can_be_separated
from ..slides.pixel_size import Calibration, downsample_for, resolve_mpp
from ..slides.reader import SlideReader
from ..slides.view import AS_STORED
from .model import Model
from .options import SegmentOptions
from .plan import checked_geometry, ignored_geometry, joined, segmented_geometry
from .record import MEASURED_IN

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
    checked    : a user has checked every detection inside, so that none is added; None: nowhere.
    staying    : this tool's nuclei there, which stay; None where they cannot be read.
    stains     : to be measured; None for an image without.
    """

    entry: ImageEntry
    reader: SlideReader
    calibration: Calibration
    downsample: float
    within: shapely.Geometry | None
    ignored: shapely.Geometry | None
    checked: shapely.Geometry | None
    staying: Nuclei | None
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
            MEASURED_IN: None if mpp is None else list(mpp),
            "stains": None if stains is None else _rounded(stains),
            "downsample": self.downsample,
            "within": _digest(within),
            "ignored": _digest(self.ignored),
        } | self._rare_parts()

    def _rare_parts(self) -> dict[str, Any]:
        """Parts of the fingerprint that few images have, so that those of all others stay as they were."""
        parts: dict[str, Any] = {}
        if self.entry.view != AS_STORED:
            parts["view"] = self.entry.view.document()
        if self.reader.absent:
            parts["absent"] = self.reader.absent
        if self.checked is not None:
            parts["checked"] = _digest(self.checked)
        return parts

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in full-resolution pixels."""
        return self.reader.width, self.reader.height

    @property
    def area(self) -> shapely.Geometry:
        """The part whose nuclei are known after the run, glass included, in full-resolution pixels."""
        if self.staying is None:
            return segmented_geometry(*self.size, self.within, self.left_out)
        return segmented_geometry(*self.size, self.within, self.ignored, self.checked)

    @property
    def left_out(self) -> shapely.Geometry | None:
        """Where no nucleus is added."""
        return joined(self.ignored, self.checked)

    def mm2_of(self, area: shapely.Geometry) -> float | None:
        """The size of an area in full-resolution pixels; None without a pixel size."""
        x, y = self.calibration.mpp_x, self.calibration.mpp_y
        return None if x is None or y is None else float(shapely.area(area)) * x * y / 1e6


def _rounded(stains: StainVectors) -> dict[str, Any]:
    """Stains as plain data; each time that QuPath saves an image, it can change their last digits."""
    return {
        "names": list(stains.names),
        "vectors": [[round(part, 6) for part in vector] for vector in stains.vectors],
        "background": [round(part, 6) for part in stains.background],
    }


def _digest(geometry: shapely.Geometry | None) -> str | None:
    return None if geometry is None else hashlib.sha256(shapely.to_wkb(geometry)).hexdigest()


def prepare(
    run: Run,
    entry: ImageEntry,
    reader: SlideReader,
    within: shapely.Geometry | None,
    annotations: Sequence[Annotation],
) -> Prepared:
    """Check that an image can be segmented as asked. Raises CalibrationError and EntryDataError."""
    model, options = run.model, run.options
    calibration = resolve_mpp(entry.mpp, reader.stated_mpp, options.mpp, entry.name)
    downsample = 1.0 if model.mpp is None else downsample_for(calibration, model.mpp)
    if calibration.warning:
        run.reporter.warn(calibration.warning)
    for value, option in ((options.cells, "--cells"), (options.min_area, "--min-area")):
        if value is not None and calibration.mpp is None:
            raise CalibrationError(
                entry.name, f"has no pixel size, which {option} needs", "Set it with --mpp"
            )
    stains = _stains(run, entry)
    if entry.mpp is None and calibration.mpp is not None:
        run.reporter.say(
            f"{entry.name}: is measured in pixels, as it has no pixel size in QuPath (Image tab)"
        )
    _warn_of_misspelt(run, entry, annotations)
    ignored, checked = ignored_geometry(annotations, run.classes.ignore), checked_geometry(annotations)
    staying = empty() if checked is None else _staying(run, entry, checked)
    return Prepared(entry, reader, calibration, downsample, within, ignored, checked, staying, stains)


_WITHOUT_EFFECT = {
    Role.IGNORE: "their areas are segmented like the rest",
    Role.CORRECTED: "the detections in them are replaced like the rest",
}


def _warn_of_misspelt(run: Run, entry: ImageEntry, annotations: Sequence[Annotation]) -> None:
    """Warn of classes that were probably meant to protect areas, and do not."""
    for name in sorted({annotation.path_class for annotation in annotations}):
        if role_of(name, run.classes) is Role.OTHER and (miss := near_miss(name, run.classes)) is not None:
            role, meant = miss
            if role in _WITHOUT_EFFECT:
                run.reporter.warn(
                    f'{entry.name}: annotations have the class "{name}": did you mean "{meant}"? As it is, '
                    f"{_WITHOUT_EFFECT[role]}. Change the class in QuPath."
                )


def _staying(run: Run, entry: ImageEntry, checked: shapely.Geometry) -> Nuclei | None:
    """This tool's nuclei in the area whose detections a user has checked; None where they cannot be read."""
    try:
        return run.project.checked_detections(entry, checked)
    except EntryDataError as error:
        run.reporter.warn(
            f"{entry.name}: its nuclei in Corrected regions cannot be read here ({error.reason}). They stay "
            "in QuPath; the new file has none there."
        )
        return None


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
