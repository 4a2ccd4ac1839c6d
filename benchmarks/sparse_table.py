"""The results of ``sparse_labels.py`` as tables and tests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellgennet_qupath.metrics.statistics import holm, wilcoxon

COLUMNS = ("dice", "iou", "f1@0.5", "f1@0.7", "aji", "pq", "hd95", "boundary_f1")
TESTED = ("dice", "aji", "pq", "f1@0.5")
ROWS = ("classical", "teacher", "supervised", "distilled")
ALL = "all"

Result = Mapping[str, Any]


def results(runs: Path) -> list[dict[str, Any]]:
    """Every complete run below a folder."""
    return [
        json.loads(file.read_text(encoding="utf-8")) for file in sorted(runs.glob("*/*/seed*/result.json"))
    ]


def document(found: list[dict[str, Any]]) -> str:
    """Markdown: a table of means for each protocol and test set, and the tests."""
    parts = []
    for protocol in sorted({one["protocol"] for one in found}):
        mine = [one for one in found if one["protocol"] == protocol]
        sets = [ALL, *sorted({name for one in mine for name in one["scores"]})]
        parts += [f"### {protocol}, {name}\n\n{table(mine, name)}" for name in sets]
        parts.append(f"### {protocol}, distilled against the others\n\n{tests(mine)}")
        if not {one["row"] for one in mine} <= set(ROWS):
            parts.append(f"### {protocol}, distilled otherwise\n\n{ablations(mine)}")
    return "\n".join(parts)


def table(found: list[dict[str, Any]], dataset: str) -> str:
    """Means over the images of a test set, then over seeds, with the standard deviation over seeds."""
    head = ("row", "seeds", *COLUMNS, "parameters", "training min", "s/MP")
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in _rows(found):
        mine = [one for one in found if one["row"] == row]
        cells = []
        for column in COLUMNS:
            means = [np.nanmean(list(_values(one, dataset, column).values())) for one in mine]
            cells.append(
                f"{np.mean(means):.3f} ± {np.std(means, ddof=1):.3f}" if len(mine) > 1 else f"{means[0]:.3f}"
            )
        cells.append(f"{mine[0]['parameters'] / 1e6:.2f} M")
        cells.append(f"{np.mean([one.get('minutes', 0) for one in mine]):.0f}")
        cells.append(f"{np.mean([one['seconds_per_mp'] for one in mine]):.2f}")
        lines.append(f"| {row} | {len(mine)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def tests(found: list[dict[str, Any]]) -> str:
    """Signed-rank tests of the distilled student against teacher and supervised student, image by image.

    All seeds: each image's mean over the seeds that both have, p after Holm's correction for all the lines.
    One seed: its own images, p as it is.
    """
    lines = ["| against | seeds | metric | images | difference | p |", "|---" * 6 + "|"]
    for other in ("teacher", "supervised"):
        seeds = sorted(_seeds(found, "distilled") & _seeds(found, other))
        if not seeds:
            continue
        pairs = [_paired(found, other, seeds, metric) for metric in TESTED]
        names = ", ".join(map(str, seeds))
        corrected = holm([wilcoxon(*pair)[0] for pair in pairs])
        lines += [
            f"| {other} | {names} | {metric} | {_line(pair, p)} (Holm) |"
            for metric, pair, p in zip(TESTED, pairs, corrected, strict=True)
        ]
        for seed in seeds if len(seeds) > 1 else ():
            pair = _paired(found, other, [seed], "pq")
            lines.append(f"| {other} | {seed} | pq | {_line(pair, wilcoxon(*pair)[0])} |")
    return "\n".join(lines) + "\n"


def ablations(found: list[dict[str, Any]]) -> str:
    """Panoptic quality of students distilled otherwise, next to the distilled ones of the same seeds.

    Development and test: means over images, then over seeds. The signed-rank test is on all test images, each
    the mean over the seeds, p as it is.
    """
    head = ("row", "seeds", "development", "test", "distilled: development", "test", "difference, test", "p")
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in _rows(found):
        seeds = sorted(_seeds(found, row) & _seeds(found, "distilled"))
        if row in ROWS or not seeds:
            continue
        distilled, other = _paired(found, row, seeds, "pq")
        chosen = [_developed(found, name, seeds) for name in (row, "distilled")]
        cells = [f"{chosen[0]:.3f}", f"{other.mean():.3f}", f"{chosen[1]:.3f}", f"{distilled.mean():.3f}"]
        cells += [f"{np.mean(other - distilled):+.3f}", f"{wilcoxon(other, distilled)[0]:.2g}"]
        lines.append(f"| {row} | {', '.join(map(str, seeds))} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _developed(found: Iterable[Result], row: str, seeds: list[int]) -> float:
    mine = [one["development"]["pq"] for one in found if one["row"] == row and one["seed"] in seeds]
    return float(np.mean(mine))


def _line(pair: tuple[NDArray[np.float64], NDArray[np.float64]], p: float) -> str:
    return f"{len(pair[0])} | {np.mean(pair[0] - pair[1]):+.3f} | {p:.2g}"


def _paired(
    found: Iterable[Result], other: str, seeds: list[int], metric: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values of the distilled student and of another row on the same images, means over seeds."""
    columns = []
    for row in ("distilled", other):
        runs = [one for one in found if one["row"] == row and one["seed"] in seeds]
        values = [_values(one, ALL, metric) for one in runs]
        columns.append(np.array([[one[image] for image in values[0]] for one in values]).mean(axis=0))
    known = ~np.isnan(columns[0]) & ~np.isnan(columns[1])
    return columns[0][known], columns[1][known]


def _values(one: Result, dataset: str, column: str) -> dict[tuple[str, str], float]:
    return {
        (name, image): scored[column]
        for name, images in one["scores"].items()
        if dataset in (ALL, name)
        for image, scored in images.items()
    }


def _rows(found: Iterable[Result]) -> list[str]:
    there = {one["row"] for one in found}
    return [row for row in ROWS if row in there] + sorted(there - set(ROWS))


def _seeds(found: Iterable[Result], row: str) -> set[int]:
    return {one["seed"] for one in found if one["row"] == row}
