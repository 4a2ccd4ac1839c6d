"""``cellgennet segment``: segment every nucleus of every image."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from .options import (
    Backend,
    FiniteRange,
    image_option,
    json_option,
    model_option,
    mpp_option,
    older_qupath_option,
    opened,
    print_json,
    project_argument,
    threads_option,
)
from .reporter import reporter
from .requests import requested_ids

if TYPE_CHECKING:
    from ..qupath.project import ExistingPolicy
    from ..segmentation.result import ImageResult


@click.command("segment")
@project_argument
@model_option
@image_option
@click.option(
    "--image-id",
    "image_ids",
    multiple=True,
    help="Only the image of this id (repeatable). With -, ids come from standard input, one per line, and "
    "the result of each image is printed as soon as it is done.",
)
@click.option("--within", help="Segment only inside annotations of this class.")
@click.option(
    "--within-id",
    "within_ids",
    multiple=True,
    metavar="ID",
    help="Segment only inside the annotation of this id (repeatable).",
)
@click.option(
    "--core",
    "cores",
    multiple=True,
    metavar="NAME|all",
    help="Segment only inside this core of a tissue microarray (repeatable); all: every core that is not "
    "missing.",
)
@click.option(
    "--existing",
    type=click.Choice(["replace-own", "replace-all", "keep"]),
    default="replace-own",
    show_default=True,
    help="Existing detections: replace those of earlier runs, replace all, or keep all.",
)
@click.option(
    "--cells",
    type=FiniteRange(min=0, max=100, min_open=True),
    metavar="MICROMETRES",
    help="Expand nuclei into cells by this distance.",
)
@click.option(
    "--resume/--restart", default=True, show_default=True, help="Continue an interrupted run, or start again."
)
@click.option(
    "--tile",
    type=click.IntRange(128, 8192),
    default=2048,
    show_default=True,
    help="Side of a tile in pixels.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Processes on this computer that share the tiles.",
)
@click.option("--dask", metavar="ADDRESS", help="Distribute tiles over the workers of this Dask scheduler.")
@click.option(
    "--worker-timeout",
    type=FiniteRange(min=0, max=604_800, min_open=True),
    metavar="SECONDS",
    help="With --dask: end if no worker is connected for this long; default: wait.",
)
@mpp_option
@older_qupath_option
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
    help="Device that runs the network.",
)
@threads_option
@json_option
def command(
    project: Path,
    backend: Backend,
    slides: Path | None,
    model: Path | None,
    images: tuple[str, ...],
    image_ids: tuple[str, ...],
    within: str | None,
    within_ids: tuple[str, ...],
    cores: tuple[str, ...],
    existing: ExistingPolicy,
    cells: float | None,
    resume: bool,
    tile: int,
    workers: int,
    dask: str | None,
    worker_timeout: float | None,
    mpp: float | None,
    older_qupath: bool,
    device: Literal["auto", "cpu", "cuda", "mps"],
    threads: int | None,
    as_json: bool,
) -> int:
    """Segment every nucleus of every image and write it into the project, as a detection or a cell."""
    from .. import api
    from ..segmentation.result import tally

    if dask is not None and workers > 1:
        raise click.UsageError("--workers and --dask cannot be combined.")
    following = image_ids == ("-",)
    listener = reporter()
    bundle = api.load_bundle(model or "pretrained", reporter=listener)
    with opened(project, backend, slides, listener, writable=True, older_qupath=older_qupath) as target:
        run = api.segment(
            target,
            bundle,
            images=images,
            image_ids=requested_ids() if following else image_ids,
            within=within,
            within_ids=within_ids,
            cores=cores,
            existing=existing,
            cells=cells,
            resume=resume,
            tile=tile,
            mpp=mpp,
            workers=workers,
            dask=dask,
            worker_timeout=worker_timeout,
            device=device,
            threads=threads or 0,
            on_image=partial(_print_result, as_json=as_json) if following else None,
            reporter=listener,
        )
    if following:
        return 3 if run.failed else 0
    if as_json:
        print_json(
            {
                "project": str(project),
                "backend": run.backend,
                "bundle": str(bundle.path),
                "images": [result.as_dict() for result in run.images],
                "page": str(run.page) if run.page else None,
            }
        )
    else:
        for result in run.images:
            click.echo(result.sentence())
        click.echo(tally(run.images))
        if run.page:
            click.echo(f"Page: {run.page}")
    return 3 if run.failed else 0


def _print_result(result: ImageResult, as_json: bool) -> None:
    line = json.dumps(result.as_dict(), ensure_ascii=False) if as_json else result.sentence()
    click.echo(line)
    sys.stdout.flush()
