"""The upper bound of distillation: scores of the mixed soft labels themselves, for docs/method.md.

    python benchmarks/soft_labels.py DATA RUNS [--protocol sparse-10]... [--row supervised] [--seed 0]...

RUNS is what sparse_labels.py has written: the teachers and the students of a row are taken from there. On the
development images the maps of one student in one view and in four, of the mean of all seeds' students, and of
student and teacher together are decoded by the standard rule. A student that learns such maps to perfection
reaches their scores and no better ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from datasets import LabelledImage, development_images
from numpy.typing import NDArray

from cellgennet_qupath.core.config import Config
from cellgennet_qupath.core.config_file import load_config
from cellgennet_qupath.geometry.contours import label_polygons
from cellgennet_qupath.geometry.raster import rasterize
from cellgennet_qupath.metrics.scores import Scores, mean_scores, score
from cellgennet_qupath.networks.stardist_process import StarDistProcess
from cellgennet_qupath.segmentation.decode import DecodingConfig, decode
from cellgennet_qupath.training.pseudo_labels import predict_views
from cellgennet_qupath.training.soft_maps import Predict, student_predict, teacher_predict

Maps = NDArray[np.float32]
STUDENTS_SHARE = (0.8, 0.5, 0.0)
VIEWS = 4
COLUMNS = ("pq", "aji", "dice", "f1@0.5")


def soft_labels(
    image: Maps, students: list[Predict], teachers: list[Predict]
) -> Iterator[tuple[str, list[Maps]]]:
    """Named maps (rows / 2, columns / 2, 2), for each seed one or for all together one."""
    yield "student, one view", [predict(image) for predict in students]
    by_students = [predict_views(predict, image, VIEWS).mean for predict in students]
    yield f"student, {VIEWS} views", by_students
    yield f"mean of {len(students)} students, {VIEWS} views", [np.mean(by_students, axis=0)]
    by_teachers = [predict_views(predict, image, VIEWS).mean for predict in teachers]
    pairs = list(zip(by_students, by_teachers, strict=True))
    for share in STUDENTS_SHARE:
        yield f"{share:.0%} student, {1 - share:.0%} teacher", [share * s + (1 - share) * t for s, t in pairs]
    only = [np.stack([s[..., 0], (s[..., 1] + t[..., 1]) / 2], axis=-1) for s, t in pairs]
    yield "foreground of the student, objects of both by half", only


def nuclei(maps: Maps, shape: tuple[int, int]) -> NDArray[np.int32]:
    """Labels at full resolution by the standard rule at 0.5 µm a sample of the maps."""
    labels, _ = decode(maps[..., 0].copy(), maps[..., 1].copy(), DecodingConfig().at(0.5))
    return rasterize(label_polygons(labels, 2), shape)


def measured(
    held_out: list[LabelledImage], students: list[Predict], teachers: list[Predict]
) -> dict[str, dict[str, list[float]]]:
    """Mean scores over images, by the name of the soft labels, one per seed."""
    scores: dict[str, list[list[Scores]]] = {}
    for item in held_out:
        image, truth = item.normalised(), item.truth()
        for name, found in soft_labels(image, students, teachers):
            each = scores.setdefault(name, [[] for _ in found])
            for seed, maps in enumerate(found):
                each[seed].append(score(truth, nuclei(maps, truth.shape), thresholds=(0.5,)))
    means = {name: [mean_scores(seed) for seed in each] for name, each in scores.items()}
    return {name: {c: [seed[c] for seed in each] for c in COLUMNS} for name, each in means.items()}


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """Markdown: mean ± standard deviation over seeds."""
    lines = ["| maps | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, columns in found.items():
        cells = []
        for values in columns.values():
            deviation = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.3f}{deviation}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def networks(
    runs: Path, row: str, seeds: tuple[int, ...], config: Config
) -> tuple[list[Predict], list[Predict]]:
    """Students of a row and the teachers of the same protocol and seeds."""
    students, teachers = [], []
    for seed in seeds:
        weights = runs / row / f"seed{seed}" / "train" / "student.safetensors"
        students.append(student_predict(weights, config.student, config.threads))
        folder = runs / "teacher" / f"seed{seed}" / "train"
        tuned = json.loads((folder / "teacher.json").read_text(encoding="utf-8"))["thresholds"]
        teacher = StarDistProcess(folder / "stardist" / "teacher", threads=config.threads)
        teachers.append(teacher_predict(teacher, tuned, config.student.stride))
    return students, teachers


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("runs", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--protocol", "protocols", multiple=True, default=("sparse-10", "sparse-1"), show_default=True)
@click.option("--row", default="supervised", show_default=True, help="The row whose students predict.")
@click.option("--seed", "seeds", multiple=True, type=int, default=(0, 1, 2), show_default=True)
@click.option("-c", "--config", "config_file", type=click.Path(path_type=Path))
def main(
    data: Path,
    runs: Path,
    protocols: tuple[str, ...],
    row: str,
    seeds: tuple[int, ...],
    config_file: Path | None,
) -> None:
    """Print a table for each protocol."""
    config = load_config(config_file)
    held_out = development_images(data)
    for protocol in protocols:
        students, teachers = networks(runs / protocol, row, seeds, config)
        click.echo(f"**{protocol}**, {len(held_out)} images:\n")
        click.echo(table(measured(held_out, students, teachers)) + "\n")


if __name__ == "__main__":
    main()
