"""Teacher and student from few labels on real tissue: the comparison of docs/method.md.

    python benchmarks/sparse_labels.py DATA -o RUNS [--protocol sparse-10] [--row distilled]... [--seed 0]...

What the rows are trained with is decided on ``development``: the whole of every tenth train image, of whose
labels no protocol trains on any (sparse-10 and all-labels validate on them). Test images have no influence.

DATA is a folder of ``manifest.csv`` and ``nuclei/DATASET/{images,labels}``. Every run (protocol, row, seed)
has a folder of its own below RUNS with its settings, checkpoints and scores; a run that is complete is not
repeated, an interrupted one continues. ``RUNS/table.md`` and ``RUNS/table.json`` list all complete runs.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from datasets import (
    MPP,
    TRAINED_ON,
    LabelledImage,
    development_images,
    labelled_everywhere,
    sparse_data,
    test_images,
)
from numpy.typing import NDArray
from reporting import Printed
from sparse_table import document, results

from cellgennet_qupath.bundle import now, versions
from cellgennet_qupath.core.config import Config
from cellgennet_qupath.evaluation.predictors import classical_labels
from cellgennet_qupath.geometry.contours import label_polygons
from cellgennet_qupath.geometry.raster import rasterize
from cellgennet_qupath.metrics.boundary import boundary_scores
from cellgennet_qupath.metrics.scores import mean_scores, score
from cellgennet_qupath.segmentation.decode import DecodingConfig, decode
from cellgennet_qupath.training.pseudo_label_store import rounds
from cellgennet_qupath.training.run import Stage, Trained, train_model
from cellgennet_qupath.training.soft_maps import whole_maps

ALL_LABELS = "all-labels"
ANNOTATIONS_ALONE = {"distillation": 0.0, "consistency": 0.0}
# In labelled steps, as timed on one thread: what an unlabelled patch adds to a step, by its share in the
# labelled ones, and what one view of one tile by the averaged student takes.
UNLABELLED_PATCH = 0.9
PREDICTED_VIEW = 0.43


@dataclass(frozen=True)
class Contender:
    """Something that finds nuclei: labels int32 (rows, columns) of an image, and its number of parameters."""

    segment: Callable[[LabelledImage], NDArray[np.int32]]
    parameters: int


def as_long(config: Config, tiles: int) -> int:
    """Epochs on labelled patches alone that take as long as training a distilled student."""
    student, pseudo = config.student, config.pseudo
    joint = student.epochs - rounds(config)[0]
    patches = joint * UNLABELLED_PATCH * pseudo.batch / student.batch
    predictions = len(rounds(config)) * tiles * pseudo.views * PREDICTED_VIEW / student.steps_per_epoch
    return round(student.epochs + patches + predictions)


def settings(row: str, seed: int, config: Config, tiles: int) -> Config:
    """The settings of a row of the table, in a protocol of so many unlabelled tiles."""
    loss, pseudo, student = config.loss, config.pseudo, config.student
    if row == "supervised":
        loss = loss.model_copy(update=ANNOTATIONS_ALONE)
        student = student.model_copy(update={"epochs": as_long(config, tiles)})
    elif row == "with-consistency":
        loss = loss.model_copy(update={"consistency": 0.25})
    elif row == "no-cutmix":
        pseudo = pseudo.model_copy(update={"cutmix": 0.0})
    elif row == "no-doubt":
        pseudo = pseudo.model_copy(update={"uncertainty_decay": 0.0})
    elif row == "teacher-alone":
        pseudo = pseudo.model_copy(update={"student_share": 0.0})
    elif row == "student-alone":
        pseudo = pseudo.model_copy(update={"student_share": 1.0})
    elif row == "no-dropout":
        student = student.model_copy(update={"dropout": 0.0})
    elif row not in ("teacher", "distilled"):
        raise click.BadParameter(f"unknown row {row}")
    return config.model_copy(update={"seed": seed, "loss": loss, "pseudo": pseudo, "student": student})


def student_of(trained: Trained, config: Config) -> Contender:
    """The student at work: maps, nuclei, outlines, and these drawn again at full resolution."""
    from cellgennet_qupath.networks.network import load_network
    from cellgennet_qupath.networks.runtime import load_runtime

    weights = trained.files["student.safetensors"]
    runtime = load_runtime(weights, config.student, threads=config.threads)
    mpp = config.mpp or MPP
    rule = DecodingConfig.model_validate(trained.decoding).at(runtime.stride * mpp)

    def segment(item: LabelledImage) -> NDArray[np.int32]:
        maps = whole_maps(runtime.predict, item.normalised(mpp))
        labels, _ = decode(maps[..., 0], maps[..., 1], rule)
        return rasterize(label_polygons(labels, runtime.stride * mpp / MPP), item.shape)

    network = load_network(weights, config.student, torch.device("cpu"))
    return Contender(segment, sum(p.numel() for p in network.parameters()))


def teacher_of(trained: Trained, config: Config) -> Contender:
    """StarDist's own instances at its tuned thresholds."""
    from cellgennet_qupath.networks.stardist_process import StarDistProcess

    folder = trained.files["teacher"]
    teacher = StarDistProcess(folder, threads=config.threads)
    teacher.load_weights(folder / "weights_best.h5")
    tuned = trained.thresholds

    mpp = config.mpp or MPP

    def segment(item: LabelledImage) -> NDArray[np.int32]:
        image = item.normalised(mpp)
        maps = teacher.predict(image)
        labels, _ = teacher.instances(maps, image.shape[:2], tuned["prob"], tuned["nms"])
        return labels if mpp == MPP else rasterize(label_polygons(labels, mpp / MPP), item.shape)

    return Contender(segment, sum(weights.size for weights in teacher.weights()))


def classical() -> Contender:
    """No learning: stain, Otsu's threshold and a watershed."""
    return Contender(lambda item: classical_labels(item.pixels(), 0.25), 0)


def evaluate(segment: Callable[[LabelledImage], NDArray[np.int32]], data: Path) -> dict[str, Any]:
    """Scores by data set and image, and seconds per megapixel from an image's file to its labels."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    seconds, pixels, ready = 0.0, 0, (0, 0)
    for item in test_images(data):
        truth, begin = item.truth(), time.perf_counter()
        labels = segment(item)
        if truth.shape == ready:  # for an image of another size the network is made ready first
            seconds += time.perf_counter() - begin
            pixels += truth.size
        ready = truth.shape
        outlines = boundary_scores(truth, labels)
        found.setdefault(item.dataset, {})[item.name] = score(
            truth, labels, thresholds=(0.5, 0.7)
        ).as_dict() | {
            "hd95": outlines.hd95,
            "boundary_f1": outlines.boundary_f1,
        }
    return {"scores": found, "seconds_per_mp": round(seconds / pixels * 1e6, 3)}


def develop(segment: Callable[[LabelledImage], NDArray[np.int32]], data: Path) -> dict[str, float]:
    """Mean scores on the images by which settings are chosen."""
    held_out = development_images(data)
    return mean_scores([score(item.truth(), segment(item), thresholds=(0.5, 0.7)) for item in held_out])


def run(data: Path, runs: Path, protocol: str, row: str, seed: int, config: Config) -> None:
    """One run, unless its result is there."""
    folder = runs / protocol / row / f"seed{seed}"
    result = folder / "result.json"
    if result.is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    about: dict[str, Any] = {"protocol": protocol, "row": row, "seed": seed, "date": now()}
    about["machine"] = f"{platform.processor() or platform.machine()}, {os.cpu_count()} threads"
    about["versions"] = versions()
    if row == "classical":
        contender = classical()
    else:
        contender, learnt = _trained(data, runs, protocol, row, seed, config)
        about |= learnt
    about |= {"parameters": contender.parameters, "development": develop(contender.segment, data)}
    about |= evaluate(contender.segment, data)
    result.write_text(json.dumps(about, indent=1), encoding="utf-8")


@contextmanager
def clocked(file: Path) -> Iterator[None]:
    """Adds the time spent inside to the minutes in a file, also when it is interrupted."""
    before, started = minutes(file), time.monotonic()
    try:
        yield
    finally:
        file.write_text(str(before + (time.monotonic() - started) / 60), encoding="utf-8")


def minutes(file: Path) -> float:
    """What ``clocked`` has added up."""
    return float(file.read_text(encoding="utf-8")) if file.is_file() else 0.0


def _trained(
    data: Path, runs: Path, protocol: str, row: str, seed: int, config: Config
) -> tuple[Contender, dict[str, Any]]:
    teacher = None
    if row not in ("teacher", "supervised"):
        teacher = runs / protocol / "teacher" / f"seed{seed}" / "train" / "stardist" / "teacher"
        run(data, runs, protocol, "teacher", seed, config)
    folder = runs / protocol / row / f"seed{seed}"
    mpp = config.mpp or MPP
    data_set = (
        labelled_everywhere(data, TRAINED_ON, mpp)
        if protocol == ALL_LABELS
        else sparse_data(data, protocol, mpp)
    )
    # With few labels every train image is an unlabelled tile.
    chosen = settings(row, seed, config, data_set.images)
    stage: Stage = "teacher" if row == "teacher" else "all"
    with clocked(folder / "minutes"):
        trained = train_model(data_set, folder / "train", chosen, stage, True, Printed(), teacher)
    learnt = {
        "minutes": round(minutes(folder / "minutes"), 1),
        "material": data_set.describe(),
        "config": chosen.model_dump(mode="json"),
        "validation": trained.scores,
    }
    return (teacher_of if row == "teacher" else student_of)(trained, chosen), learnt


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-o", "--output", "runs", type=click.Path(path_type=Path), required=True)
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    default=("sparse-10",),
    show_default=True,
    type=click.Choice(["sparse-10", "sparse-1", ALL_LABELS]),
)
@click.option(
    "--row", "rows", multiple=True, default=("teacher", "supervised", "distilled"), show_default=True
)
@click.option("--seed", "seeds", multiple=True, type=int, default=(0, 1, 2), show_default=True)
@click.option("-c", "--config", "config_file", type=click.Path(path_type=Path))
def main(
    data: Path,
    runs: Path,
    protocols: tuple[str, ...],
    rows: tuple[str, ...],
    seeds: tuple[int, ...],
    config_file: Path | None,
) -> None:
    """Run what is missing, then write the tables."""
    from cellgennet_qupath.core.config_file import load_config

    config = load_config(config_file)
    for seed in seeds:
        for protocol in protocols:
            for row in rows:
                if row == "classical" and seed != seeds[0]:
                    continue  # there is no chance in it
                click.echo(f"{protocol} {row} seed {seed}", err=True)
                run(data, runs, protocol, row, seed, config)
    (runs / "table.json").write_text(json.dumps(results(runs), indent=1), encoding="utf-8")
    text = document(results(runs))
    (runs / "table.md").write_text(text, encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
