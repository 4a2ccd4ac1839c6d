"""``cellgennet export``: the measurements of a whole project."""

from __future__ import annotations

from pathlib import Path

import click

from .options import Backend, opened, project_argument
from .reporter import reporter


@click.command("export")
@project_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="File to write; its ending sets the format: csv, tsv, csv.gz, parquet, geojson, h5ad. "
    "With {image} in the name, one file per image is written.",
)
@click.option(
    "--neighbours",
    is_flag=True,
    help="Add the distance to the nearest nucleus, and the number and density of nuclei within 50 µm.",
)
@click.option(
    "--summary",
    is_flag=True,
    help="Write one row per image and annotation instead: counts, density, means and quantiles.",
)
def command(
    project: Path, backend: Backend, slides: Path | None, output: Path, neighbours: bool, summary: bool
) -> None:
    """Export the measurements of all detections of a project to one file, or to one file per image."""
    from .. import api

    listener = reporter()
    with opened(project, backend, slides, listener) as source:
        count = api.export(source, output, neighbours=neighbours, summary=summary, reporter=listener)
    click.echo(f"{count} nuclei: {output}")
