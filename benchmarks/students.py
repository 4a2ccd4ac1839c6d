"""Students side by side: quality and speed on images that none of them was trained on.

    python benchmarks/students.py DATA BUNDLE BUNDLE... [--split test] [--views 4]

Without ``--split test`` the images are those that pretrain.py holds out of the train split: settings are
chosen on them, test images are looked at once. All are scored at full resolution. Merged, split and false
nuclei, and the shares found of all nuclei, of small (under 20 µm²) and of irregular ones are per 100 true
nuclei of their kind. Seconds are the processor's per megapixel of 0.25 µm, from file to outlines, and contain
the fixed costs of small images. p is of the two-sided Wilcoxon signed-rank test of PQ over images, against
the first bundle.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import pandas as pd
from annotation_curve import whole_region
from datasets import MPP, LabelledImage, held_out, test_images
from pretrain import DATASETS

from cellgennet_qupath.bundle import load_bundle
from cellgennet_qupath.evaluation.predictors import StudentPredictor
from cellgennet_qupath.metrics.boundary import boundary_scores
from cellgennet_qupath.metrics.matching import match_labels
from cellgennet_qupath.metrics.scores import Scores, mean_scores, score
from cellgennet_qupath.metrics.statistics import wilcoxon
from cellgennet_qupath.metrics.strata import matched_iou, true_nuclei
from cellgennet_qupath.networks.views import AveragedViews
from cellgennet_qupath.segmentation.model import Model

SCORES = ("pq", "aji", "f1@0.5", "dice")
SMALL = 20 / MPP**2
HEADER = (
    "images",
    "student",
    "PQ",
    "AJI",
    "F1@0.5",
    "Dice",
    "HD95, µm",
    "found",
    "merged",
    "split",
    "false",
    "small found",
    "irregular found",
    "CPU s/MP",
    "p",
)


@dataclass(frozen=True)
class Result:
    """One student on one image. hd95: µm; seconds: of the processor; pixels: of 0.25 µm."""

    dataset: str
    scores: Scores
    hd95: float
    nuclei: pd.DataFrame
    seconds: float
    pixels: int


def measured(predictor: StudentPredictor, item: LabelledImage) -> Result:
    """A student on an image."""
    truth, picture = item.truth(), item.pixels()
    begin = time.process_time()
    labels = predictor.predict(whole_region(item, truth), picture).labels
    seconds = time.process_time() - begin
    nuclei = true_nuclei(truth)
    nuclei["found"] = matched_iou(nuclei, match_labels(truth, labels)) >= 0.5
    scores, hd95 = score(truth, labels, thresholds=(0.5,)), boundary_scores(truth, labels).hd95
    return Result(item.dataset, scores, hd95 * MPP, nuclei, seconds, truth.size)


def row(name: str, student: str, results: Sequence[Result], first: Sequence[Result]) -> list[str]:
    """A line of the table."""
    means = mean_scores([one.scores for one in results])
    nuclei = pd.concat([one.nuclei for one in results])
    kinds = [100 * means[f"{kind}_objects"] / len(nuclei) for kind in ("merged", "split", "false")]
    found = [
        100 * part["found"].mean()
        for part in (nuclei, nuclei[nuclei["area"] < SMALL], nuclei[nuclei["irregular"]])
    ]
    p = ""
    if results is not first:
        mine, theirs = (np.array([one.scores.pq for one in each]) for each in (results, first))
        p = f"{wilcoxon(mine, theirs)[0]:.2g}"
    seconds = sum(one.seconds for one in results) / sum(one.pixels for one in results) * 1e6
    return [
        f"{name}, {len(results)}",
        student,
        *(f"{means[column]:.3f}" for column in SCORES),
        f"{np.nanmean([one.hd95 for one in results]):.1f}",
        *(f"{value:.1f}" for value in (found[0], *kinds, *found[1:])),
        f"{seconds:.2f}",
        p,
    ]


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument(
    "bundles", type=click.Path(path_type=Path, exists=True, file_okay=False), nargs=-1, required=True
)
@click.option("--split", type=click.Choice(["validation", "test"]), default="validation", show_default=True)
@click.option("--views", type=click.Choice(["1", "4"]), default="1", show_default=True)
@click.option("--without", multiple=True, help="Name of an image to leave out.")
def main(data: Path, bundles: tuple[Path, ...], split: str, views: str, without: tuple[str, ...]) -> None:
    """Print a table, by data set and over all images."""
    items = held_out(data, DATASETS) if split == "validation" else list(test_images(data))
    items = [item for item in items if item.name not in without]
    models = [Model.from_bundle(load_bundle(path), 1) for path in bundles]
    if views == "4":
        models = [replace(model, predictor=AveragedViews(model.predictor)) for model in models]
    click.echo("| " + " | ".join(HEADER) + " |")
    click.echo("|---" * len(HEADER) + "|")
    predictors = [StudentPredictor("model", model) for model in models]
    found = [[measured(predictor, item) for item in items] for predictor in predictors]
    for name in [*dict.fromkeys(item.dataset for item in items), "all"]:
        parts = [[one for one in results if name in (one.dataset, "all")] for results in found]
        for path, part in zip(bundles, parts, strict=True):
            click.echo("| " + " | ".join(row(name, path.stem, part, parts[0])) + " |")


if __name__ == "__main__":
    main()
