"""Scores of the tools that ``train_peers.py`` trained: per image, as tables, tests and box plots."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import tifffile
from datasets import LabelledImage, test_images
from numpy.typing import NDArray
from peer_material import file_name

from cellgennet_qupath.metrics.boundary import boundary_scores
from cellgennet_qupath.metrics.scores import score
from cellgennet_qupath.metrics.statistics import holm, mann_whitney

SCORES = {
    "dice": "Dice",
    "iou": "IoU",
    "tpr": "TPR",
    "fpr": "FPR",
    "hd95": "HD95, px",
    "pq": "PQ",
    "aji": "AJI",
    "f1@0.5": "F1@0.5",
}
TESTED = ("dice", "iou", "hd95", "pq", "aji", "f1@0.5")
SETS = {"nuinsseg": "NuInsSeg", "tnbc": "TNBC", "dsb2018_purple": "Data Science Bowl 2018, purple stain"}
FIELDS = ["method", "dataset", "image", *SCORES]


def from_files(folder: Path) -> Callable[[LabelledImage], NDArray[np.int32]]:
    """The label images that a tool wrote."""
    return lambda item: tifffile.imread(folder / file_name(item)).astype(np.int32)


def scored(method: str, data: Path, segment: Callable[[LabelledImage], NDArray[np.int32]]) -> pd.DataFrame:
    """The scores of each test image, from a method's labels int32 (rows, columns) of it."""
    rows = []
    for item in test_images(data):
        truth, found = item.truth(), segment(item)
        values = score(truth, found, thresholds=(0.5,)).as_dict()
        values["hd95"] = boundary_scores(truth, found).hd95
        rows.append([method, item.dataset, item.name, *(values[name] for name in SCORES)])
    return pd.DataFrame(rows, columns=FIELDS)


def ranking(found: pd.DataFrame) -> list[str]:
    """The methods by their mean PQ over all images, the best first."""
    return list(found.groupby("method")["pq"].mean().sort_values(ascending=False).index)


def table(found: pd.DataFrame, learnt: Mapping[str, Mapping[str, Any]], absent: Mapping[str, str]) -> str:
    """Markdown: means over images by method, what was learnt if it was, and the methods that were not run."""
    head = ["method", *SCORES.values(), "parameters", "CPU min"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for method in ranking(found):
        means = found[found["method"] == method][list(SCORES)].mean()
        cells = [f"{means[name]:.1f}" if name == "hd95" else f"{means[name]:.3f}" for name in SCORES]
        about = learnt.get(method)
        cells += [f"{about['parameters'] / 1e6:.2f} M", f"{about['minutes']:.1f}"] if about else ["-", "-"]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    empty = " |" * (len(head) - 2)
    lines += [f"| {method} | not run: {why} |{empty}" for method, why in absent.items()]
    return "\n".join(lines) + "\n"


def tests(found: pd.DataFrame, ours: str) -> str:
    """Markdown: our mean minus each other's, with p of the two-sided Mann-Whitney U test over images.

    p after Holm's correction for all lines of the table.
    """
    others = [method for method in ranking(found) if method != ours]
    lines = ["| against | " + " | ".join(SCORES[name] for name in TESTED) + " |"]
    lines.append("|---" * (len(TESTED) + 1) + "|")
    columns = [(other, name) for other in others for name in TESTED]
    pairs = [(_values(found, ours, name), _values(found, other, name)) for other, name in columns]
    corrected = holm([mann_whitney(*pair)[0] for pair in pairs])
    cells = {
        column: _difference(*pair, p, column[1])
        for column, pair, p in zip(columns, pairs, corrected, strict=True)
    }
    lines += [f"| {other} | " + " | ".join(cells[other, name] for name in TESTED) + " |" for other in others]
    return "\n".join(lines) + "\n"


def _values(found: pd.DataFrame, method: str, name: str) -> NDArray[np.float64]:
    """A score of a method on the images for which it is defined."""
    return found[found["method"] == method][name].dropna().to_numpy(np.float64)


def _difference(ours: NDArray[np.float64], other: NDArray[np.float64], p: float, name: str) -> str:
    digits = 1 if name == "hd95" else 3
    return f"{ours.mean() - other.mean():+.{digits}f} ({'< .001' if p < 0.001 else f'{p:.2g}'})"


def document(
    found: pd.DataFrame, learnt: Mapping[str, Mapping[str, Any]], absent: Mapping[str, str], ours: str | None
) -> str:
    """The tables of each data set and of all images, and the tests of a method (None: of none)."""
    parts = []
    for dataset in [*(name for name in SETS if name in set(found["dataset"])), None]:
        part = found if dataset is None else found[found["dataset"] == dataset]
        images = part["image"].nunique()
        parts.append(
            f"{SETS[dataset] if dataset else 'All'}, {images} images:\n\n{table(part, learnt, absent)}"
        )
        if ours is not None:
            parts.append(f"{ours} against the others:\n\n{tests(part, ours)}")
    return "\n".join(parts)


def boxes(found: pd.DataFrame, dataset: str, file: Path) -> None:
    """Box plots of a data set: a panel per score, a box per method, the points of the images beside it."""
    part, methods = found[found["dataset"] == dataset], ranking(found)
    rng = np.random.default_rng(0)
    with mpl.rc_context({"svg.hashsalt": "cellgennet", "svg.fonttype": "path"}):
        plot, panels = plt.subplots(2, 4, figsize=(10, 5.6), layout="constrained")
        for axes, (name, title) in zip(panels.flat, SCORES.items(), strict=True):
            columns = [part[part["method"] == method][name].dropna().to_numpy() for method in methods]
            axes.boxplot(
                columns, widths=0.6, showfliers=False, medianprops={"color": "0.1", "linewidth": 1.6}
            )
            for number, column in enumerate(columns):
                beside = number + 1 + rng.uniform(-0.15, 0.15, len(column))
                axes.scatter(beside, column, s=7, color=f"C{number}", alpha=0.6, linewidths=0)
            axes.set_title(title, fontsize="medium", loc="left")
            names = [method.replace(" cell detection, ", "\n") for method in methods]
            axes.set_xticks(range(1, len(methods) + 1), names, rotation=55, ha="right", fontsize="small")
            axes.spines[["top", "right"]].set_visible(False)
            axes.set_ylim(bottom=0)
        plot.savefig(file, metadata={"Date": None})
        plt.close(plot)
