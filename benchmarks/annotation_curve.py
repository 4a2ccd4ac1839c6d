"""How many nuclei must a lab outline? Scores against outlined nuclei, on tissue that the start never saw.

    python benchmarks/annotation_curve.py DATA STARTS -o RUNS [--domain tnbc]... [--nuclei 150]...

STARTS holds a bundle ``no-DOMAIN.cgn`` for each domain (benchmarks/starts.py). Every lab (domain, number of
nuclei, seed; benchmarks/lab.py) and every row has a folder of its own below RUNS; what is complete is not
repeated; annotation_table.py shows the results. The rows:

start       the start alone
scale       the start at the scale that the outlined nuclei ask for
nothing     trained from ImageNet weights alone, with the default settings of ``--init none``
brief       the same without unlabelled tissue, for as long as ``adapted`` takes
supervised  adapted without unlabelled tissue, for as long as ``adapted`` takes
adapted     adapted as ``cellgennet train`` does by default, whichever model it recommends
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from datasets import MPP, LabelledImage
from domains import DOMAINS
from lab import Lab, make_lab
from numpy.typing import NDArray
from reporting import Printed

from cellgennet_qupath.bundle import Bundle, load_bundle
from cellgennet_qupath.core.config import Config
from cellgennet_qupath.core.config_file import config_from
from cellgennet_qupath.evaluation.predictors import StudentPredictor
from cellgennet_qupath.evaluation.regions import EvaluationRegion
from cellgennet_qupath.geometry.rectangle import Rectangle
from cellgennet_qupath.metrics.scores import score
from cellgennet_qupath.qupath.open import open_project
from cellgennet_qupath.segmentation.model import Model
from cellgennet_qupath.slides.reader import slide_size
from cellgennet_qupath.training.adaptation import ADAPTATION_DEFAULTS
from cellgennet_qupath.training.run import train_project

ROWS = ("start", "scale", "nothing", "brief", "supervised", "adapted")
FROM_NOTHING = ("nothing", "brief")
COLUMNS = ("pq", "aji", "f1@0.5", "dice")
AS_LONG = 1.45
"""Steps on labelled patches alone that take as long as one of adaptation with distillation, timed."""


def settings(row: str, seed: int) -> Config:
    """The settings of a row that is trained."""
    raw: dict[str, Any] = {"seed": seed, "threads": 1}
    if row in ("brief", "supervised"):
        epochs = round(AS_LONG * ADAPTATION_DEFAULTS["student"]["epochs"])
        raw |= {"loss": {"distillation": 0.0}, "student": {"epochs": epochs}}
    return config_from(raw, row)


def trained(lab: Lab, start: Bundle, row: str, seed: int, output: Path) -> Bundle:
    """The bundle of a row, trained in the lab's project unless it is there."""
    if output.is_dir():
        return load_bundle(output)
    with open_project(lab.project, "files", None, slide_size, writable=True) as project:
        init = None if row in FROM_NOTHING else start
        return train_project(project, output, settings(row, seed), resume=True, reporter=Printed(), init=init)


def _known(truth: NDArray[np.int32]) -> tuple[NDArray[np.int32], None]:
    """The truth of a region in which nothing is unknown."""
    return truth, None


def whole_region(item: LabelledImage, truth: NDArray[np.int32]) -> EvaluationRegion:
    """An image as one region, in which everything is known."""
    rows, columns = truth.shape
    name = item.name
    box = Rectangle(0, 0, columns, rows)
    return EvaluationRegion(
        name, name, "", item.image, 0, box, (columns, rows), MPP, False, (), partial(_known, truth)
    )


def scores_of(model: Model, lab: Lab) -> dict[str, dict[str, float]]:
    """Scores of each image that is kept aside, whole."""
    predictor = StudentPredictor("model", model)
    found = {}
    for image in lab.scored:
        truth = image.item.truth()
        labels = predictor.predict(whole_region(image.item, truth), image.item.pixels()).labels
        values = score(truth, labels, thresholds=(0.5,)).as_dict()
        found[image.item.name] = {name: values[name] for name in COLUMNS}
    return found


def run(root: Path, starts: Path, runs: Path, domain: str, nuclei: int, seed: int, row: str) -> None:
    """One row of one lab, unless its result is there."""
    folder = runs / domain / f"{nuclei:03d}" / f"seed{seed}"
    result = folder / f"{row}.json"
    if result.is_file():
        return
    start = load_bundle(starts / f"no-{domain}.cgn")
    lab = make_lab(root, domain, seed, nuclei, folder / "project")
    about: dict[str, Any] = {"outlined": lab.outlined, "windows": lab.windows}
    began = time.monotonic()
    if row in ("start", "scale"):
        model = Model.from_bundle(start, 1)
        if row == "scale":
            card = trained(lab, start, "adapted", seed, folder / "adapted.cgn").card
            factor = card.training["enlargement"]
            mpp = (model.mpp or MPP) / factor
            model = replace(model, mpp=mpp, decoding=model.decoding.scaled(1 / factor))
            about["enlargement"] = factor
    else:
        bundle = trained(lab, start, row, seed, folder / f"{row}.cgn")
        model = Model.from_bundle(bundle, 1)
        about["training"] = bundle.card.training
    about["seconds"] = round(time.monotonic() - began, 1)
    about["scores"] = scores_of(model, lab)
    folder.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps(about, indent=1), encoding="utf-8")


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("starts", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-o", "--output", "runs", type=click.Path(path_type=Path), required=True)
@click.option("--domain", "domains", multiple=True, default=DOMAINS, type=click.Choice(DOMAINS))
@click.option("--nuclei", "numbers", multiple=True, type=int, default=(50, 150))
@click.option("--seed", "seeds", multiple=True, type=int, default=(0, 1, 2))
@click.option("--row", "rows", multiple=True, default=ROWS, type=click.Choice(ROWS))
def main(
    data: Path,
    starts: Path,
    runs: Path,
    domains: tuple[str, ...],
    numbers: tuple[int, ...],
    seeds: tuple[int, ...],
    rows: tuple[str, ...],
) -> None:
    """Run what is missing."""
    for seed in seeds:
        for domain in domains:
            for number in numbers:
                for row in rows:
                    click.echo(f"{domain} {number} nuclei seed {seed} {row}", err=True)
                    run(data, starts, runs, domain, number, seed, row)


if __name__ == "__main__":
    main()
