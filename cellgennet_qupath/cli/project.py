"""``cellgennet project create``: a QuPath project of images that are in none."""

from __future__ import annotations

from pathlib import Path

import click

from .next_step import quoted, say_next
from .options import Backend, json_option, mpp_option, print_json
from .reporter import reporter


@click.group("project")
def command() -> None:
    """QuPath projects."""


@command.command("create")
@click.argument("places", metavar="FOLDER|SLIDE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the new project; it must be missing or empty.",
)
@click.option(
    "--nuclei",
    type=click.Path(path_type=Path),
    metavar="RESULTS",
    help="Results of `segment FOLDER -o RESULTS`, whose nuclei go into the project.",
)
@click.option(
    "--backend",
    type=click.Choice(["auto", "qupath", "files"]),
    default="auto",
    show_default=True,
    help="Make the project with QuPath, or through its files only.",
)
@mpp_option
@json_option
def create(
    places: tuple[Path, ...],
    output: Path,
    nuclei: Path | None,
    backend: Backend,
    mpp: float | None,
    as_json: bool,
) -> int:
    """Make a QuPath project of images, or of FOLDERs that are searched for images.

    Of a folder of results (`segment FOLDER -o RESULTS`) the images come with their nuclei.
    """
    from .. import api

    listener = reporter()
    made = api.create_project(places, output, mpp=mpp, nuclei=nuclei, backend=backend, reporter=listener)
    if as_json:
        print_json(
            {
                "project": str(made.path),
                "backend": made.backend,
                "images": made.images,
                "nuclei": made.nuclei,
                "failed": made.failed,
            }
        )
        return 3 if made.failed else 0
    click.echo(f"{len(made.images)} images, {made.nuclei} nuclei: {made.path}")
    imported = " and run cellgennet_import_detections.groovy there" if made.backend == "files" else ""
    steps = [f"open {quoted(made.path / 'project.qpproj')} in QuPath{imported if made.nuclei else ''}"]
    say_next(listener, *steps, *([] if made.nuclei else [f"cellgennet segment {quoted(output)}"]))
    return 3 if made.failed else 0
