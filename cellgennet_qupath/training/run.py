"""From a project's annotations to a model bundle: teacher, pseudo-labels, student."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..bundle import STUDENT, TEACHER, Bundle, Card, check_output, load_bundle, now, versions, write_bundle
from ..core.config import Config
from ..core.errors import Interrupted
from ..core.extras import require
from ..core.files import confined
from ..core.progress import SILENT, Reporter
from ..networks.stardist_config import INIT_REMEDY, check_stardist_folder
from ..qupath.project import Project
from .data import TrainingData, load_training_data
from .pseudo_label_store import open_store
from .record import Sample, TrainingRecord, WriteReport
from .run_folder import prepare_run
from .teacher_stage import teacher_stage
from .tune import rounded

Stage = Literal["teacher", "student", "all"]


def init_config(bundle: Bundle, config: Config) -> Config:
    """The settings of a training that starts from the networks of a bundle.

    The networks' shapes, the normalisation and, unless ``config`` sets it, the resolution are the bundle's:
    the weights only fit these. If the bundle has no teacher, only the student starts from it.
    Raises BundleError where it has no student.
    """
    theirs = bundle.config
    student = config.student.model_copy(
        update={name: getattr(theirs.student, name) for name in ("architecture", "width", "levels")}
        | {"init": bundle.student.resolve()}
    )
    teacher = config.teacher
    if bundle.holds_teacher:
        teacher = teacher.model_copy(update={"init": bundle.teacher.resolve()})
    return config.model_copy(
        update={
            "student": student,
            "teacher": teacher,
            "normalisation": theirs.normalisation,
            "mpp": config.mpp if config.mpp is not None else bundle.card.mpp,
        }
    )


def train_project(
    project: Project,
    output: Path,
    config: Config,
    stage: Stage = "all",
    resume: bool = False,
    mpp: float | None = None,
    reporter: Reporter = SILENT,
    write_report: WriteReport | None = None,
) -> Bundle:
    """Train on a project's annotations and write a model bundle to ``output``.

    stage        : "teacher" ends with the teacher; "student" takes the teacher of the bundle at ``output``.
    resume       : continue an interrupted run, if annotations, images and settings are the same.
    mpp          : pixel size of images that have none.
    write_report : writes the page about the training that becomes part of the bundle.

    All that can be refused is checked before the first slide is read. An older bundle at ``output`` is
    replaced only after the training has succeeded.
    Raises MissingExtraError, SupervisionError, TrainingError, BundleError; Interrupted on Ctrl-C.
    """
    require("train", "cellgennet train")
    started = time.monotonic()
    teacher = check_plan(output, config, stage, reporter)
    data = load_training_data(project, config, mpp, reporter)
    facts = data.describe()
    reporter.say(
        f"{facts['training_nuclei']} nuclei in {facts['training_windows']} labelled windows to train on, "
        f"{facts['validation_nuclei']} in {facts['validation_windows']} to validate on."
    )
    name = output.resolve().name.removesuffix(".cgn")
    folder = confined(project.work_folder, project.work_folder / "runs" / f"train-{name}")
    try:
        trained = train_model(data, folder, config, stage, resume, reporter, teacher, write_report)
    except KeyboardInterrupt as error:
        raise Interrupted(
            project.path, "training was stopped; its checkpoints are kept", "Continue with --resume"
        ) from error
    card = Card(
        name=name,
        created=now(),
        mpp=data.mpp,
        stain=data.stain,
        classes=[config.classes.detection_class],
        decoding=trained.decoding,
        teacher_thresholds=trained.thresholds,
        config=config.model_dump(mode="json"),
        training=facts | {"minutes": round((time.monotonic() - started) / 60, 1), "stage": stage},
        metrics=trained.scores,
        versions=versions(),
    )
    return write_bundle(output, card, trained.files, folder / "report")


def check_plan(output: Path, config: Config, stage: Stage, reporter: Reporter) -> Path | None:
    """Check where a training writes and what it starts from; returns the teacher that it takes, if any.

    Raises BundleError and TrainingError.
    """
    if check_output(output):
        reporter.say(f"{output} exists: it is replaced when the training has succeeded.")
    teacher = load_bundle(output, reporter).teacher if stage == "student" else None
    init = config.teacher.init
    if init is not None and teacher is None:
        check_stardist_folder(init, INIT_REMEDY)
    if config.student.init is not None and stage != "teacher":
        from ..networks.network import check_weights  # with torch, which the teacher does not need

        check_weights(config.student.init, config.student)
    return teacher


@dataclass(frozen=True)
class Trained:
    """The result of a run: files by their names in a bundle, and the numbers for its card."""

    files: dict[str, Path]
    thresholds: dict[str, float]
    decoding: dict[str, float]
    scores: dict[str, dict[str, float]]


def train_model(
    data: TrainingData,
    folder: Path,
    config: Config,
    stage: Stage = "all",
    resume: bool = False,
    reporter: Reporter = SILENT,
    teacher: Path | None = None,
    write_report: WriteReport | None = None,
) -> Trained:
    """Train on any data, with checkpoints in ``folder``; with a ``teacher`` folder only the student.

    The same data, settings, machine and number of threads give the same weights.
    """
    run = prepare_run(folder, data, config, resume, reporter)
    store = open_store(run) if stage != "teacher" else None
    files: dict[str, Path] = {}
    scores: dict[str, dict[str, float]] = {}
    thresholds: dict[str, float] = {}
    decoding: dict[str, float] = {}
    if stage == "teacher" or teacher is not None or config.loss.needs_teacher:
        tuned = teacher_stage(run, teacher, store)
        files[TEACHER] = run.teacher
        thresholds, scores["teacher"] = tuned["thresholds"], tuned["scores"]
    samples: list[Sample] = []
    if stage != "teacher":
        from .student_stage import student_stage  # with torch, which the teacher does not need

        rule, student_scores, samples = student_stage(run, store)
        files[STUDENT] = run.student
        decoding, scores["student"] = rule.model_dump(), rounded(student_scores)
    if write_report is not None:
        record = TrainingRecord(folder.name, data.describe(), run.histories(), scores, samples, data.notes)
        write_report(record, run.report / "training.html")
    return Trained(files, thresholds, decoding, scores)
