"""From a project's annotations to a model bundle: teacher, pseudo-labels, student."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..bundle import STUDENT, TEACHER, Bundle, Card, check_output, load_bundle, now, versions, write_bundle
from ..core.config import Config
from ..core.errors import Interrupted
from ..core.extras import require
from ..core.files import confined
from ..core.progress import SILENT, Reporter
from ..networks.stardist_config import INIT_REMEDY, check_stardist_folder
from ..qupath.project import Project
from ..segmentation.decode import NOMINAL_MPP
from .adaptation import Start, init_config, start_of
from .comparison import PairedComparison
from .data import TrainingData, load_training_data
from .pseudo_label_store import open_store
from .recommendation import Keep, Recommendation, recommend
from .record import Sample, TrainingRecord, WriteReport
from .run_folder import prepare_run
from .scale import choose_scale
from .soft_maps import window_predict
from .teacher_stage import teacher_stage
from .tune import rounded

Stage = Literal["teacher", "student", "all"]


def train_project(
    project: Project,
    output: Path,
    config: Config,
    stage: Stage = "all",
    resume: bool = False,
    mpp: float | None = None,
    reporter: Reporter = SILENT,
    write_report: WriteReport | None = None,
    init: Bundle | None = None,
    keep: Keep = "recommended",
) -> Bundle:
    """Train on a project's annotations and write a model bundle to ``output``.

    stage        : "teacher" ends with the teacher; "student" takes the teacher of the bundle at ``output``.
    resume       : continue an interrupted run, if annotations, images and settings are the same.
    mpp          : pixel size of images that have none.
    write_report : writes the page about the training that becomes part of the bundle.
    init         : the bundle to start from; None to begin with ImageNet weights alone.
    keep         : with ``init``, which model is written: the recommended one (``recommend``), which may be
                   the start, or in any case the trained one.

    All that can be refused is checked before the first slide is read. An older bundle at ``output`` is
    replaced only after the training has succeeded.
    Raises MissingExtraError, SupervisionError, TrainingError, BundleError; Interrupted on Ctrl-C.
    """
    if stage == "teacher" and init is not None and not init.holds_teacher:
        init = None
    start = None if init is None else start_of(init)
    if start is None or start.teacher is not None or stage != "all":
        require("train", "training a StarDist teacher")
    started = time.monotonic()
    settings = config if init is None else init_config(init, config)
    teacher = check_plan(output, settings, stage, reporter)
    if start is not None and stage != "teacher" and config.mpp is None:
        data, settings, notes = _load_at_best_scale(project, start, settings, mpp, reporter)
    else:
        data, notes = load_training_data(project, settings, mpp, reporter), []
    facts = data.describe()
    reporter.say(
        f"{facts['training_nuclei']} nuclei in {facts['training_windows']} labelled windows to train on, "
        f"{facts['validation_nuclei']} in {facts['validation_windows']} to validate on."
    )
    name = output.resolve().name.removesuffix(".cgn")
    folder = confined(project.work_folder, project.work_folder / "runs" / f"train-{name}")
    try:
        trained = train_model(data, folder, settings, stage, resume, reporter, teacher, write_report, start)
    except KeyboardInterrupt as error:
        raise Interrupted(
            project.path, "training was stopped; its checkpoints are kept", "Continue with --resume"
        ) from error
    card = Card(
        name=name,
        created=now(),
        attribution=_credit(start),
        mpp=data.mpp,
        stain=data.stain,
        classes=[settings.classes.detection_class],
        decoding=trained.decoding,
        teacher_thresholds=trained.thresholds,
        config=settings.model_dump(mode="json"),
        training=facts | {"minutes": round((time.monotonic() - started) / 60, 1), "stage": stage},
        metrics=trained.scores,
        versions=versions(),
    )
    files = trained.files
    if start is not None and trained.recommendation is not None:
        for sentence in [*notes, *trained.recommendation.reasons]:
            reporter.say(sentence)
        card.training |= _adapted(start, data, trained, notes)
        if keep == "recommended" and trained.recommendation.use == "start":
            files = {STUDENT: start.student} | ({TEACHER: start.teacher} if start.teacher else {})
            card = _card_of_start(card, start)
    return write_bundle(output, card, files, folder / "report")


def _load_at_best_scale(
    project: Project, start: Start, config: Config, mpp: float | None, reporter: Reporter
) -> tuple[TrainingData, Config, list[str]]:
    """Data and settings at the scale at which the start sees the outlined nuclei best; and what to say."""
    data = load_training_data(project, config, mpp, reporter)
    factor, notes = config.adaptation.scale, []
    if data.mpp is None:
        return data, config, []
    if factor == "auto":
        predict = window_predict(start.student, config.student, config.threads)
        # Not those for validation, on which start and result are compared.
        stride = config.student.stride
        rule = start.decoding.at(stride * (start.mpp or NOMINAL_MPP))
        choice = choose_scale(predict, rule, data.training, stride)
        factor = choice.factor
        notes = [choice.sentence(start.name, data.mpp), *choice.odd_images()]
    if factor == 1:
        return data, config, notes
    rescaled = config.model_copy(update={"mpp": float(f"{data.mpp / factor:.3g}")})
    del data  # which keeps windows in memory
    return load_training_data(project, rescaled, mpp, SILENT), rescaled, notes


def _adapted(start: Start, data: TrainingData, trained: Trained, notes: list[str]) -> dict[str, Any]:
    """The entries on a card about an adaptation."""
    compared = trained.comparison
    return {
        "start": {"name": start.name, "student": start.checksum},
        "enlargement": round(data.enlargement(start.mpp), 3),
        "share": trained.share,
        "comparison": None if compared is None else rounded(compared.numbers()),
        "recommended": trained.recommendation.use if trained.recommendation else "trained",
        "verdict": [*notes, *(trained.recommendation.reasons if trained.recommendation else [])],
    }


def _credit(start: Start | None) -> str:
    """Whom a model is indebted to: those whom its start names. The licence is its maker's choice."""
    return (
        f"Adapted from {start.name}. {start.attribution}" if start is not None and start.attribution else ""
    )


def _card_of_start(card: Card, start: Start) -> Card:
    """The card of a bundle in which the start is kept instead of the result."""
    config = card.config | {"mpp": start.mpp}
    return card.model_copy(
        update={
            "mpp": start.mpp,
            "species": list(start.species),
            "stain": start.stain,
            "licence": start.licence,
            "attribution": start.attribution,
            "decoding": start.decoding.model_dump(),
            "teacher_thresholds": dict(start.teacher_thresholds),
            "config": config,
            "metrics": {"result, not kept": card.metrics.get("student", {})},
        }
    )


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
    """The result of a run: files by their names in a bundle, and the numbers for its card.

    share, comparison, recommendation : of an adaptation, see ``FinishedStudent`` and ``recommend``.
    """

    files: dict[str, Path]
    thresholds: dict[str, float]
    decoding: dict[str, float]
    scores: dict[str, dict[str, float]]
    share: float = 1.0
    comparison: PairedComparison | None = None
    recommendation: Recommendation | None = None


def train_model(
    data: TrainingData,
    folder: Path,
    config: Config,
    stage: Stage = "all",
    resume: bool = False,
    reporter: Reporter = SILENT,
    teacher: Path | None = None,
    write_report: WriteReport | None = None,
    start: Start | None = None,
) -> Trained:
    """Train on any data, with checkpoints in ``folder``; with a ``teacher`` folder only the student.

    start : the student moves between this and what it learns; ``config`` is that of ``init_config``.

    The same data, settings, machine and number of threads give the same weights.
    """
    if start is not None and teacher is not None:
        start = replace(start, teacher=teacher)
    run = prepare_run(folder, data, config, resume, reporter, start)
    store = open_store(run) if stage != "teacher" else None
    files: dict[str, Path] = {}
    scores: dict[str, dict[str, float]] = {}
    thresholds: dict[str, float] = {}
    decoding: dict[str, float] = {}
    if stage == "teacher" or teacher is not None or run.has_teacher:
        tuned = teacher_stage(run, teacher, store)
        files[TEACHER] = run.teacher
        thresholds, scores["teacher"] = tuned["thresholds"], tuned["scores"]
    samples: list[Sample] = []
    share, comparison, advice = 1.0, None, None
    if stage != "teacher":
        from .student_stage import student_stage  # with torch, which the teacher does not need

        finished = student_stage(run, store)
        samples, files[STUDENT] = finished.samples, run.student
        decoding, scores["student"] = finished.decoding.model_dump(), rounded(finished.scores)
        share, comparison = finished.share, finished.comparison
        if start is not None:
            advice = recommend(start.name, comparison, data.training, data.validation)
    if write_report is not None:
        record = TrainingRecord(
            folder.name,
            data.describe(),
            run.histories(),
            scores,
            samples,
            data.notes,
            advice.reasons if advice is not None else (),
        )
        write_report(record, run.report / "training.html")
    return Trained(files, thresholds, decoding, scores, share, comparison, advice)
