"""The first stage of a training: a teacher, its thresholds, and its predictions on unlabelled tissue.

All of it in one process of StarDist, which ends before the student's training starts.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..bundle import TEACHER, sha256
from ..core.errors import TrainingError
from ..core.files import make_folder
from ..core.plain_files import NotPlainError, copy_folder, regular_files
from ..networks.stardist import WEIGHTS
from ..networks.stardist_config import PLAIN
from ..networks.stardist_process import StarDistProcess
from .pseudo_label_store import PseudoLabelStore
from .run_folder import TrainingRun, read_json, with_checksum, write_json
from .soft_maps import teacher_predict
from .teacher import train_teacher
from .teacher_trainer import TeacherTrainer
from .tune import WindowScore, best_of, cross_fitted, folds_of, means, rounded, score_window, sentence

_STANDARD = {"prob": 0.5, "nms": 0.4}
_CANDIDATES = [_STANDARD, *({"prob": p, "nms": n} for p in (0.3, 0.4, 0.5, 0.6, 0.7) for n in (0.3, 0.5))]


def teacher_stage(
    run: TrainingRun, source: Path | None, store: PseudoLabelStore | None
) -> dict[str, dict[str, float]]:
    """The trained teacher in the run's folder; returns its ``thresholds`` and validation ``scores``.

    source : a StarDist folder to copy instead of training a teacher.
    store  : where the teacher's predictions on unlabelled tissue are kept, if they are used.
    """
    finished = run.folder / "teacher.json"
    tuned = _finished(run, finished) if finished.is_file() else None
    if tuned is not None and (store is None or store.teacher_is_complete):
        return tuned
    with _opened(run, source, tuned is not None) as teacher:
        if tuned is None:
            history = None
            if source is None:
                history = _trained(teacher, run)
                write_json(run.history_file(TEACHER), history)
            tuned = _tuned(teacher, run)
            files = {
                file.relative_to(run.teacher).as_posix(): sha256(file) for file in regular_files(run.teacher)
            }
            write_json(finished, with_checksum(tuned | {"history": history, "files": files}))
        if store is not None and store.uses_teacher:
            store.predict_missing(
                TEACHER, teacher_predict(teacher, tuned["thresholds"], run.config.student.stride)
            )
    return tuned


def _trained(teacher: StarDistProcess, run: TrainingRun) -> list[dict[str, float]]:
    """Train a new teacher; returns the losses of each epoch. On an encoder it is trained in torch."""
    config = run.config.teacher
    trainer: StarDistProcess | TeacherTrainer = teacher
    if teacher.backbone != PLAIN:
        shape = {name: getattr(teacher, name) for name in ("backbone", "filters", "rays")}
        weights = None if config.init is None else teacher.network_arrays()
        trainer = TeacherTrainer(
            config.model_copy(update=shape), run.config.threads, run.config.seed, weights
        )
    history = train_teacher(
        trainer,
        run.data.training,
        run.data.validation,
        config,
        run.config.seed,
        run.state,
        run.resume,
        run.reporter,
    )
    if isinstance(trainer, TeacherTrainer):
        teacher.load_network(trainer.arrays())
    return history


def _finished(run: TrainingRun, file: Path) -> dict[str, Any] | None:
    """The thresholds and scores of the finished teacher; None, with a warning, where a part is not whole."""
    stored = read_json(file)
    if not isinstance(stored, dict) or not {"thresholds", "scores"} <= set(stored):
        run.reporter.warn(f"{file}: is cut off or damaged: the teacher is finished again.")
        return None
    for name, expected in stored.get("files", {}).items():
        part = run.teacher / name
        if not part.is_file() or sha256(part) != expected:
            run.reporter.warn(f"{part}: is missing or damaged: the teacher is finished again.")
            return None
    if stored.get("history") is not None:
        write_json(run.history_file(TEACHER), stored["history"])
    return {name: stored[name] for name in ("thresholds", "scores")}


def _opened(run: TrainingRun, source: Path | None, trained: bool) -> StarDistProcess:
    """The trained teacher, a copy of another one, or a new one."""
    threads = run.config.threads
    if trained:
        return StarDistProcess(run.teacher, threads=threads)
    if source is None:
        make_folder(run.folder, run.teacher.parent)
        return StarDistProcess(run.teacher, run.config.teacher, threads, run.config.seed)
    try:
        copy_folder(source, make_folder(run.folder, run.teacher))
    except NotPlainError as error:
        raise TrainingError(error.subject, error.reason, "Replace it by the file itself") from error
    teacher = StarDistProcess(run.teacher, threads=threads)
    teacher.load_weights(run.teacher / WEIGHTS)
    return teacher


def _tuned(teacher: StarDistProcess, run: TrainingRun) -> dict[str, Any]:
    """Thresholds chosen on the validation windows, written beside the weights; and cross-fitted scores."""
    table: list[list[WindowScore]] = [[] for _ in _CANDIDATES]
    for window in run.data.validation:
        maps, objects = teacher.predict(window.image), window.labels.objects
        for row, candidate in zip(table, _CANDIDATES, strict=True):
            found, _ = teacher.instances(maps, objects.shape, candidate["prob"], candidate["nms"])
            row.append(score_window(found, objects))

    choose, folds = partial(best_of, table), folds_of(run.data.validation)
    kept = choose(np.ones(len(folds), bool))
    thresholds = _CANDIDATES[kept]
    teacher.save(thresholds)
    scores = means(cross_fitted(folds, choose, table.__getitem__))
    run.reporter.say(f"Teacher on validation: {sentence(scores, kept > 0 and not folds.any())}.")
    return {"thresholds": thresholds, "scores": rounded(scores)}
