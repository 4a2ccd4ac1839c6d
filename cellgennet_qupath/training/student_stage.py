"""The second stage of a training: the student's loop over labelled and pseudo-labelled patches, and what is
chosen on validation afterwards: how far it moves from its start, and its decoding rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
from .adaptation import Start
from .batches import LabelledBatch, UnlabelledBatch
from .comparison import PairedComparison, compare_paired
from .interpolation import SHARES, STANDARD, write_interpolated
from .patches import CONTEXT, INNER, PatchSampler, generator, recolour
from .pseudo_label_store import PseudoLabelStore, rounds
from .pseudo_labels import PseudoLabels
from .record import Sample
from .run_folder import TrainingRun, read_json, write_json
from .scale import tally_at
from .soft_maps import Predict, whole_maps, window_predict
from .student import StudentTrainer
from .tally import tally_maps
from .targets import GEOMETRY_STRIDE, TOUCHING, geometry, student_targets, touching
from .tune import best_of, score_windows, sentence

_HALF = slice(CONTEXT // GEOMETRY_STRIDE, -CONTEXT // GEOMETRY_STRIDE)
"""``INNER`` on the grid of the auxiliary task."""


@dataclass(frozen=True)
class FinishedStudent:
    """What the stage ends with; the weights are in the run's folder.

    decoding   : the rule, in µm at the training's resolution.
    scores     : means over the validation windows; ``samples`` shows these.
    share      : how far the weights moved from the start to the end of the training; 1 without a start.
    comparison : with the start, on the same nuclei; None without a start, or where nothing is held out.
    """

    decoding: DecodingConfig
    scores: dict[str, float]
    samples: list[Sample]
    share: float = 1.0
    comparison: PairedComparison | None = None


def student_stage(run: TrainingRun, store: PseudoLabelStore | None) -> FinishedStudent:
    """Train the student into the run's folder.

    store : the pseudo-labels, if the objective uses unlabelled tissue.
    """
    set_threads(run.config.threads)
    trainer = _trained(run, store)
    if run.start is None:
        trainer.save_weights(run.student)
        finished = _tuned(run, partial(whole_maps, trainer.predict), DecodingConfig())
    else:
        trainer.save_weights(run.moved)
        finished = _between(run, run.start)
    if finished.comparison is None:  # which says how good it is, and compared with what
        run.reporter.say(f"Student on validation: {sentence(finished.scores)}.")
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


def _between(run: TrainingRun, start: Start) -> FinishedStudent:
    """The student between start and trained weights, its rule, and its comparison with the start."""
    windows, config = run.data.validation, run.config
    factor = run.data.enlargement(start.mpp)
    rule = start.decoding.scaled(1 / factor)

    def predict_at(share: float) -> Predict:
        write_interpolated(start.student, run.moved, share, run.student)
        return window_predict(run.student, config.student, config.threads)

    def scored(share: float) -> dict[str, float]:
        predict = predict_at(share)
        found = _decoded(run, [predict(window.image) for window in windows], rule)
        return score_windows(found, windows, config.student.stride)

    share = STANDARD if config.adaptation.share == "auto" else config.adaptation.share
    if config.adaptation.share == "auto" and not run.data.validates_on_training:
        share, _ = best_of(STANDARD, SHARES, scored)
    finished = _tuned(run, predict_at(share), rule)
    comparison = None
    if not run.data.validates_on_training:
        original = window_predict(start.student, config.student, config.threads)
        stride = config.student.stride
        own = start.decoding.at(stride * (start.mpp or NOMINAL_MPP))
        before = [tally_at(original, own, w.image, w.labels.objects, 1 / factor, stride) for w in windows]
        after = [tally_maps(sample.predicted, sample.truth, stride) for sample in finished.samples]
        comparison = compare_paired(before, after, [window.place for window in windows], config.seed)
    return replace(finished, share=share, comparison=comparison)


def _tuned(run: TrainingRun, predict: Predict, standard: DecodingConfig) -> FinishedStudent:
    """The decoding rule that scores best on validation, from a small grid around the standard one."""
    windows = run.data.validation
    maps = [predict(window.image) for window in windows]

    candidates = [
        standard.model_copy(update={"foreground": f, "valley": v, "mean_foreground": m})
        for f in (0.4, 0.45, 0.5)
        for v in (0.87, 0.91, 0.95)
        for m in (0.6, 0.7)
    ]
    stride = run.config.student.stride
    best, scores = best_of(
        standard, candidates, lambda rule: score_windows(_decoded(run, maps, rule), windows, stride)
    )
    samples = [
        Sample(window.source, window.image, window.labels.objects, predicted)
        for window, predicted in zip(windows, _decoded(run, maps, best), strict=True)
    ]
    return FinishedStudent(best, scores, samples)


def _decoded(
    run: TrainingRun, maps: Sequence[NDArray[np.float32]], rule: DecodingConfig
) -> list[NDArray[np.int32]]:
    """The nuclei of maps at the training's resolution, as labels."""
    decoding = rule.at(run.config.student.stride * (run.data.mpp or NOMINAL_MPP))
    return [decode(m[..., 0], m[..., 1], decoding)[0] for m in maps]
