"""The student of this package, trained for ``train_peers.py`` as the peers are: same windows, same minutes.

    python benchmarks/peer_student.py DATA OUTPUT --labels sparse-10 --minutes 10 --seed 0

From ImageNet weights and annotations alone, at the settings of "supervised" in sparse_labels.py, for as many
epochs as fit into the minutes of processor time. As in any project, the tissue around a window is context.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
import tifffile
from datasets import TRAINED_ON, labelled_everywhere, sparse_data, test_images
from peer_common import spent
from peer_material import ALL_LABELS, PROTOCOLS, file_name
from reporting import Printed
from sparse_labels import settings, student_of

from cellgennet_qupath.core.config import Config
from cellgennet_qupath.training.data import TrainingData
from cellgennet_qupath.training.run import train_model

FIRST, LAST = 10, 50
"""The steps between which the pace is measured: the first ones are slower."""


class _Measured(Exception):
    """The pace is known."""


@dataclass
class Pace(Printed):
    """A reporter that ends a training once its pace is known: seconds before its steps, and per step."""

    started: float = field(default_factory=spent)
    before: float = 0.0
    per_step: float = 0.0

    @contextmanager
    def track(self, what: str, total: float | None, unit: str = "") -> Iterator[_Step]:
        if what == "student":
            self.before = spent() - self.started
        yield _Step(self if what == "student" else None)


@dataclass
class _Step:
    pace: Pace | None
    done: float = 0
    at_first: float = 0.0

    def advance(self, steps: float = 1, note: str = "") -> None:
        self.done += steps
        if self.pace is None:
            return
        if self.done == FIRST:
            self.at_first = spent()
        elif self.done >= LAST:
            self.pace.per_step = (spent() - self.at_first) / (LAST - FIRST)
            raise _Measured


def epochs_in(seconds: float, pace: Pace, steps: int) -> int:
    """Epochs that take so many seconds, with what comes before them; a tenth is left for what comes after."""
    return max(1, int((0.9 * seconds - pace.before) / (pace.per_step * steps)))


def measured(data: TrainingData, folder: Path, config: Config) -> Pace:
    """The pace of a training that is begun and left."""
    pace = Pace()
    with suppress(_Measured):
        train_model(data, folder, config, "all", False, pace)
    return pace


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--labels", "protocol", type=click.Choice(PROTOCOLS), required=True)
@click.option("--minutes", type=float, required=True)
@click.option("--seed", type=int, required=True)
def main(data: Path, output: Path, protocol: str, minutes: float, seed: int) -> None:
    """Train, and write the labels of all test images and what was learnt."""
    whole = protocol == ALL_LABELS
    material = labelled_everywhere(data, TRAINED_ON) if whole else sparse_data(data, protocol)
    config = settings("supervised", seed, Config(threads=1), material.images)
    pace = measured(material, output / "pace", config)
    epochs = epochs_in(60 * minutes - spent(), pace, config.student.steps_per_epoch)
    student = config.student.model_copy(update={"epochs": epochs})
    config = config.model_copy(update={"student": student})
    trained = train_model(material, output / "train", config, "all", False, Printed())
    about = {"minutes": round(spent() / 60, 2), "epochs": epochs}
    contender = student_of(trained, config)
    (output / "labels").mkdir(parents=True, exist_ok=True)
    for item in test_images(data):
        labels = contender.segment(item).astype(np.int32)
        tifffile.imwrite(output / "labels" / file_name(item), labels)
    about["parameters"] = contender.parameters
    (output / "trained.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
