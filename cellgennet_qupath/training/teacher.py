"""The teacher's training loop: labelled pixels only, early stopping, resumable at every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..annotations.windows import LabelledWindow
from ..core.config import TeacherConfig
from ..core.progress import Reporter
from ..networks.stardist import Teacher
from .patches import CONTEXT, Patch, PatchSampler, generator, recolour

_STATE = "teacher_state.npz"
_BEST = "teacher_best.h5"
_VALIDATION_BATCHES = 6


def train_teacher(
    training: Sequence[LabelledWindow],
    validation: Sequence[LabelledWindow],
    config: TeacherConfig,
    seed: int,
    folder: Path,
    state: Path,
    resume: bool,
    reporter: Reporter,
    threads: int = 0,
) -> tuple[Teacher, list[dict[str, float]]]:
    """Train a teacher into ``folder``; returns it with its best weights, and the losses of each epoch.

    Stops when the validation loss has not improved for ``config.patience`` epochs. With ``resume`` it
    goes on from ``state``, and ends with what it would have been without the interruption.
    """
    size = config.patch + 2 * CONTEXT
    sampler = PatchSampler(training, size)
    checks = PatchSampler(validation, size)
    held_out = [
        checks.draw(generator(seed, "teacher-validation", batch), config.batch)
        for batch in range(_VALIDATION_BATCHES)
    ]
    teacher = Teacher(folder, config, threads, seed)
    teacher.prepare_training(config.learning_rate)
    if config.init is None:
        teacher.init_radius(sampler.draw(generator(seed, "teacher-start", 0), 4 * config.batch))
    history: list[dict[str, float]] = []
    state.mkdir(parents=True, exist_ok=True)
    best, waited, first = np.inf, 0.0, 0
    if resume and (state / _STATE).is_file():
        record = teacher.load_state(state / _STATE)
        first, best, waited = int(record["epoch"]), record["best"], record["waited"]
        history = [{"loss": record[f"loss{e}"], "validation": record[f"validation{e}"]} for e in range(first)]
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
                losses.append(teacher.train_step(patches, config.learning_rate * _cosine(step / total)))
                task.advance(1, f"loss {losses[-1]:.3f}")
            checked = float(np.mean([teacher.validation_loss(batch) for batch in held_out]))
            history.append({"loss": float(np.mean(losses)), "validation": checked})
            waited += 1
            if checked < best:
                best, waited = checked, 0.0
                teacher.save_weights(state / _BEST)
            record = {"epoch": epoch + 1.0, "best": best, "waited": waited}
            for e, line in enumerate(history):
                record |= {f"{name}{e}": value for name, value in line.items()}
            teacher.save_state(state / _STATE, record)
    if waited >= config.patience:
        reporter.say(f"Teacher: no better for {config.patience} epochs, stopped after {len(history)}.")
    teacher.load_weights(state / _BEST)
    return teacher, history


def _recoloured(patch: Patch, rng: np.random.Generator) -> Patch:
    return replace(patch, image=recolour(patch.image, rng))


def _cosine(progress: float) -> float:
    return float(0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * progress)))
