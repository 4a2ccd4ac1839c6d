"""What averaged views gain: scores of starts on tissue that they never saw, in one view and in four.

    python benchmarks/views.py DATA STARTS [--domain tnbc]...

STARTS holds a bundle ``no-DOMAIN.cgn`` for each domain (benchmarks/starts.py). All images of the domain are
scored, at full resolution; counts are per 100 true nuclei; p is of the two-sided Wilcoxon signed-rank test
of PQ over images.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from annotation_curve import whole_region
from domains import DOMAINS, Domains

from cellgennet_qupath.bundle import load_bundle
from cellgennet_qupath.evaluation.predictors import StudentPredictor
from cellgennet_qupath.metrics.scores import Scores, mean_scores, score
from cellgennet_qupath.metrics.statistics import wilcoxon
from cellgennet_qupath.networks.views import AveragedViews
from cellgennet_qupath.segmentation.model import Model

COLUMNS = ("pq", "aji", "f1@0.5", "dice")


def scores_of(model: Model, root: Path, domain: str) -> tuple[list[Scores], float]:
    """Scores of all images of a domain, and the processor seconds per megapixel."""
    predictor, found, pixels = StudentPredictor("model", model), [], 0
    begin = time.process_time()
    for image in Domains(root).of(domain):
        truth = image.item.truth()
        labels = predictor.predict(whole_region(image.item, truth), image.item.pixels()).labels
        found.append(score(truth, labels, thresholds=(0.5,)))
        pixels += truth.size
    return found, (time.process_time() - begin) / pixels * 1e6


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("starts", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--domain", "domains", multiple=True, type=click.Choice(DOMAINS), help="Default: all in STARTS."
)
def main(data: Path, starts: Path, domains: tuple[str, ...]) -> None:
    """Print the table."""
    there = domains or [domain for domain in DOMAINS if (starts / f"no-{domain}.cgn").is_dir()]
    click.echo(
        "| domain | views | PQ | AJI | F1@0.5 | Dice | found | merged | split | false | CPU s/MP | p |"
    )
    click.echo("|---" * 12 + "|")
    for domain in there:
        model = Model.from_bundle(load_bundle(starts / f"no-{domain}.cgn"), 1)
        first: list[Scores] = []
        for views, one in ((1, model), (4, replace(model, predictor=AveragedViews(model.predictor)))):
            found, seconds = scores_of(one, data, domain)
            means = mean_scores(found)
            nuclei = sum(s.true_objects for s in found)
            hits = sum(s.counts[0.5].true_positive for s in found)
            kinds = [hits, *(int(means[f"{kind}_objects"]) for kind in ("merged", "split", "false"))]
            first = first or found
            p, _ = wilcoxon(np.array([s.pq for s in found]), np.array([s.pq for s in first]))
            cells = [f"{means[name]:.3f}" for name in COLUMNS] + [f"{100 * k / nuclei:.1f}" for k in kinds]
            cells += [f"{seconds:.2f}", "" if views == 1 else f"{p:.2g}"]
            click.echo(f"| {domain} | {views} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
