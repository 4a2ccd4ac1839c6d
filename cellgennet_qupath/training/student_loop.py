"""The student's loop over labelled and pseudo-labelled patches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice

import numpy as np

from ..core.config import Config
from ..core.parallel import ordered_map
from ..core.progress import Task
from .batches import LabelledBatch, UnlabelledBatch
from .patches import INNER, PatchSampler, generator, recolour
from .pseudo_labels import PseudoLabels
from .student import StudentTrainer
from .targets import TOUCHING, student_targets, touching

Terms = dict[str, float]
"""The mean of each term of the loss over an epoch."""


def train_epochs(
    trainer: StudentTrainer,
    config: Config,
    sampler: PatchSampler,
    pseudo: PseudoLabels | None,
    end: int,
    task: Task,
    after_epoch: Callable[[Terms], None],
) -> None:
    """Train from wherever the trainer is to the end of epoch ``end``; the batches follow from the step."""
    steps = config.student.steps_per_epoch
    draw = partial(_batches, config, sampler, pseudo)
    batches = ordered_map(draw, range(trainer.step_count, end * steps), 1)
    while trainer.step_count < end * steps:
        after_epoch(_epoch(trainer, islice(batches, steps), task))


def _epoch(
    trainer: StudentTrainer, batches: Iterable[tuple[LabelledBatch, UnlabelledBatch | None]], task: Task
) -> Terms:
    values: dict[str, list[float]] = {}
    for batch in batches:
        terms = trainer.step(*batch)
        for name, value in terms.items():
            values.setdefault(name, []).append(value)
        task.advance(1, f"loss {terms['total']:.3f}")
    return {name: sum(column) / len(column) for name, column in values.items()}


def _batches(
    config: Config, sampler: PatchSampler, pseudo: PseudoLabels | None, step: int
) -> tuple[LabelledBatch, UnlabelledBatch | None]:
    """The patches of a step."""
    rng = generator(config.seed, "student", step)
    patches = sampler.draw(rng, config.student.batch)
    targets = np.stack([student_targets(p)[INNER, INNER] for p in patches])
    labelled = LabelledBatch(
        np.stack([recolour(p.image, rng)[INNER, INNER] for p in patches]),
        targets[..., 0],
        targets[..., 1],
        np.stack([touching(p.objects, TOUCHING[config.student.stride])[INNER, INNER] for p in patches]),
    )
    return labelled, pseudo.draw(rng, config.pseudo.batch) if pseudo is not None else None
