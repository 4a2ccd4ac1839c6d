"""How well two drawings of the same tissue agree: the ceiling of every score on NuInsSeg.

    python benchmarks/drawn_twice.py DATA

Neighbouring fields of NuInsSeg share tissue that was annotated twice (``overlapping_pairs.csv``). The shared
part of the two label images is scored as if one were a prediction of the other, both ways; beside it the
nuclei that the shipped model finds in one picture against those in the other. Intervals are over pairs
(bootstrap, 95 %). Found, merged, split and false nuclei are per 100 true ones of all pairs.
"""

from __future__ import annotations

import csv
from pathlib import Path

import click
import numpy as np
from annotation_curve import whole_region
from domains import DomainImage, Domains
from numpy.typing import NDArray

from cellgennet_qupath.bundle import load_bundle, pretrained_bundle
from cellgennet_qupath.evaluation.predictors import StudentPredictor
from cellgennet_qupath.metrics.scores import Scores, score
from cellgennet_qupath.metrics.statistics import mean_interval
from cellgennet_qupath.segmentation.model import Model

COLUMNS = ("pq", "aji", "f1@0.5", "dice")
KINDS = ("found", "merged", "split", "false")
MANY = 15
"""Nuclei from which a shared part is counted in the second row."""

Part = tuple[slice, slice]


def shared_parts(shape: tuple[int, int], dx: int, dy: int) -> tuple[Part, Part]:
    """The overlap in each of two images of one shape; pixel (x, y) of the first is (x - dx, y - dy) there."""
    (y0, y1), (x0, x1) = ((max(0, d), min(n, n + d)) for d, n in zip((dy, dx), shape, strict=True))
    return (slice(y0, y1), slice(x0, x1)), (slice(y0 - dy, y1 - dy), slice(x0 - dx, x1 - dx))


def aligned(first: DomainImage, second: DomainImage, dx: int, dy: int) -> tuple[Part, Part]:
    """The shared parts, with the sign of the shift by which the pictures correlate better."""
    one, other = (image.item.pixels().mean(axis=2) for image in (first, second))
    candidates = [shared_parts(one.shape, sign * dx, sign * dy) for sign in (1, -1)]
    fits = [np.corrcoef(one[a].ravel(), other[b].ravel())[0, 1] for a, b in candidates]
    return candidates[int(np.argmax(fits))]


def both_ways(one: NDArray[np.int32], other: NDArray[np.int32]) -> dict[str, float]:
    """Mean scores of each as a prediction of the other, and the mean number of objects of each kind."""
    found: list[Scores] = [score(one, other, thresholds=(0.5,)), score(other, one, thresholds=(0.5,))]
    flat = [scores.as_dict() | {"found_objects": float(scores.counts[0.5].true_positive)} for scores in found]
    names = (*COLUMNS, "true_objects", *(f"{kind}_objects" for kind in KINDS))
    return {name: float(np.mean([one[name] for one in flat])) for name in names}


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(data: Path) -> None:
    """Print the table."""
    images = {image.item.image.stem: image for image in Domains(data).images}
    predictor = StudentPredictor("model", Model.from_bundle(load_bundle(pretrained_bundle()), 1))
    drawn, seen = [], []
    with (data / "overlapping_pairs.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            pair = [images.get(Path(row[name]).stem) for name in ("a", "b")]
            first, second = pair
            if first is None or second is None:
                continue
            parts = aligned(first, second, int(row["shift_x"]), int(row["shift_y"]))
            truths = [image.item.truth() for image in (first, second)]
            drawn.append(both_ways(*(truth[part] for truth, part in zip(truths, parts, strict=True))))
            found = [
                predictor.predict(whole_region(image.item, truth), image.item.pixels()).labels[part]
                for image, truth, part in zip((first, second), truths, parts, strict=True)
            ]
            seen.append(both_ways(*found))
    many = [number for number, one in enumerate(drawn) if one["true_objects"] >= MANY]
    header = ("compared", "pairs", *COLUMNS, *KINDS)
    click.echo("| " + " | ".join(header) + " |\n" + "|---" * len(header) + "|")
    for name, each, kept in (
        ("drawing and drawing", drawn, list(range(len(drawn)))),
        (f"drawing and drawing, {MANY} nuclei or more", drawn, many),
        ("model and model, two pictures of one tissue", seen, list(range(len(seen)))),
    ):
        cells = []
        for column in COLUMNS:
            values = np.array([each[number][column] for number in kept])
            low, high = mean_interval(values)
            cells.append(f"{np.nanmean(values):.3f} ({low:.3f} to {high:.3f})")
        nuclei = sum(each[number]["true_objects"] for number in kept)
        for kind in KINDS:
            cells.append(f"{100 * sum(each[number][f'{kind}_objects'] for number in kept) / nuclei:.1f}")
        click.echo(f"| {name} | {len(kept)} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
