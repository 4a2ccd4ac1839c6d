"""Companions of the student: further students, trained on the annotations alone with seeds of their own.

Where few annotations leave doubt they differ, and their mean knows more than each of them. They make the
pseudo-labels, with the teacher or alone, and are not kept. Lakshminarayanan et al., "Simple and scalable
predictive uncertainty estimation using deep ensembles", NeurIPS 2017.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..core.errors import TrainingError
from ..networks.device import best_device
from ..networks.weights import WeightsError, read_weights
from .patches import PatchSampler
from .run_folder import TrainingRun
from .student import StudentTrainer
from .student_loop import Terms, train_epochs


def companions(run: TrainingRun, sampler: PatchSampler, epochs: int) -> list[Path]:
    """The weights of a run's companions, each trained for ``epochs``; what is finished is not repeated."""
    count = run.config.companions
    return [_companion(run, sampler, epochs, number, count) for number in range(1, count + 1)]


def companion_seed(seed: int, number: int) -> int:
    """The seed of a companion, which no run of another seed shares."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0] >> 1)


def _companion(run: TrainingRun, sampler: PatchSampler, epochs: int, number: int, count: int) -> Path:
    name = f"companion-{number}.safetensors"
    finished, checkpoint = run.folder / "companions" / name, run.state / name
    if _is_whole(finished):
        return finished
    config = run.config.model_copy(update={"seed": companion_seed(run.config.seed, number)})
    steps = epochs * config.student.steps_per_epoch

    def new() -> StudentTrainer:
        return StudentTrainer(config.student, config.loss, config.pseudo, steps, config.seed, best_device())

    trainer = new()
    if run.resume and checkpoint.is_file():
        try:
            trainer.load_checkpoint(checkpoint)
        except TrainingError as error:
            run.reporter.warn(f"{error.subject}: {error.reason}: companion {number} starts again.")
            trainer = new()

    def keep(_: Terms) -> None:
        trainer.save_checkpoint(checkpoint)

    with run.reporter.track(f"companion {number} of {count}", steps, "steps") as task:
        task.advance(trainer.step_count)
        train_epochs(trainer, config, sampler, None, epochs, task, keep)
    trainer.save_weights(finished)
    return finished


def _is_whole(weights: Path) -> bool:
    try:
        return weights.is_file() and bool(read_weights(weights))
    except WeightsError:
        return False
