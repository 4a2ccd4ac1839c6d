"""All steps on the sample project: train, segment, export, and score against the known truth."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .core.config import load_config
from .core.errors import CellGenNetError, UsageError
from .core.extras import require
from .core.progress import Reporter
from .core.resources import sample_projects
from .geometry.raster import rasterize
from .metrics.scores import score
from .qupath.open import open_project
from .qupath.project import Project
from .segmentation.batch import segment_project
from .segmentation.options import SegmentOptions
from .slides.reader import slide_size
from .tables.project import export_project

_MARK = "cellgennet-demo.txt"


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
class Outcome:
    """Scores of each slide, and the files that the demo wrote."""

    scores: list[SlideScore]
    places: dict[str, Path]


def run_demo(folder: Path, threads: int, reporter: Reporter) -> Outcome:
    """Train, segment and export on a copy of the sample project in ``folder``, with the files backend.

    Raises UsageError where ``folder`` contains anything but an earlier demo, MissingExtraError.
    """
    from .report.guarded_pages import training_page
    from .training.run import train_project

    require("train", "cellgennet demo")

    sample = sample_projects()
    _clear(folder)
    shutil.copytree(sample / "quickstart", folder / "project")
    bundle_path, table = folder / "quickstart.cgn", folder / "measurements.csv"
    config = load_config(Path(__file__).with_name("demo.yaml")).model_copy(update={"threads": threads})
    with open_project(
        folder / "project", "files", None, slide_size, writable=True, reporter=reporter
    ) as project:
        bundle = train_project(
            project, bundle_path, config, reporter=reporter, write_report=training_page(reporter)
        )
        results = segment_project(project, bundle, SegmentOptions(threads=threads), reporter=reporter)
        failed = [result.sentence() for result in results if result.status == "failed"]
        if failed:
            raise CellGenNetError("demo", f"could not segment every slide ({'; '.join(failed)})")
        export_project(project, table, reporter=reporter)
        scores = score_project(project, sample / "truth")
    places = {
        "project": folder / "project",
        "detections": folder / "project" / "cellgennet" / "detections",
        "table": table,
        "model": bundle_path,
    }
    return Outcome(scores, places)


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
        stem = entry.name.split(".")[0]
        labels = cv2.imread(str(truth / f"{stem}.png"), cv2.IMREAD_UNCHANGED)
        if labels is None:
            raise CellGenNetError(truth / f"{stem}.png", "is missing", "Install the package again")
        true = labels.astype(np.int32)
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
