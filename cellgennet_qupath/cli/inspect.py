"""``cellgennet inspect``: the contents of a project."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from .next_step import quoted, say_next
from .options import Backend, json_option, mpp_option, opened, print_json, project_argument
from .terminal import printable


@click.command("inspect")
@project_argument
@click.option(
    "-c",
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="YAML file of settings, for the names of your classes.",
)
@mpp_option
@json_option
def command(
    project: Path,
    backend: Backend,
    slides: Path | None,
    config_file: Path | None,
    mpp: float | None,
    as_json: bool,
) -> None:
    """Show a project's images, sizes, annotations by class, and labels to train on."""
    from ..annotations.overview import describe_project
    from ..core.config_file import load_config
    from ..segmentation.record import mixed_nuclei, waiting_nuclei
    from .reporter import reporter

    listener = reporter()
    classes = load_config(config_file, listener).classes
    with opened(project, backend, slides, listener) as target:
        document = describe_project(target, mpp, classes, listener)
        mixed, waiting = mixed_nuclei(target), waiting_nuclei(target)
    for line in mixed:
        listener.warn(line)
    if as_json:
        print_json(document)
    else:
        _print_table(document, waiting)
        place = quoted(project)
        trainable = any(image["trainable"]["nuclei"] for image in document["images"])
        train = [f"cellgennet train {place} -o NAME.cgn"] if trainable else []
        say_next(listener, *train, f"cellgennet segment {place}")


def _print_table(document: dict[str, Any], waiting: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    def safe(text: str) -> Text:
        # Rich drops some control characters and counts others as no column.
        return Text(printable(text))

    # Only a terminal has a width; elsewhere rows are not wrapped. Standard output lets no colours through.
    width = None if sys.stdout.isatty() else 200
    console = Console(highlight=False, color_system=None, width=width)
    table = Table(title=safe(f"{document['project']} ({document['backend']} backend)"), title_justify="left")
    for heading in ("id", "image", "size", "µm/px", "read by", "annotations", "regions", "detections"):
        table.add_column(heading, overflow="fold")
    for image in document["images"]:
        classes = ", ".join(f"{name or 'unclassified'} {n}" for name, n in image["annotations"].items())
        size = f"{image['width']} x {image['height']}" if image["width"] else "?"
        row = (
            image["id"],
            image["name"],
            size,
            f"{image['mpp']:.4g}" if image["mpp"] else "none",
            image["reader"] or "",
            classes,
            str(image["regions"]),
            str(image["detections"]),
        )
        table.add_row(*(safe(cell) for cell in row))
    console.print(table)
    for image in document["images"]:
        if image["problem"]:
            console.print(safe(f"! {image['name']}: {image['problem']}"), soft_wrap=True)
        for finding in image["findings"]:
            console.print(safe(f"! {image['name']}: {finding['sentence']}"), soft_wrap=True)
    if waiting:
        console.print(safe(waiting), soft_wrap=True)
    training = sum(image["trainable"]["nuclei"] for image in document["images"])
    images = sum(bool(image["trainable"]["nuclei"]) for image in document["images"])
    validation = sum(image["trainable"]["validation_nuclei"] for image in document["images"])
    console.print(
        Text(f"To train on: {training} whole nuclei in {images} image(s); to validate on: {validation}.")
    )
    if not training:
        console.print(
            Text("Nothing to train on: draw a rectangle of class Training and outline every nucleus in it.")
        )
