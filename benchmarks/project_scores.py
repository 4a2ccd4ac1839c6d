"""Score a segmented project, and the teacher of its bundle, against full labels, slide by slide.

    python benchmarks/project_scores.py PROJECT -m BUNDLE --truth FOLDER [--slides DIR] [-o REPORT.json]

FOLDER holds one 16-bit instance map per slide, named as the slide's file without its endings. The
student's nuclei are those that ``cellgennet segment`` put into the project (files backend); the teacher
is run here. Each slide is scored whole, and outside the regions that the model was trained on.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from cellgennet_qupath.annotations.labels import Split
from cellgennet_qupath.annotations.reader import interpret
from cellgennet_qupath.bundle import Bundle, load_bundle, now, versions
from cellgennet_qupath.geometry.coordinates import grid_size
from cellgennet_qupath.geometry.raster import rasterize
from cellgennet_qupath.metrics.scores import Scores, mean_scores, score
from cellgennet_qupath.networks.stardist_process import StarDistProcess
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.qupath.project import ImageEntry, Project
from cellgennet_qupath.slides.normalisation import estimate
from cellgennet_qupath.slides.pixel_size import downsample_for, resolve_mpp
from cellgennet_qupath.slides.reader import open_slide, slide_size
from cellgennet_qupath.slides.tissue import tissue_mask

COLUMNS = ("f1@0.5", "aji", "pq", "dice")


def teacher_labels(teacher: StarDistProcess, bundle: Bundle, entry: ImageEntry) -> NDArray[np.int32]:
    """The teacher's nuclei of a slide of the bundle's own resolution, as labels of full resolution."""
    if entry.slide is None:
        raise click.ClickException(f"{entry.name}: slide not found")
    with open_slide(entry.slide, entry.series) as reader:
        calibration = resolve_mpp(entry.mpp, reader.mpp, None, entry.name)
        downsample = 1.0 if bundle.card.mpp is None else downsample_for(calibration, bundle.card.mpp)
        columns, rows = grid_size(reader.width, reader.height, downsample)
        normalisation = estimate(reader, downsample, bundle.config.normalisation, tissue_mask(reader))
        image = normalisation.apply(reader.read_grid(0, 0, columns, rows, downsample))
        size = (reader.width, reader.height)
    maps = teacher.predict(image)
    thresholds = bundle.card.teacher_thresholds
    labels, _ = teacher.instances(maps, (rows, columns), thresholds["prob"], thresholds["nms"])
    return cv2.resize(labels.astype(np.float32), size, interpolation=cv2.INTER_NEAREST).astype(np.int32)


def trained_on(
    project: Project, bundle: Bundle, entry: ImageEntry, shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Where a slide's pixels were training regions."""
    supervision = interpret(project.annotations(entry), bundle.config.classes)
    regions = [*supervision.regions[Split.TRAINING], *supervision.nuclei[supervision.scattered]]
    return rasterize(regions, shape) > 0


@click.command()
@click.argument("project", type=click.Path(path_type=Path))
@click.option("-m", "--model", type=click.Path(path_type=Path), required=True)
@click.option("--truth", type=click.Path(path_type=Path, file_okay=False, exists=True), required=True)
@click.option("--slides", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("-o", "--output", type=click.Path(path_type=Path))
def main(project: Path, model: Path, truth: Path, slides: Path | None, output: Path | None) -> None:
    """Print a table of scores per slide for the teacher and the student."""
    bundle = load_bundle(model)
    teacher = StarDistProcess(bundle.teacher)
    teacher.load_weights(bundle.teacher / "weights_best.h5")
    rows: dict[str, dict[str, dict[str, Scores]]] = {}
    with open_project(project, "files", slides, slide_size) as found:
        for entry in found.entries:
            labels = truth / f"{Path(entry.uri).name.split('.')[0]}.png"
            if not labels.is_file():
                continue
            image = cv2.imread(str(labels), cv2.IMREAD_UNCHANGED)
            if image is None:
                raise SystemExit(f"{labels} cannot be read")
            true = image.astype(np.int32)
            shape = (true.shape[0], true.shape[1])
            seen = trained_on(found, bundle, entry, shape)
            guesses = {
                "teacher": teacher_labels(teacher, bundle, entry),
                "student": rasterize(found.detections(entry).polygons, shape),
            }
            rows[entry.name] = {
                who: {"whole": score(true, labels), "unseen": score(true, labels, seen)}
                for who, labels in guesses.items()
            }
    for part in ("whole", "unseen"):
        click.echo(
            f"\n| {part} slide | nuclei | " + " | ".join(f"{w} {c}" for w in guesses for c in COLUMNS) + " |"
        )
        click.echo("|---|---|" + "---|" * (2 * len(COLUMNS)))
        for name, scores in rows.items():
            cells = [f"{scores[w][part].as_dict()[c]:.3f}" for w in guesses for c in COLUMNS]
            click.echo(f"| {name} | {scores['student'][part].true_objects} | " + " | ".join(cells) + " |")
        means = {w: mean_scores([scores[w][part] for scores in rows.values()]) for w in guesses}
        cells = [f"{means[w][c]:.3f}" for w in guesses for c in COLUMNS]
        click.echo(f"| **mean** | {means['student']['true_objects']:.0f} | " + " | ".join(cells) + " |")
    if output is not None:
        document = {
            "date": now(),
            "bundle": bundle.card.name,
            "fingerprint": bundle.fingerprint,
            "versions": versions(),
            "slides": {
                name: {w: {p: s.as_dict() for p, s in parts.items()} for w, parts in scores.items()}
                for name, scores in rows.items()
            },
        }
        output.write_text(json.dumps(document, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
