"""``cellgennet export``: one table of a whole project."""

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
    help="The file to write; its ending says the format: csv, tsv, parquet, geojson, h5ad.",
)
def command(project: Path, backend: Backend, slides: Path | None, output: Path) -> None:
    """Write the measurements of all detections of a project to one file."""
    from ..export.project import export_project

    with opened(project, backend, slides) as found:
        count = export_project(found, output, reporter=reporter())
    click.echo(f"{count} nuclei: {output}")
