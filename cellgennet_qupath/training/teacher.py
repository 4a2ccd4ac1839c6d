"""The teacher's training loop: labelled pixels only, early stopping, resumable at every epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from ..annotations.windows import Window
from ..core.config import TeacherConfig
from ..core.errors import TrainingError
from ..core.files import make_folder
from ..core.progress import Reporter
from ..networks.stardist_process import StarDistBatch
from .patches import CONTEXT, Patch, PatchSampler, generator, recolour
from .targets import mean_radius, stardist_batch

_VALIDATION_BATCHES = 6


class TrainedTeacher(Protocol):
    """A network with StarDist's outputs that can be trained: ``StarDistProcess``, ``TeacherTrainer``."""

    grid: int
    rays: int
    state_name: str

    def prepare_training(self, learning_rate: float) -> None: ...
    def init_radius(self, radius: float) -> None: ...
    def train_step(self, batch: StarDistBatch, learning_rate: float) -> float: ...
    def validation_loss(self, batch: StarDistBatch) -> float: ...
    def keep_best(self) -> None: ...
    def use_best(self) -> None: ...
    def save_state(self, path: Path, record: Mapping[str, float]) -> None: ...
    def load_state(self, path: Path) -> dict[str, float]: ...


def train_teacher(
    teacher: TrainedTeacher,
    training: Sequence[Window],
    validation: Sequence[Window],
    config: TeacherConfig,
    seed: int,
    state: Path,
    resume: bool,
    reporter: Reporter,
) -> list[dict[str, float]]:
    """Train a new teacher and leave it with its best weights; returns the losses of each epoch.

    Stops when the validation loss has not improved for ``config.patience`` epochs. With ``resume`` it
    continues from the checkpoint in ``state`` and ends with the same weights as an uninterrupted run. A
    checkpoint that is cut off or damaged is reported, and the training starts again.
    """
    size = config.patch + 2 * CONTEXT
    sampler = PatchSampler(training, size)
    validation_sampler = PatchSampler(validation, size)
    held_out = [
        stardist_batch(
            validation_sampler.draw(generator(seed, "teacher-validation", number), config.batch),
            teacher.rays,
            teacher.grid,
        )
        for number in range(_VALIDATION_BATCHES)
    ]
    teacher.prepare_training(config.learning_rate)
    if config.init is None:
        patches = sampler.draw(generator(seed, "teacher-start", 0), 4 * config.batch)
        radius = mean_radius(stardist_batch(patches, teacher.rays, teacher.grid))
        if radius is not None:
            teacher.init_radius(radius)
    history: list[dict[str, float]] = []
    make_folder(state.parent, state)
    best, waited, first = np.inf, 0.0, 0
    if resume and (state / teacher.state_name).is_file():
        try:
            record = teacher.load_state(state / teacher.state_name)
        except TrainingError as error:
            reporter.warn(f"{error.subject}: {error.reason}: the teacher's training starts again.")
        else:
            first, best, waited = int(record["epoch"]), record["best"], record["waited"]
            history = [
                {"loss": record[f"loss{e}"], "validation": record[f"validation{e}"]} for e in range(first)
            ]
    total = config.epochs * config.steps_per_epoch
    with reporter.track("teacher", total, "steps") as task:
        task.advance(first * config.steps_per_epoch)
        for epoch in range(first, config.epochs):
            if waited >= config.patience:
                break
            losses = []
            for step in range(epoch * config.steps_per_epoch, (epoch + 1) * config.steps_per_epoch):
                rng = generator(seed, "teacher", step)
                patches = [_recoloured(p, rng) for p in sampler.draw(rng, config.batch)]
                batch = stardist_batch(patches, teacher.rays, teacher.grid)
                losses.append(teacher.train_step(batch, config.learning_rate * _cosine(step / total)))
                if not np.isfinite(losses[-1]):
                    raise TrainingError(
                        "teacher",
                        f"the loss is not finite at step {step}",
                        "Train again without --resume, with a lower `teacher.learning_rate`",
                    )
                task.advance(1, f"loss {losses[-1]:.3f}")
            validation_loss = float(np.mean([teacher.validation_loss(batch) for batch in held_out]))
            history.append({"loss": float(np.mean(losses)), "validation": validation_loss})
            waited += 1
            if validation_loss < best:
                best, waited = validation_loss, 0.0
                teacher.keep_best()
            record = {"epoch": epoch + 1.0, "best": best, "waited": waited}
            for e, line in enumerate(history):
                record |= {f"{name}{e}": value for name, value in line.items()}
            teacher.save_state(state / teacher.state_name, record)
    if waited >= config.patience:
        reporter.say(
            f"Teacher: stopped after {len(history)} epochs, the last {config.patience} without improvement."
        )
    if history:
        teacher.use_best()
    return history


def _recoloured(patch: Patch, rng: np.random.Generator) -> Patch:
    return replace(patch, image=recolour(patch.image, rng))


def _cosine(progress: float) -> float:
    return float(0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * progress)))
