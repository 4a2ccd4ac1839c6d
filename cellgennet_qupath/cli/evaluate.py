"""``cellgennet evaluate``: score models against expert annotations and write an HTML report."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click

from .next_step import quoted, say_next
from .options import Backend, json_option, mpp_option, opened, print_json, project_argument, threads_option
from .reporter import reporter


@click.command("evaluate")
@project_argument
@click.option(
    "-m",
    "--model",
    "models",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Model bundle (repeatable; the report is about the first). Default: the pretrained one.",
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
    help="Results of another tool: a folder with a label image or GeoJSON file per image (repeatable).",
)
@click.option(
    "--teacher/--no-teacher", default=True, show_default=True, help="Also score the bundles' teachers."
)
@click.option(
    "--classical/--no-classical",
    default=True,
    show_default=True,
    help="Also score a classical baseline (thresholding and watershed).",
)
@click.option("--split", help="Only images of this split (folder with manifest.csv).")
@click.option(
    "--group-by", metavar="COLUMN", help="Column by which images are grouped (folder with manifest.csv)."
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
) -> int:
    """Score models against expert annotations and write an HTML report.

    PROJECT is a QuPath project, whose Validation regions are evaluated, or a folder with images/ and labels/.
    """
    from .. import api
    from ..qupath.open import is_project_path

    listener = reporter()
    others = _named_folders(predictions)
    project_given = is_project_path(project)
    with opened(project, backend, slides, listener) if project_given else nullcontext(project) as target:
        assessment = api.evaluate(
            target,
            models or "pretrained",
            output=output,
            predictions=others,
            teacher=teacher,
            classical=classical,
            split=split,
            group_by=group_by,
            mpp=mpp,
            threads=threads or 0,
            reporter=listener,
        )
    document = assessment.document
    code = 3 if assessment.skipped else 0
    if as_json:
        print_json(document | {"report": str(assessment.page) if assessment.page else None})
        return code
    verdict = document["verdict"]
    click.echo(verdict["headline"])
    for sentence in [*verdict["sentences"], *verdict["compared"]]:
        click.echo(sentence)
    for warning in verdict["warnings"]:
        click.echo(f"! {warning}")
    for line in assessment.skipped:
        click.echo(f"! {line}")
    click.echo(f"Report: {assessment.page or output}")
    if project_given:
        say_next(listener, f"annotate where the model is doubtful: cellgennet suggest {quoted(project)}")
    return code


def _named_folders(texts: tuple[str, ...]) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for text in texts:
        name, _, folder = text.partition("=")
        if not name or not folder or not Path(folder).is_dir():
            raise click.BadParameter(
                f"{text}: write NAME=FOLDER with an existing folder", param_hint="--predictions"
            )
        if name in folders:
            raise click.BadParameter(f"two results are named {name}", param_hint="--predictions")
        folders[name] = Path(folder)
    return folders
