"""A summary of a project as plain data: the document of ``inspect --json``."""

from __future__ import annotations

from typing import Any

from ..core.config import ClassNames
from ..core.errors import CellGenNetError
from ..qupath.images import open_image
from ..qupath.project import ImageEntry, Project
from ..slides.pixel_size import resolve_mpp
from .findings import outlined_twice, passed_over
from .labels import Split
from .reader import read_supervision

DEFAULT_CLASSES = ClassNames()


def describe_project(
    project: Project, mpp: float | None = None, classes: ClassNames = DEFAULT_CLASSES
) -> dict[str, Any]:
    """Images, sizes, pixel sizes, annotations by class ("" for none) and what can be trained on.

    mpp     : µm per pixel of images without a pixel size.
    classes : which class means what.

    Never raises for one image: its ``problem`` describes in one line what is wrong, else it is None. What is
    odd about its annotations is in its ``findings``, each with kind, count, class and sentence.
    """
    return {
        "project": str(project.path),
        "backend": project.backend,
        "images": [_describe(project, entry, mpp, classes) for entry in project.entries],
    }


def _describe(project: Project, entry: ImageEntry, mpp: float | None, classes: ClassNames) -> dict[str, Any]:
    width, height = entry.size or (None, None)
    image: dict[str, Any] = {
        "id": entry.id,
        "name": entry.name,
        "slide": str(entry.slide) if entry.slide else None,
        "width": width,
        "height": height,
        "mpp": None,
        "annotations": {},
        "detections": 0,
        "regions": 0,
        "trainable": {"nuclei": 0, "validation_nuclei": 0},
        "findings": [],
        "problem": None,
    }
    problems = _pixels(entry, mpp, image)
    try:
        counts = project.counts(entry)
        image["annotations"] = dict(counts.by_class)
        image["detections"] = counts.detections
        size = (image["width"], image["height"]) if image["width"] else None
        supervision = read_supervision(project, entry, classes, size, image["mpp"])
        image["regions"] = sum(len(regions) for regions in supervision.drawn.values())
        image["trainable"] = {
            "nuclei": supervision.count(Split.TRAINING),
            "validation_nuclei": supervision.count(Split.VALIDATION),
        }
        found = [*supervision.findings]
        if counts.passed_over:
            found.append(passed_over(counts.passed_over, f"cellgennet/annotations/{entry.id}.geojson"))
        if counts.repeated:
            found.append(outlined_twice(counts.repeated))
        image["findings"] = [finding.document() for finding in found]
    except CellGenNetError as error:
        problems.insert(0, _problem(entry, error))
    image["problem"] = "; ".join(problems) or None
    return image


def _pixels(entry: ImageEntry, mpp: float | None, image: dict[str, Any]) -> list[str]:
    """Fill in size and pixel size; returns what is wrong with them."""
    problems = []
    slide_mpp = None
    try:
        with open_image(entry) as reader:
            image["width"], image["height"] = reader.width, reader.height
            slide_mpp = reader.stated_mpp
    except CellGenNetError as error:
        problems.append(_problem(entry, error))
    try:
        calibration = resolve_mpp(entry.mpp, slide_mpp, mpp, entry.name)
        image["mpp"] = calibration.mpp
        if calibration.mpp is None:
            reason = calibration.rejected or "it has no pixel size"
            problems.append(f"{reason}; set it with --mpp or in QuPath (Image tab)")
        elif calibration.warning:
            problems.append(calibration.warning.removeprefix(f"{entry.name}: ").rstrip("."))
    except CellGenNetError as error:
        problems.append(_problem(entry, error))
    return problems


def _problem(entry: ImageEntry, error: CellGenNetError) -> str:
    """An error as one part of an image's line, which begins with the image's name already."""
    return str(error).removeprefix(f"{entry.name}: ").rstrip(".")
