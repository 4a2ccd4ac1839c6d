"""A summary of a project as plain data: the document of ``inspect --json``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..core.config import ClassNames
from ..core.environment import known_error
from ..core.progress import SILENT, Reporter
from ..qupath.images import distinct_names, open_image
from ..qupath.project import ImageEntry, Project
from ..slides.judgement import judge_slide
from ..slides.pixel_size import resolve_mpp
from .findings import outlined_twice, passed_over, same_slide
from .labels import Split
from .reader import read_supervision
from .same_slide import same_slides

DEFAULT_CLASSES = ClassNames()


def describe_project(
    project: Project,
    mpp: float | None = None,
    classes: ClassNames = DEFAULT_CLASSES,
    reporter: Reporter = SILENT,
) -> dict[str, Any]:
    """Images, sizes, pixel sizes, annotations by class ("" for none) and what can be trained on.

    mpp     : µm per pixel of images without a pixel size.
    classes : which class means what.

    Never raises for one image: its ``problem`` describes in one line what is wrong, else it is None. What is
    odd about its pixels and annotations is in its ``findings``, each with kind, count, class and sentence.
    """
    images = []
    with reporter.track("looking at slides", len(project.entries), "images") as task:
        for entry in project.entries:
            images.append(_describe(project, entry, mpp, classes))
            task.advance()
    _find_same_slides(project, images)
    return {"project": str(project.path), "backend": project.backend, "images": images}


def _describe(project: Project, entry: ImageEntry, mpp: float | None, classes: ClassNames) -> dict[str, Any]:
    width, height = entry.size or (None, None)
    image: dict[str, Any] = {
        "id": entry.id,
        "name": entry.name,
        "slide": str(entry.slide) if entry.slide else None,
        "width": width,
        "height": height,
        "mpp": None,
        "reader": None,
        "annotations": {},
        "detections": 0,
        "regions": 0,
        "trainable": {"nuclei": 0, "validation_nuclei": 0},
        "findings": [],
        "problem": None,
    }
    problems: list[str] = []
    stated, readable = None, False
    with _reported(entry, problems), open_image(entry) as reader:
        image["width"], image["height"] = reader.width, reader.height
        image["reader"] = reader.backend
        stated, readable = reader.stated_mpp, True
    with _reported(entry, problems):
        calibration = resolve_mpp(entry.mpp, stated, mpp, entry.name)
        image["mpp"] = calibration.mpp
        if calibration.mpp is None:
            reason = calibration.rejected or "it has no pixel size"
            problems.append(f"{reason}; set it with --mpp or in QuPath (Image tab)")
        elif calibration.warning:
            problems.append(calibration.warning.removeprefix(f"{entry.name}: ").rstrip("."))
    with _reported(entry, problems):
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
        if readable:
            image["findings"] += _slide_findings(project, entry, image["mpp"])
    image["problem"] = "; ".join(problems) or None
    return image


def _find_same_slides(project: Project, images: list[dict[str, Any]]) -> None:
    """Add to images with annotations for training or validation which others of these show the same slide."""
    used = {image["id"]: image for image in images if image["regions"] or any(image["trainable"].values())}
    names = distinct_names(project.entries)
    called = {entry.id: name for entry, name in zip(project.entries, names, strict=True)}
    for group in same_slides([entry for entry in project.entries if entry.id in used]):
        for entry in group:
            others = [called[other.id] for other in group if other is not entry]
            used[entry.id]["findings"].append(same_slide(others).document())


@contextmanager
def _reported(entry: ImageEntry, problems: list[str]) -> Iterator[None]:
    """What a file or the computer causes within the block becomes a part of the image's problem."""
    try:
        yield
    except Exception as error:
        # Each part begins without the image's name, as the line does it already.
        problems.append(str(known_error(error)).removeprefix(f"{entry.name}: ").rstrip("."))


def _slide_findings(project: Project, entry: ImageEntry, mpp: float | None) -> list[dict[str, object]]:
    with open_image(entry) as reader:
        judgement = judge_slide(reader, mpp, project.image_type(entry), entry.channels)
    return [
        {"kind": "slide", "count": 1, "class": "", "sentence": sentence} for sentence in judgement.sentences
    ]
