"""``cellgennet evaluate``: how far to trust a model, as numbers and as a page to read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import Backend, json_option, mpp_option, opened, print_json, project_argument, threads_option
from .reporter import reporter

if TYPE_CHECKING:
    from ..bundle import Bundle
    from ..core.progress import Reporter
    from ..evaluation.predictors import Predictor
    from ..evaluation.regions import EvaluationRegion


@click.command("evaluate")
@project_argument
@click.option(
    "-m",
    "--model",
    "models",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Model bundle (repeatable; the report is about the first); default: the pretrained one.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for the report and its tables.",
)
@click.option(
    "--predictions",
    multiple=True,
    metavar="NAME=FOLDER",
    help="Results of another tool: label images or GeoJSON, one for each image (repeatable).",
)
@click.option("--teacher/--no-teacher", default=True, show_default=True, help="Also run a bundle's teacher.")
@click.option(
    "--classical/--no-classical",
    default=True,
    show_default=True,
    help="Also run a method without learning, to compare with.",
)
@click.option("--split", help="Of a folder with manifest.csv: only images of this split.")
@click.option(
    "--group-by", metavar="COLUMN", help="Of a folder with manifest.csv: the column that groups images."
)
@mpp_option
@threads_option
@json_option
def command(
    project: Path,
    backend: Backend,
    slides: Path | None,
    models: tuple[Path, ...],
    output: Path,
    predictions: tuple[str, ...],
    teacher: bool,
    classical: bool,
    split: str | None,
    group_by: str | None,
    mpp: float | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Score models on a project's Validation regions, or on a FOLDER of images/ and labels/."""
    from ..bundle import load_bundle, named_bundle
    from ..evaluation.run import evaluate
    from ..report.evaluation_page import REPORT, check_output, write_report

    check_output(output)
    others = [_named(text) for text in predictions]
    bundles = [load_bundle(named_bundle(path)) for path in models or (None,)]
    listener = reporter()
    is_project = project.is_file() or (project / "project.qpproj").is_file()
    if is_project:
        fields = _project_fields(project, backend, slides, bundles[0], mpp, listener)
    else:
        fields = _folder_fields(project, mpp, split, group_by, listener)
    predictors = _predictors(bundles, others, teacher, classical, threads or 0, listener)
    evaluation = evaluate(fields, predictors, listener)
    notes = []
    if is_project:
        notes.append(
            "If the model was trained on this project, its thresholds were chosen on these Validation "
            "regions: expect slightly lower scores on other slides."
        )
    document = write_report(output, evaluation, project.stem or str(project), bundles, notes, listener)
    if as_json:
        print_json(document | {"report": str(output / REPORT)})
        return
    verdict = document["verdict"]
    click.echo(verdict["headline"])
    for sentence in [*verdict["sentences"], *verdict["compared"]]:
        click.echo(sentence)
    for warning in verdict["warnings"]:
        click.echo(f"! {warning}")
    click.echo(f"Report: {output / REPORT}")


def _named(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    if not name or not Path(folder).is_dir() or not folder:
        raise click.BadParameter(
            f"{text}: write NAME=FOLDER with a folder that exists", param_hint="--predictions"
        )
    return name, Path(folder)


def _project_fields(
    project: Path,
    backend: Backend,
    slides: Path | None,
    bundle: Bundle,
    mpp: float | None,
    listener: Reporter,
) -> list[EvaluationRegion]:
    from ..evaluation.regions import project_regions

    with opened(project, backend, slides, listener) as found:
        return project_regions(found, bundle.config.classes, mpp=mpp, reporter=listener)


def _folder_fields(
    folder: Path, mpp: float | None, split: str | None, group_by: str | None, listener: Reporter
) -> list[EvaluationRegion]:
    from ..evaluation.regions import folder_regions

    return folder_regions(folder, mpp=mpp, split=split, group_by=group_by, reporter=listener)


def _predictors(
    bundles: list[Bundle],
    others: list[tuple[str, Path]],
    teacher: bool,
    classical: bool,
    threads: int,
    listener: Reporter,
) -> list[Predictor]:
    """Everyone to evaluate, under names that differ."""
    from ..bundle import STUDENT, TEACHER
    from ..evaluation.predictors import (
        ClassicalBaseline,
        PrecomputedPredictor,
        StudentPredictor,
        TeacherPredictor,
    )
    from ..segmentation.model import Model

    taken: set[str] = {name for name, _ in others} | {"classical"}

    def free(name: str) -> str:
        chosen, number = name, 2
        while chosen in taken:
            chosen, number = f"{name} ({number})", number + 1
        taken.add(chosen)
        return chosen

    found: list[Predictor] = []
    for bundle in bundles:
        has_student = (bundle.path / STUDENT).is_file()
        has_teacher = (bundle.path / TEACHER).is_dir()
        if has_student or not has_teacher:
            found.append(StudentPredictor(free(bundle.card.name), Model.from_bundle(bundle, threads)))
        if has_teacher and (teacher or not has_student):
            found.append(TeacherPredictor(free(f"{bundle.card.name} teacher"), bundle, threads))
    names = [name for name, _ in others]
    if len(set(names)) < len(names):
        raise click.BadParameter("two results have the same name", param_hint="--predictions")
    found += [PrecomputedPredictor(name, folder) for name, folder in others]
    if classical:
        found.append(ClassicalBaseline())
    listener.say(f"To compare: {', '.join(one.name for one in found)}.")
    return found
