"""The loop on the sample project: detect, correct two rectangles, train, detect again, and score both."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from .bundle import Bundle, load_bundle, pretrained_bundle
from .core.config_file import load_config
from .core.errors import CellGenNetError, UsageError
from .core.progress import Reporter
from .core.resources import sample_projects
from .geometry.contours import label_polygons
from .geometry.raster import rasterize
from .metrics.matching import match_labels
from .metrics.scores import score
from .qupath.open import open_project
from .qupath.project import ImageEntry, Project
from .segmentation.batch import segment_project
from .segmentation.options import SegmentOptions
from .slides.reader import slide_size
from .tables.project import export_project

_MARK = "cellgennet-demo.txt"
_SIDE = 160
"""Pixels of a corrected rectangle."""
_CORRECTED = 2
_GOOD = 0.7
"""Outlines with at least this IoU are left as they are by whoever corrects them."""


@dataclass(frozen=True)
class SlideScore:
    """How one slide's nuclei compare with the truth; ``annotated``: the slide has training labels."""

    name: str
    annotated: bool
    true: int
    found: int
    f1: float
    pq: float
    dice: float


@dataclass(frozen=True)
class Correction:
    """A rectangle of class ``Corrected``: nuclei that were outlined in it, and detections removed from it."""

    image: str
    box: tuple[int, int, int, int]
    outlined: int
    removed: int


@dataclass(frozen=True)
class Outcome:
    """Scores of each slide before and after, what was corrected between, and the files that were written."""

    before: list[SlideScore]
    after: list[SlideScore]
    corrections: list[Correction]
    places: dict[str, Path]


def run_demo(folder: Path, threads: int, reporter: Reporter) -> Outcome:
    """Run the loop on a copy of the sample project in ``folder``, with the files backend.

    The shipped model detects nuclei; two rectangles are corrected as a user would, by the known truth; a
    training starts from the shipped model; the new one detects them again, and the table is exported.

    Raises UsageError where ``folder`` contains anything but an earlier demo.
    """
    from .report.guarded_pages import training_page
    from .training.run import train_project

    sample = sample_projects()
    truth = sample / "truth"
    _clear(folder)
    shutil.copytree(sample / "quickstart", folder / "project")
    bundle_path, table = folder / "quickstart.cgn", folder / "measurements.csv"
    config = load_config(Path(__file__).with_name("demo.yaml")).model_copy(update={"threads": threads})
    with open_project(
        folder / "project", "files", None, slide_size, writable=True, reporter=reporter
    ) as project:
        shipped = load_bundle(pretrained_bundle(), reporter)
        _detect(project, shipped, threads, reporter)
        before = score_project(project, truth)
        annotated = [entry for entry in project.entries if project.counts(entry).annotations]
        corrections = [correct(project, entry, truth) for entry in annotated[:_CORRECTED]]
        bundle = train_project(
            project,
            bundle_path,
            config,
            reporter=reporter,
            write_report=training_page(reporter),
            init=shipped,
            keep="trained",
        )
        _detect(project, bundle, threads, reporter)
        after = score_project(project, truth)
        export_project(project, table, reporter=reporter)
    places = {
        "project": folder / "project",
        "detections": folder / "project" / "cellgennet" / "detections",
        "table": table,
        "model": bundle_path,
    }
    return Outcome(before, after, corrections, places)


def _detect(project: Project, bundle: Bundle, threads: int, reporter: Reporter) -> None:
    results = segment_project(project, bundle, SegmentOptions(threads=threads), reporter=reporter)
    failed = [result.sentence() for result in results if result.status == "failed"]
    if failed:
        raise CellGenNetError("demo", f"could not segment every slide ({'; '.join(failed)})")


def correct(project: Project, entry: ImageEntry, truth: Path) -> Correction:
    """Correct the detections of a slide in one rectangle, as a user would in QuPath, by the known truth.

    The rectangle is the one with most mistakes that touches no annotation. In it, missed nuclei and those
    with a poor outline are outlined, and false detections are removed.
    """
    true = _truth(truth, entry)
    nuclei = project.detections(entry)
    found = rasterize(nuclei.polygons, (true.shape[0], true.shape[1]))
    matching = match_labels(true, found)
    good = matching.matches.iou >= _GOOD
    right = matching.overlaps.true_label[matching.matches.true[good]]
    kept = matching.overlaps.predicted_label[matching.matches.predicted[good]]
    wrong = (true > 0) & ~np.isin(true, right) | (found > 0) & ~np.isin(found, kept)
    x, y = _worst(wrong, [one.geometry for one in project.annotations(entry)])
    window = np.s_[y : y + _SIDE, x : x + _SIDE]
    missed = np.setdiff1d(true[window], [0, *right])
    false = np.setdiff1d(found[window], [0, *kept])
    numbered = np.where(np.isin(true, missed), np.searchsorted(missed, true) + 1, 0)
    outlines = label_polygons(numbered.astype(np.int32))
    project.write_detections(entry, nuclei.take(~np.isin(np.arange(1, len(nuclei) + 1), false)))
    drawn = [(one.geometry, one.path_class) for one in project.annotations(entry)]
    drawn += [(shapely.box(x, y, x + _SIDE, y + _SIDE), "Corrected"), *((one, "") for one in outlines)]
    file = project.work_folder / "annotations" / f"{entry.id}.geojson"
    file.parent.mkdir(exist_ok=True)
    collection = {"type": "FeatureCollection", "features": [_feature(*one) for one in drawn]}
    file.write_text(json.dumps(collection), encoding="utf-8")
    return Correction(entry.name, (x, y, _SIDE, _SIDE), len(outlines), len(false))


def _worst(wrong: NDArray[np.bool_], occupied: Sequence[shapely.Geometry]) -> tuple[int, int]:
    """Left and top of the square with most wrong pixels that touches none of the shapes."""
    taken = rasterize([shapely.envelope(shape) for shape in occupied], (wrong.shape[0], wrong.shape[1])) > 0
    best, place = -1, (0, 0)
    for y in range(0, wrong.shape[0] - _SIDE + 1, _SIDE // 2):
        for x in range(0, wrong.shape[1] - _SIDE + 1, _SIDE // 2):
            window = np.s_[y : y + _SIDE, x : x + _SIDE]
            mistakes = int(wrong[window].sum())
            if mistakes > best and not taken[window].any():
                best, place = mistakes, (x, y)
    return place


def _feature(geometry: shapely.Geometry, path_class: str) -> dict[str, object]:
    properties: dict[str, object] = {"objectType": "annotation"}
    if path_class:
        properties["classification"] = {"name": path_class, "color": [200, 0, 0]}
    return {"type": "Feature", "geometry": json.loads(shapely.to_geojson(geometry)), "properties": properties}


def _clear(folder: Path) -> None:
    if folder.exists():
        if any(folder.iterdir()) and not (folder / _MARK).is_file():
            raise UsageError(folder, "is not empty and not from an earlier demo", "Name another folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / _MARK).write_text(
        "Made by `cellgennet demo`, which may delete this folder when it runs again.\n", encoding="utf-8"
    )


def score_project(project: Project, truth: Path) -> list[SlideScore]:
    """Score the detections of each slide against the 16-bit label images of the folder ``truth``."""
    scores = []
    for entry in project.entries:
        true = _truth(truth, entry)
        nuclei = project.detections(entry)
        found = rasterize(nuclei.polygons, (true.shape[0], true.shape[1]))
        result = score(true, found)
        annotated = project.counts(entry).annotations > 0
        scores.append(
            SlideScore(
                entry.name,
                annotated,
                result.true_objects,
                len(nuclei),
                result.rq,
                result.pq,
                result.dice,
            )
        )
    return scores


def _truth(folder: Path, entry: ImageEntry) -> NDArray[np.int32]:
    file = folder / f"{entry.name.split('.')[0]}.png"
    labels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if labels is None:
        raise CellGenNetError(file, "is missing", "Install the package again")
    return labels.astype(np.int32)
