"""``cellgennet export``: the measurements of a whole project."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from .next_step import quoted, say_next
from .options import Backend, mpp_option, opened, project_argument
from .reporter import reporter


@click.command("export")
@project_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="File to write; its ending sets the format: csv, tsv, csv.gz, xlsx, parquet, geojson, h5ad, zarr. "
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
@click.option(
    "--units",
    type=click.Choice(["um", "px"]),
    help="One unit for all images. By default images without a pixel size are in px, all others in µm.",
)
@mpp_option
@click.option("--excel", is_flag=True, help="Make csv and tsv safe to open in a spreadsheet (xlsx is safer).")
@click.option(
    "--columns",
    metavar="NAME,...",
    default="",
    help="Further columns: image-id, slide, model, checksum, metadata; with --summary also tissue, classes.",
)
def command(
    project: Path,
    backend: Backend,
    slides: Path | None,
    output: Path,
    neighbours: bool,
    summary: bool,
    units: Literal["um", "px"] | None,
    mpp: float | None,
    excel: bool,
    columns: str,
) -> None:
    """Export the measurements of all detections of a project to one file, or to one file per image."""
    from .. import api

    listener = reporter()
    with opened(project, backend, slides, listener) as source:
        count = api.export(
            source,
            output,
            neighbours=neighbours,
            summary=summary,
            units=units,
            mpp=mpp,
            excel=excel,
            columns=[name.strip() for name in columns.split(",") if name.strip()],
            reporter=listener,
        )
    click.echo(f"{count} nuclei: {output}")
    if not summary:
        say_next(
            listener,
            f"one row per image and annotation: cellgennet export {quoted(project)} -o summary.csv --summary",
        )
