"""The results of annotation_curve.py as tables and a figure.

    python benchmarks/annotation_table.py RUNS [--figure FILE.svg]

Means over the images of a lab, then over its seeds, then over domains. Gains are against the start on the
same images; p is of the two-sided Wilcoxon signed-rank test over images, of which each image's seeds are
averaged first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click
import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from cellgennet_qupath.metrics.statistics import wilcoxon

ROWS = {
    "start": "start alone",
    "scale": "start at the lab's scale",
    "nothing": "from nothing",
    "brief": "from nothing, as long",
    "supervised": "adapted, annotations alone",
    "adapted": "adapted",
}
SCORES = {"pq": "PQ", "aji": "AJI", "f1@0.5": "F1@0.5", "dice": "Dice"}


def results(runs: Path) -> pd.DataFrame:
    """One line per lab, row and image."""
    lines = []
    for file in sorted(runs.glob("*/*/seed*/*.json")):
        about = json.loads(file.read_text(encoding="utf-8"))
        domain, nuclei, seed = file.parts[-4], int(file.parts[-3]), file.parts[-2].removeprefix("seed")
        for image, scores in about["scores"].items():
            lines.append(
                {"domain": domain, "nuclei": nuclei, "seed": int(seed), "row": file.stem, "image": image}
                | {"outlined": about["outlined"]}
                | scores
            )
    return pd.DataFrame(lines)


def table(found: pd.DataFrame, nuclei: int) -> str:
    """All rows of labs with so many outlined nuclei, as Markdown."""
    labs = found[found["nuclei"] == nuclei]
    lines = [
        "| domain | model | seeds | PQ | AJI | F1@0.5 | Dice | PQ gained | least in a seed | p |",
        "|---" * 10 + "|",
    ]
    for domain in labs["domain"].unique():
        own = labs[labs["domain"] == domain]
        start = own[own["row"] == "start"].set_index(["seed", "image"])["pq"]
        for row, name in ROWS.items():
            model = own[own["row"] == row]
            if model.empty:
                continue
            by_seed = model.groupby("seed")[list(SCORES)].mean()
            means = " | ".join(f"{by_seed[score].mean():.3f}".lstrip("0") for score in SCORES)
            gained, least, p = "", "", ""
            if row != "start":
                gain = model.set_index(["seed", "image"])["pq"] - start
                seeds = gain.groupby("seed").mean()
                gained, least = f"{seeds.mean():+.3f}", f"{seeds.min():+.3f}"
                images = gain.groupby("image").mean().dropna()
                p = _p(wilcoxon(images.to_numpy(), np.zeros(len(images)))[0])
            lines.append(f"| {domain} | {name} | {len(by_seed)} | {means} | {gained} | {least} | {p} |")
    return "\n".join(lines)


def _p(value: float) -> str:
    return f"{value:.3f}".lstrip("0") if value >= 0.001 else "< .001"


def curve(found: pd.DataFrame) -> str:
    """PQ gained by adaptation against outlined nuclei, a column per domain, as Markdown; the first seed."""
    domains = list(found["domain"].unique())
    lines = ["| outlined nuclei | " + " | ".join(domains) + " |", "|---" * (len(domains) + 1) + "|"]
    first = found[found["seed"] == 0]
    for nuclei in sorted(found["nuclei"].unique()):
        cells = []
        for domain in domains:
            lab = first[(first["nuclei"] == nuclei) & (first["domain"] == domain)]
            pq = lab.groupby("row")["pq"].mean()
            cells.append(
                f"{pq['adapted'] - pq['start']:+.3f}" if {"adapted", "start"} <= set(pq.index) else ""
            )
        lines.append(f"| {nuclei} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def figure(found: pd.DataFrame, file: Path) -> None:
    """PQ against outlined nuclei, a colour per domain: adapted (at 0 the start alone) and from nothing."""
    plot, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    first = found[found["seed"] == 0]
    for number, domain in enumerate(first["domain"].unique()):
        own, colour = first[first["domain"] == domain], f"C{number}"
        pq = own.groupby(["row", "nuclei"])["pq"].mean()
        adapted = pd.concat([pd.Series({0: pq["start"].mean()}), pq["adapted"]])
        axes.plot(adapted.index, adapted.to_numpy(), marker="o", markersize=4, color=colour, label=domain)
        if "nothing" in pq:
            nothing = pq["nothing"]
            axes.plot(nothing.index, nothing.to_numpy(), ":", marker="x", markersize=5, color=colour)
    if "nothing" in set(first["row"]):
        axes.plot([], [], ":", marker="x", markersize=5, color="0.4", label="trained from nothing")
    axes.set(xlabel="outlined nuclei", ylabel="panoptic quality on other images", xlim=(-5, None))
    axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    plot.savefig(file)


@click.command()
@click.argument("runs", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--figure", "picture", type=click.Path(path_type=Path), help="Draw the figure into this file.")
def main(runs: Path, picture: Path | None) -> None:
    """Print a table for each number of outlined nuclei."""
    found = results(runs)
    numbers: Sequence[int] = sorted(found["nuclei"].unique())
    for nuclei in numbers:
        click.echo(f"\nAbout {nuclei} outlined nuclei\n\n{table(found, nuclei)}")
    click.echo(f"\nPQ gained by adaptation, seed 0\n\n{curve(found)}")
    if picture is not None:
        figure(found, picture)


if __name__ == "__main__":
    main()
