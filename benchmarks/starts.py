"""Train a start without a domain: network, data and task of the shipped model on everything else.

    python benchmarks/starts.py DATA tnbc -o STARTS/no-tnbc.cgn --runs RUNS
        --teacher benchmarks/starts/no-tnbc.cgn

DOMAIN is one of ``domains.DOMAINS``. Train on all labels of the other domains, test splits included, as no
score on them is reported; every tenth group of images that share tissue is for validation. With ``--teacher``
the mean of the maps of bundles over four views is learnt beside the labels. Those in ``starts/``, of the
first run of an earlier recipe (``pretrained.yaml``), have not seen the domain either. An interrupted run
continues where it stopped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import click
from datasets import MPP, LabelledImage, Maps, labelled_data
from domains import DOMAINS, Domains
from pretrain import RULE, attribution, each_once, shared_opinion, validation_scores
from reporting import Printed

from cellgennet_qupath.bundle import STUDENT, Card, load_bundle, now, versions, write_bundle
from cellgennet_qupath.core.config_file import load_config
from cellgennet_qupath.training.data import TrainingData
from cellgennet_qupath.training.run import train_model

EMPHASIS = {"tnbc": 3, "dsb2018_purple": 2}
"""How much more often than others the images of a data set are drawn, as for the shipped model."""


def data_without(
    root: Path, domain: str, mpp: float = MPP, opinion: Callable[[LabelledImage], Maps] | None = None
) -> TrainingData:
    """All labels outside a domain; groups of images are validated on as a whole.

    opinion : maps of an image to learn beside its labels.
    """
    images = Domains(root).without(domain)
    held_out = set(sorted({image.group for image in images})[9::10])
    return labelled_data([(image.item, image.group in held_out) for image in images], mpp, opinion, EMPHASIS)


@click.command()
@click.argument("root", metavar="DATA", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("domain", type=click.Choice(DOMAINS))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--runs", type=click.Path(path_type=Path), required=True, help="Folder for checkpoints.")
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="Bundle, trained without the domain, whose soft labels are learnt too.",
)
def main(root: Path, domain: str, output: Path, runs: Path, teachers: tuple[Path, ...]) -> None:
    """Train, or continue an interrupted training, and write the bundle."""
    config = load_config(Path(__file__).with_name("starts.yaml"))
    taught_by = [load_bundle(teacher) for teacher in teachers]
    opinion = shared_opinion(taught_by, config.threads) if taught_by else None
    data = data_without(root, domain, config.mpp or MPP, opinion)
    started = time.monotonic()
    trained = train_model(data, runs / domain, config, "student", True, Printed())
    scores = validation_scores(trained, config, data.validation)
    card = Card(
        name=output.stem,
        created=now(),
        licence="CC BY 4.0",
        attribution=attribution(config),
        mpp=data.mpp,
        species=["human", "mouse"],
        classes=[config.classes.detection_class],
        decoding=RULE.model_dump(),
        config=config.model_dump(mode="json"),
        training=each_once(data).describe()
        | {
            "without": domain,
            "minutes of the last sitting": round((time.monotonic() - started) / 60, 1),
            "taught_by": [{"name": b.card.name, "student": b.card.checksums[STUDENT]} for b in taught_by],
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
