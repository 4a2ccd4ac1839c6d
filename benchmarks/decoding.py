"""The effect of the decoding rule: scores of one student's maps under several rules.

    python benchmarks/decoding.py DATA WEIGHTS... [--every 3]

WEIGHTS are ``student.safetensors`` of the default student, of a bundle or of a run of sparse_labels.py. They
are asked about train images only, every so many of them: the rule is chosen on these, never on test images.
Of their pixels a student of few labels has learnt from less than a tenth.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from datasets import LabelledImage, images
from numpy.typing import NDArray

from cellgennet_qupath.core.config import StudentConfig
from cellgennet_qupath.geometry.contours import label_polygons
from cellgennet_qupath.geometry.raster import rasterize
from cellgennet_qupath.metrics.scores import score
from cellgennet_qupath.segmentation.decode import Decoding, decode
from cellgennet_qupath.training.soft_maps import student_predict

DATASETS = ["nuinsseg", "tnbc", "dsb2018_purple"]
STANDARD = Decoding()
RULES = {
    "peaks 5 apart, none merged": replace(STANDARD, peak_distance=5, valley=1),
    "peaks 4 apart, none merged": replace(STANDARD, valley=1),
    "valley 0.95 (standard)": STANDARD,
    "valley 0.91": replace(STANDARD, valley=0.91),
    "valley 0.87": replace(STANDARD, valley=0.87),
    "blur 1.5, valley 0.87": replace(STANDARD, blur=1.5, valley=0.87),
    "blur 1.5, valley 0.91": replace(STANDARD, blur=1.5, valley=0.91),
}


def scored(
    maps: list[NDArray[np.float32]], truths: list[NDArray[np.int32]], rule: Decoding
) -> tuple[NDArray[np.float64], float]:
    """Panoptic quality of each image, and how many of 100 nuclei of all images together are found."""
    each = []
    for both, truth in zip(maps, truths, strict=True):
        labels, _ = decode(both[..., 0], both[..., 1], rule)
        drawn = rasterize(label_polygons(labels, 2), truth.shape)
        each.append(score(truth, drawn, thresholds=(0.5,)).as_dict())
    nuclei = np.array([one["true_objects"] for one in each])
    share = np.nan_to_num([one["recall@0.5"] for one in each])
    return np.array([one["pq"] for one in each]), float(100 * (share * nuclei).sum() / nuclei.sum())


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument(
    "weights", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option("--every", default=3, show_default=True, help="Of the train images.")
def main(data: Path, weights: tuple[Path, ...], every: int) -> None:
    """Print a table for each student."""
    chosen: list[LabelledImage] = images(data, "train", DATASETS)[::every]
    truths = [item.truth() for item in chosen]
    of = np.array([item.dataset for item in chosen])
    for file in weights:
        predict = student_predict(file, StudentConfig(), 1)
        maps = [predict(item.normalised()) for item in chosen]
        counts = [f"{name}, {(of == name).sum()} images" for name in DATASETS]
        click.echo(f"{file}\n\n| rule | {' | '.join(counts)} | all | found of 100 |")
        click.echo("|---" * (len(DATASETS) + 3) + "|")
        for name, rule in RULES.items():
            quality, found = scored(maps, truths, rule)
            means = [*(quality[of == dataset].mean() for dataset in DATASETS), quality.mean()]
            click.echo(f"| {name} | " + " | ".join(f"{mean:.3f}" for mean in means) + f" | {found:.0f} |")
        click.echo()


if __name__ == "__main__":
    main()
