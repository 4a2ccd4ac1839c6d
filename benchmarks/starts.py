"""Train a start without a domain: the recipe of the shipped model on everything else.

    python benchmarks/starts.py DATA tnbc -o no-tnbc.cgn --runs RUNS

DOMAIN is one of ``domains.DOMAINS``. Train on all labels of the other domains, test splits included, as no
score on them is reported; every tenth group of images that share tissue is for validation. An interrupted
run continues where it stopped.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
from datasets import MPP, labelled
from domains import DOMAINS, Domains
from pretrain import RULE, attribution, validation_scores
from reporting import Printed

from cellgennet_qupath.annotations.labels import Split
from cellgennet_qupath.bundle import Card, now, versions, write_bundle
from cellgennet_qupath.core.config_file import load_config
from cellgennet_qupath.training.data import TrainingData
from cellgennet_qupath.training.run import train_model


def data_without(root: Path, domain: str) -> TrainingData:
    """All labels outside a domain; groups of images are validated on as a whole."""
    images = Domains(root).without(domain)
    held_out = set(sorted({image.group for image in images})[9::10])
    training, validation = [], []
    for image in images:
        if image.group in held_out:
            validation.append(labelled(image.item, Split.VALIDATION))
        else:
            training.append(labelled(image.item, Split.TRAINING))
    return TrainingData(MPP, len(images), training, validation, [])


@click.command()
@click.argument("root", metavar="DATA", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("domain", type=click.Choice(DOMAINS))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--runs", type=click.Path(path_type=Path), required=True, help="Folder for checkpoints.")
def main(root: Path, domain: str, output: Path, runs: Path) -> None:
    """Train, or continue an interrupted training, and write the bundle."""
    config = load_config(Path(__file__).with_name("pretrained.yaml"))
    data = data_without(root, domain)
    started = time.monotonic()
    trained = train_model(data, runs / domain, config, "student", True, Printed())
    scores = validation_scores(trained, config, data.validation)
    card = Card(
        name=output.stem,
        created=now(),
        licence="CC BY 4.0",
        attribution=attribution(config),
        mpp=MPP,
        species=["human", "mouse"],
        classes=[config.classes.detection_class],
        decoding=RULE.model_dump(),
        config=config.model_dump(mode="json"),
        training=data.describe()
        | {
            "without": domain,
            "minutes of the last sitting": round((time.monotonic() - started) / 60, 1),
            "command": f"python benchmarks/starts.py DATA {domain}",
        },
        metrics={"student": scores},
        versions=versions(),
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    write_bundle(output, card, trained.files)
    click.echo(f"{output}: {json.dumps(scores)}")


if __name__ == "__main__":
    main()
