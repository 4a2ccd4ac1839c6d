"""``cellgennet segment``: segment every nucleus of every image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from click.core import ParameterSource

from .options import (
    AutoOr,
    Backend,
    FiniteRange,
    image_option,
    json_option,
    model_option,
    mpp_option,
    older_qupath_option,
    opened,
    project_options,
    threads_option,
)
from .reporter import reporter
from .requests import requested_ids
from .segmented import Printed, print_run

if TYPE_CHECKING:
    from ..qupath.project import ExistingPolicy

_ONLY_IN_PROJECTS = {
    "backend": "--backend",
    "slides": "--slides",
    "image_ids": "--image-id",
    "within": "--within",
    "within_ids": "--within-id",
    "cores": "--core",
    "existing": "--existing",
    "older_qupath": "--older-qupath",
}
"""Options that mean nothing for images without a project."""


@click.command("segment")
@click.argument(
    "places", metavar="PROJECT | FOLDER|SLIDE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder for the results of images without a project: a GeoJSON file per image, a table, a page.",
)
@project_options
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
    "--threshold",
    type=FiniteRange(min=0, max=1),
    metavar="P",
    help="Leave out nuclei of a lower `Detection probability`; a higher value only takes nuclei away.",
)
@click.option(
    "--min-area",
    type=FiniteRange(min=0, max=10_000),
    metavar="UM2",
    help="Leave out nuclei of a smaller area, in µm².",
)
@click.option(
    "--split",
    type=click.Choice(["more", "less"]),
    help="Separate touching nuclei more, or less, than the model does.",
)
@click.option(
    "--scale",
    type=AutoOr(min=0.01, max=100),
    metavar="auto|UM",
    help="µm per pixel at which the model sees the slides: above its own for nuclei larger than those it "
    "learnt from, below it for smaller ones (`cellgennet models`). auto: its own.",
)
@click.option(
    "--views",
    type=click.Choice(["1", "4"]),
    default="1",
    callback=lambda context, parameter, value: int(value),
    help="4: average the network's maps over mirrored views of the slide; steadier, at four times its time.",
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
@click.option(
    "--precision",
    type=click.Choice(["auto", "f32", "bf16"]),
    default="auto",
    show_default=True,
    help="Arithmetic of the network: 32 bits, or 16 where the device has them; auto: the faster one.",
)
@threads_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    places: tuple[Path, ...],
    output: Path | None,
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
    threshold: float | None,
    min_area: float | None,
    split: Literal["more", "less"] | None,
    scale: float | None,
    views: Literal[1, 4],
    resume: bool,
    tile: int,
    workers: int,
    dask: str | None,
    worker_timeout: float | None,
    mpp: float | None,
    older_qupath: bool,
    device: Literal["auto", "cpu", "cuda", "mps"],
    precision: Literal["auto", "f32", "bf16"],
    threads: int | None,
    as_json: bool,
) -> int:
    """Segment every nucleus of every image.

    Of a QuPath PROJECT all nuclei are written into it, as detections or cells. Without a project, name images
    or FOLDERs of images, and with -o the folder for the results.
    """
    from .. import api

    if dask is not None and workers > 1:
        raise click.UsageError("--workers and --dask cannot be combined.")
    _check_places(context, places, output)
    following = image_ids == ("-",)
    listener = reporter()
    bundle = api.load_bundle(model or "pretrained", reporter=listener)
    if output is None:
        target = opened(places[0], backend, slides, listener, writable=True, older_qupath=older_qupath)
    else:
        target = api.open_images(places, output, mpp=mpp, stain=bundle.card.stain, reporter=listener)
    printed = Printed(as_json, following)
    with target:
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
            threshold=threshold,
            min_area=min_area,
            split=split,
            scale=scale,
            views=views,
            resume=resume,
            tile=tile,
            mpp=mpp,
            workers=workers,
            dask=dask,
            worker_timeout=worker_timeout,
            device=device,
            precision=precision,
            threads=threads or 0,
            on_image=printed.image if printed.at_once else None,
            reporter=listener,
        )
        if not following:
            print_run(places[0], target, run, as_json, listener)
    return 3 if run.failed else 0


def _check_places(context: click.Context, places: Sequence[Path], output: Path | None) -> None:
    """Raises UsageError and ProjectError where projects and images are confused, before any work."""
    from ..core.errors import ProjectError
    from ..qupath.open import is_project_path

    if output is not None:
        for name, option in _ONLY_IN_PROJECTS.items():
            if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                raise click.UsageError(f"{option} is for projects, and -o for images without one.")
        return
    if len(places) > 1:
        raise click.UsageError("Name one project; or images without a project, and with -o a folder.")
    (place,) = places
    if place.exists() and not (is_project_path(place) and (place.is_dir() or place.suffix == ".qpproj")):
        raise ProjectError(
            place,
            "is not a QuPath project",
            "Name the folder that contains project.qpproj; for images without a project, add -o RESULTS",
        )
