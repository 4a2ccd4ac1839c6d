"""The second stage of a training: the student's loop over labelled and pseudo-labelled patches.

How far it moves from its start and how it is decoded are chosen afterwards (``student_choice``).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from ..core.config import Config
from ..core.errors import DamagedStateError, TrainingError
from ..core.parallel import ordered_map
from ..core.progress import Task
from ..networks.device import best_device, set_threads
from .batches import LabelledBatch, UnlabelledBatch
from .patches import CONTEXT, INNER, PatchSampler, generator, recolour
from .pseudo_label_store import PseudoLabelStore, rounds
from .pseudo_labels import PseudoLabels
from .run_folder import TrainingRun, read_json, write_json
from .soft_maps import whole_maps
from .student import StudentTrainer
from .student_choice import FinishedStudent, choose_between, choose_rule
from .targets import GEOMETRY_STRIDE, TOUCHING, geometry, student_targets, touching
from .tune import sentence

_HALF = slice(CONTEXT // GEOMETRY_STRIDE, -CONTEXT // GEOMETRY_STRIDE)
"""``INNER`` on the grid of the auxiliary task."""


def student_stage(run: TrainingRun, store: PseudoLabelStore | None) -> FinishedStudent:
    """Train the student into the run's folder.

    store : the pseudo-labels, if the objective uses unlabelled tissue.
    """
    set_threads(run.config.threads)
    trainer = _trained(run, store)
    if run.start is None:
        trainer.save_weights(run.student)
        finished = choose_rule(run, partial(whole_maps, trainer.predict))
    else:
        trainer.save_weights(run.moved)
        finished = choose_between(run, run.start)
    if finished.comparison is None:  # which says how good it is, and compared with what
        run.reporter.say(f"Student on validation: {sentence(finished.scores, finished.of_standard)}.")
    return finished


def _trained(run: TrainingRun, store: PseudoLabelStore | None) -> StudentTrainer:
    """The student at the end of its training, resumed at its checkpoint if there is a whole one."""
    checkpoint = run.state / "student.safetensors"
    trainer = _new_trainer(run, store)
    history: list[dict[str, float]] = []
    if run.resume and checkpoint.is_file():
        try:
            history = trainer.load_checkpoint(checkpoint) or _history_of_version_0_1(run, trainer)
        except TrainingError as error:
            trainer = _start_again(run, store, error)
    try:
        return _train(run, store, trainer, history, checkpoint)
    except DamagedStateError as error:
        # The weights of a round's start: only training up to it again gives its pseudo-labels.
        return _train(run, store, _start_again(run, store, error), [], checkpoint)


def _new_trainer(run: TrainingRun, store: PseudoLabelStore | None) -> StudentTrainer:
    config, steps = run.config, run.config.student.steps_per_epoch
    return StudentTrainer(
        config.student,
        config.loss,
        config.pseudo,
        config.student.epochs * steps,
        config.seed,
        best_device(),
        [epoch * steps for epoch in _starts(run, store)],
    )


def _start_again(run: TrainingRun, store: PseudoLabelStore | None, error: TrainingError) -> StudentTrainer:
    run.reporter.warn(f"{error.subject}: {error.reason}: the student's training starts again.")
    return _new_trainer(run, store)


def _starts(run: TrainingRun, store: PseudoLabelStore | None) -> list[int]:
    """The epochs before which a round of pseudo-labels is made."""
    return rounds(run.config) if store is not None else []


def _history_of_version_0_1(run: TrainingRun, trainer: StudentTrainer) -> list[dict[str, float]]:
    """The losses so far, which checkpoints did not contain."""
    stored = read_json(run.history_file("student")) or []
    return list(stored[: trainer.step_count // run.config.student.steps_per_epoch])


def _train(
    run: TrainingRun,
    store: PseudoLabelStore | None,
    trainer: StudentTrainer,
    history: list[dict[str, float]],
    checkpoint: Path,
) -> StudentTrainer:
    """Train to the end, in sections: on labels alone, then with the soft labels of each round."""
    config = run.config
    epochs, steps = config.student.epochs, config.student.steps_per_epoch
    sampler = PatchSampler(run.data.training, config.student.patch + 2 * CONTEXT, config.student.zoom)
    write_json(run.history_file("student"), history)
    with run.reporter.track("student", epochs * steps, "steps") as task:
        task.advance(trainer.step_count)
        begin = 0
        for section, end in enumerate([*_starts(run, store), epochs]):
            if trainer.step_count < end * steps:
                pseudo = None
                if section and store is not None:
                    at_start = trainer.step_count == begin * steps
                    pseudo = store.labels(section - 1, trainer.save_weights, at_start)
                draw = partial(_batches, config, sampler, pseudo)
                batches = ordered_map(draw, range(trainer.step_count, end * steps), 1)
                while trainer.step_count < end * steps:
                    terms = _epoch(trainer, islice(batches, steps), task)
                    history.append(terms)
                    trainer.save_checkpoint(checkpoint, history)
                    write_json(run.history_file("student"), history)
            begin = end
    return trainer


def _epoch(
    trainer: StudentTrainer, batches: Iterable[tuple[LabelledBatch, UnlabelledBatch | None]], task: Task
) -> dict[str, float]:
    """Train on the batches of an epoch; returns the mean of each term of the loss."""
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
        np.stack([geometry(p.objects)[_HALF, _HALF] for p in patches]) if config.loss.geometry else None,
    )
    return labelled, pseudo.draw(rng, config.pseudo.batch) if pseudo is not None else None
