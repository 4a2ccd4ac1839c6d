"""The second stage of a training: the student's loop over labelled and pseudo-labelled patches."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.config import Config
from ..core.errors import DamagedStateError, TrainingError
from ..core.parallel import ordered_map
from ..core.progress import Task
from ..networks.device import best_device, set_threads
from ..segmentation.decode import NOMINAL_MPP, DecodingConfig, decode
from .batches import LabelledBatch, UnlabelledBatch
from .patches import CONTEXT, INNER, PatchSampler, generator, recolour
from .pseudo_label_store import PseudoLabelStore, rounds
from .pseudo_labels import PseudoLabels
from .record import Sample
from .run_folder import TrainingRun, read_json, write_json
from .soft_maps import Predict, whole_maps
from .student import StudentTrainer
from .targets import objectness, touching
from .tune import best_of, score_windows, sentence


def student_stage(
    run: TrainingRun, store: PseudoLabelStore | None
) -> tuple[DecodingConfig, dict[str, float], list[Sample]]:
    """Train the student into the run's folder; returns its decoding rule, validation scores and samples.

    store : the pseudo-labels, if the objective uses unlabelled tissue.
    """
    set_threads(run.config.threads)
    trainer = _trained(run, store)
    trainer.save_weights(run.student)
    rule, scores, samples = _tuned(run, trainer.predict)
    run.reporter.say(f"Student on validation: {sentence(scores)}.")
    return rule, scores, samples


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
    sampler = PatchSampler(run.data.training, config.student.patch + 2 * CONTEXT)
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
    labelled = LabelledBatch(
        np.stack([recolour(p.image, rng)[INNER, INNER] for p in patches]),
        np.stack([p.foreground[INNER, INNER] for p in patches]),
        np.stack([objectness(p.objects)[INNER, INNER] for p in patches]),
        np.stack([touching(p.objects)[INNER, INNER] for p in patches]),
    )
    return labelled, pseudo.draw(rng, config.pseudo.batch) if pseudo is not None else None


def _tuned(run: TrainingRun, predict: Predict) -> tuple[DecodingConfig, dict[str, float], list[Sample]]:
    """The decoding rule that scores best on validation, from a small grid; its scores and nuclei there."""
    windows = run.data.validation
    maps = [whole_maps(predict, window.image) for window in windows]
    mpp = 2 * (run.data.mpp or NOMINAL_MPP)

    def segmented(rule: DecodingConfig) -> list[NDArray[np.int32]]:
        return [decode(m[..., 0], m[..., 1], rule.at(mpp))[0] for m in maps]

    standard = DecodingConfig()
    candidates = [
        standard.model_copy(update={"foreground": f, "valley": v, "mean_foreground": m})
        for f in (0.4, 0.45, 0.5)
        for v in (0.87, 0.91, 0.95)
        for m in (0.6, 0.7)
    ]
    best, scores = best_of(
        standard, candidates, lambda rule: score_windows(segmented(rule), windows, stride=2)
    )
    samples = [
        Sample(window.source, window.image, window.labels.objects, predicted)
        for window, predicted in zip(windows, segmented(best), strict=True)
    ]
    return best, scores, samples
