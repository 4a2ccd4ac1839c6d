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
    help="The file to write; its ending says the format: csv, tsv, csv.gz, parquet, geojson, h5ad. "
    "{image} in its name stands for each image's own: one file per image.",
)
@click.option(
    "--neighbours",
    is_flag=True,
    help="Add the distance to the nearest nucleus, and the number and density within 50 µm.",
)
@click.option(
    "--summary",
    is_flag=True,
    help="Instead of nuclei: counts, density, means and quantiles of each image and annotation.",
)
def command(
    project: Path, backend: Backend, slides: Path | None, output: Path, neighbours: bool, summary: bool
) -> None:
    """Write the measurements of all detections of a project to one file, or to one for each image."""
    from ..tables.project import export_project

    with opened(project, backend, slides) as found:
        count = export_project(found, output, neighbours=neighbours, summary=summary, reporter=reporter())
    click.echo(f"{count} nuclei: {output}")
