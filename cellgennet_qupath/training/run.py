"""From a project's annotations to a model bundle: teacher, pseudo-labels, student."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from ..bundle import STUDENT, TEACHER, Bundle, Card, load_bundle, now, versions, write_bundle
from ..core.config import Config
from ..core.errors import Interrupted, TrainingError
from ..core.files import replacing
from ..core.parallel import ordered_map
from ..core.progress import SILENT, Reporter
from ..qupath.project import Project
from ..report.training_page import Sample, write_training_page
from ..segmentation.decode import NOMINAL_MPP, DecodingConfig, decode
from .batches import LabelledBatch, UnlabelledBatch
from .data import load_training_data
from .material import TrainingData
from .patches import CONTEXT, INNER, PatchSampler, contact, generator, objectness, recolour
from .pseudo_label_store import PseudoLabelStore, rounds, whole_maps
from .pseudo_labels import Predict, PseudoLabels
from .tune import best_of, score_windows, sentence

Stage = Literal["teacher", "student", "all"]


@dataclass(frozen=True)
class _Run:
    """A training run's folder inside the project and what it works on."""

    folder: Path
    material: TrainingData
    config: Config
    resume: bool
    reporter: Reporter

    @property
    def teacher(self) -> Path:
        return self.folder / "stardist" / TEACHER


def train_project(
    project: Project,
    output: Path,
    config: Config,
    stage: Stage = "all",
    resume: bool = False,
    mpp: float | None = None,
    reporter: Reporter = SILENT,
) -> Bundle:
    """Train on a project's annotations and write a model bundle to ``output``.

    stage "teacher" ends with the teacher; "student" takes the teacher from the bundle that lies at
    ``output``. With ``resume`` a run that was broken off goes on where it stood, if annotations, images
    and settings are the same. ``mpp`` is the pixel size of images that have none.
    Raises SupervisionError, TrainingError, BundleError; Interrupted on Ctrl-C.
    """
    started = time.monotonic()
    material = load_training_data(project, config, mpp, reporter)
    facts = material.describe()
    reporter.say(
        f"{facts['training_nuclei']} nuclei in {facts['training_windows']} labelled windows to train on, "
        f"{facts['validation_nuclei']} in {facts['validation_windows']} to check with."
    )
    folder = project.work_folder / "runs" / f"train-{output.stem}"
    start = load_bundle(output).teacher if stage == "student" else None
    try:
        trained = train_model(material, folder, config, stage, resume, reporter, start)
    except KeyboardInterrupt as error:
        raise Interrupted(
            project.path, "training was stopped; its checkpoints are kept", "Go on with --resume"
        ) from error
    card = Card(
        name=output.stem,
        created=now(),
        mpp=material.mpp,
        classes=[config.classes.nucleus],
        decoding=trained.decoding,
        teacher_thresholds=trained.thresholds,
        config=config.model_dump(mode="json"),
        training=facts | {"minutes": round((time.monotonic() - started) / 60, 1), "stage": stage},
        metrics=trained.scores,
        versions=versions(),
    )
    return write_bundle(output, card, trained.files, folder / "report")


@dataclass(frozen=True)
class Trained:
    """What a run leaves: files by their names in a bundle, and the numbers that go on its card."""

    files: dict[str, Path]
    thresholds: dict[str, float]
    decoding: dict[str, float]
    scores: dict[str, dict[str, float]]


def train_model(
    material: TrainingData,
    folder: Path,
    config: Config,
    stage: Stage = "all",
    resume: bool = False,
    reporter: Reporter = SILENT,
    teacher: Path | None = None,
) -> Trained:
    """Train on any material, keeping checkpoints in ``folder``; with a ``teacher`` folder only the student.

    The same material, settings, machine and number of threads give the same weights.
    """
    run = _Run(_prepared(folder, material, config, resume, reporter), material, config, resume, reporter)
    files: dict[str, Path] = {}
    scores: dict[str, dict[str, float]] = {}
    thresholds: dict[str, float] = {}
    decoding: dict[str, float] = {}
    if stage == "teacher" or teacher is not None or config.loss.needs_teacher:
        tuned = _teacher_stage(run, teacher)
        files[TEACHER] = run.teacher
        thresholds, scores["teacher"] = tuned["thresholds"], tuned["scores"]
    samples: list[Sample] = []
    if stage != "teacher":
        rule, student, samples = _student_stage(run)
        files[STUDENT] = run.folder / STUDENT
        decoding, scores["student"] = rule.model_dump(), _rounded(student)
    report = folder / "report"
    write_training_page(
        report / "training.html", folder.name, material.describe(), _histories(report), scores, samples
    )
    return Trained(files, thresholds, decoding, scores)


def _prepared(folder: Path, material: TrainingData, config: Config, resume: bool, reporter: Reporter) -> Path:
    """The run's folder, emptied unless it is resumed; a run on other data or settings is not resumed."""
    identity = _identity(material, config)
    record = folder / "run.yaml"
    if resume and record.is_file():
        if yaml.safe_load(record.read_text(encoding="utf-8")).get("identity") != identity:
            raise TrainingError(
                folder,
                "annotations, images or settings changed since the run began, so it cannot be resumed",
                "Train again without --resume",
            )
    else:
        if resume:
            reporter.warn("Nothing to resume: starting anew.")
        if folder.exists():
            shutil.rmtree(folder)
        (folder / "report").mkdir(parents=True)
        text = yaml.safe_dump(
            {
                "identity": identity,
                "begun": now(),
                "versions": versions(),
                "config": config.model_dump(mode="json"),
            }
        )
        record.write_text(text, encoding="utf-8")
    return folder


def _identity(material: TrainingData, config: Config) -> str:
    digest = hashlib.sha256(config.fingerprint_text().encode())
    for window in [*material.training, *material.validation]:
        for array in (window.image, window.labels.objects, window.labels.foreground):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _teacher_stage(run: _Run, start: Path | None) -> dict[str, dict[str, float]]:
    """The trained teacher in the run's folder with its thresholds and validation scores."""
    from ..networks.stardist import Teacher

    done = run.folder / "teacher.json"
    if done.is_file():
        loaded: dict[str, dict[str, float]] = json.loads(done.read_text(encoding="utf-8"))
        return loaded
    config = run.config
    if start is not None:
        shutil.copytree(start, run.teacher, dirs_exist_ok=True)
        teacher = Teacher(run.teacher, threads=config.threads)
        teacher.load_weights(run.teacher / "weights_best.h5")
    else:
        from .teacher import train_teacher

        run.teacher.parent.mkdir(exist_ok=True)
        teacher, history = train_teacher(
            run.material.training,
            run.material.validation,
            config.teacher,
            config.seed,
            run.teacher,
            run.folder / "state",
            run.resume,
            run.reporter,
            config.threads,
        )
        _write_json(run.folder / "report" / "teacher_history.json", history)
    windows = run.material.validation
    maps = [teacher.predict(window.image) for window in windows]

    def segmented(prob: float, nms: float) -> list[NDArray[np.int32]]:
        return [teacher.instances(m, w.known.shape, prob, nms)[0] for m, w in zip(maps, windows, strict=True)]

    candidates = [{"prob": p, "nms": n} for p in (0.3, 0.4, 0.5, 0.6, 0.7) for n in (0.3, 0.5)]
    standard = {"prob": 0.5, "nms": 0.4}
    thresholds, scores = best_of(standard, candidates, lambda c: score_windows(segmented(**c), windows))
    teacher.save(thresholds)
    run.reporter.say(f"Teacher on validation: {sentence(scores)}.")
    result = {"thresholds": thresholds, "scores": _rounded(scores)}
    _write_json(done, result)
    return result


def _student_stage(run: _Run) -> tuple[DecodingConfig, dict[str, float], list[Sample]]:
    """The trained student in the run's folder with its decoding rule, validation scores and samples."""
    from ..networks.device import best_device, set_threads
    from .student import StudentTrainer

    config, reporter = run.config, run.reporter
    set_threads(config.threads)
    epochs, steps = config.student.epochs, config.student.steps_per_epoch
    total = epochs * steps
    unlabelled = _unlabelled(run)
    asked = rounds(config) if unlabelled is not None else []
    begins = [epoch * steps for epoch in asked]
    trainer = StudentTrainer(
        config.student, config.loss, config.pseudo, total, config.seed, best_device(), begins
    )
    checkpoint = run.folder / "state" / "student.safetensors"
    history_file = run.folder / "report" / "student_history.json"
    history: list[dict[str, float]] = []
    if run.resume and checkpoint.is_file():
        trainer.load_checkpoint(checkpoint)
        history = json.loads(history_file.read_text(encoding="utf-8"))[: trainer.step_count // steps]
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    sampler = PatchSampler(run.material.training, config.student.patch + 2 * CONTEXT)
    with reporter.track("student", total, "steps") as task:
        task.advance(trainer.step_count)
        for number, end in enumerate([*asked, epochs]):
            if trainer.step_count >= end * steps:
                continue
            pseudo = None
            if number and unlabelled is not None:
                pseudo = unlabelled.labels(number - 1, trainer.save_weights)
            draw = partial(_batches, config, sampler, pseudo)
            batches = ordered_map(draw, range(trainer.step_count, end * steps), 1)
            while trainer.step_count < end * steps:
                seen: dict[str, list[float]] = {}
                for batch in islice(batches, steps):
                    terms = trainer.step(*batch)
                    for name, value in terms.items():
                        seen.setdefault(name, []).append(value)
                    task.advance(1, f"loss {terms['total']:.3f}")
                history.append({name: sum(values) / len(values) for name, values in seen.items()})
                _write_json(history_file, history)
                trainer.save_checkpoint(checkpoint)
    trainer.save_weights(run.folder / STUDENT)
    decoding, scores, samples = _tuned_decoding(run, trainer.predict)
    reporter.say(f"Student on validation: {sentence(scores)}.")
    return decoding, scores, samples


def _batches(
    config: Config, sampler: PatchSampler, pseudo: PseudoLabels | None, step: int
) -> tuple[LabelledBatch, UnlabelledBatch | None]:
    """What the student sees in a step."""
    rng = generator(config.seed, "student", step)
    patches = sampler.draw(rng, config.student.batch)
    labelled = LabelledBatch(
        np.stack([recolour(p.image, rng)[INNER, INNER] for p in patches]),
        np.stack([p.foreground[INNER, INNER] for p in patches]),
        np.stack([objectness(p.objects)[INNER, INNER] for p in patches]),
        np.stack([contact(p.objects)[INNER, INNER] for p in patches]),
    )
    return labelled, pseudo.draw(rng, config.pseudo.batch) if pseudo is not None else None


def _unlabelled(run: _Run) -> PseudoLabelStore | None:
    """The unlabelled tissue to learn from, if there is any and the objective uses it."""
    if not run.config.loss.needs_teacher or not rounds(run.config):
        return None
    if not run.material.places:
        run.reporter.warn("No unlabelled tissue: the student learns from the annotations alone.")
        return None
    unlabelled = PseudoLabelStore(run.folder, run.material.places, run.config, run.reporter)
    unlabelled.ask_teacher()
    return unlabelled


def _tuned_decoding(run: _Run, predict: Predict) -> tuple[DecodingConfig, dict[str, float], list[Sample]]:
    """The decoding rule that scores best on validation, from a small grid; what it finds there."""
    windows = run.material.validation
    maps = [whole_maps(predict, window.image) for window in windows]
    mpp = 2 * (run.material.mpp or NOMINAL_MPP)

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
        Sample(window.source, window.image, window.labels.objects, found)
        for window, found in zip(windows, segmented(best), strict=True)
    ]
    return best, scores, samples


def _histories(report: Path) -> dict[str, list[dict[str, float]]]:
    """The losses that the stages left, by network."""
    files = {network: report / f"{network}_history.json" for network in ("teacher", "student")}
    return {n: json.loads(f.read_text(encoding="utf-8")) for n, f in files.items() if f.is_file()}


def _rounded(scores: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in scores.items()}


def _write_json(path: Path, value: object) -> None:
    with replacing(path) as part:
        part.write_text(json.dumps(value, indent=1), encoding="utf-8")
