"""``cellgennet segment``: every nucleus of every image into the project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from ..core.errors import CellGenNetError
from ..core.progress import Remembering
from .options import Backend, json_option, mpp_option, opened, print_json, project_argument, threads_option
from .reporter import reporter

if TYPE_CHECKING:
    from ..bundle import Bundle
    from ..qupath.project import ExistingPolicy, Project
    from ..segmentation.result import ImageResult


@click.command("segment")
@project_argument
@click.option(
    "-m", "--model", type=click.Path(path_type=Path), help="Model bundle; default: the pretrained one."
)
@click.option(
    "--image", "images", multiple=True, help="Only images whose name matches this pattern (repeatable)."
)
@click.option("--within", help="Only inside annotations of this class.")
@click.option(
    "--existing",
    type=click.Choice(["replace-own", "replace-all", "keep"]),
    default="replace-own",
    show_default=True,
    help="Detections already there: replace those of earlier runs, replace all, or keep all.",
)
@click.option(
    "--cells",
    type=click.FloatRange(min=0, max=100, min_open=True),
    metavar="MICROMETRES",
    help="Grow nuclei into cells by so many micrometres.",
)
@click.option(
    "--resume/--restart", default=True, show_default=True, help="Go on after an interruption, or begin anew."
)
@click.option(
    "--tile", type=click.IntRange(128, 8192), default=2048, show_default=True, help="Tile side in pixels."
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Processes of this computer to share tiles among.",
)
@click.option("--dask", metavar="ADDRESS", help="Share tiles among the workers of this Dask scheduler.")
@mpp_option
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
    help="What the network runs on.",
)
@threads_option
@json_option
def command(
    project: Path,
    backend: Backend,
    slides: Path | None,
    model: Path | None,
    images: tuple[str, ...],
    within: str | None,
    existing: ExistingPolicy,
    cells: float | None,
    resume: bool,
    tile: int,
    workers: int,
    dask: str | None,
    mpp: float | None,
    device: Literal["auto", "cpu", "cuda", "mps"],
    threads: int | None,
    as_json: bool,
) -> int:
    """Find every nucleus of every image and put it into the project, as a detection or a cell."""
    from ..bundle import load_bundle, named_bundle

    if dask is not None and workers > 1:
        raise click.UsageError("--workers and --dask exclude each other.")
    bundle = load_bundle(named_bundle(model))
    listener = Remembering(reporter())
    with opened(project, backend, slides, listener, writable=True) as found:
        from ..segmentation.batch import segment_project
        from ..segmentation.options import SegmentOptions

        options = SegmentOptions(
            images=images,
            within=within,
            resume=resume,
            tile=tile,
            mpp=mpp,
            threads=threads or 0,
            device=device,
            workers=workers,
            dask=dask,
            existing=existing,
            cells=cells,
        )
        results = segment_project(found, bundle, options, reporter=listener)
        used = found.backend
        page = _page(found, results, bundle, listener, mpp)
    failed = [result for result in results if result.status == "failed"]
    if as_json:
        print_json(
            {
                "project": str(project),
                "backend": used,
                "bundle": str(bundle.path),
                "images": [result.as_dict() for result in results],
                "page": str(page) if page else None,
            }
        )
    else:
        for result in results:
            click.echo(result.sentence())
        click.echo(f"{len(results) - len(failed)} of {len(results)} images done.")
        if page:
            click.echo(f"Page: {page}")
    return 3 if failed else 0


def _page(
    project: Project,
    results: list[ImageResult],
    bundle: Bundle,
    listener: Remembering,
    mpp: float | None,
) -> Path | None:
    """The run's page; without it the nuclei are there all the same."""
    from ..report.segmentation_page import write_run_page

    try:
        return write_run_page(project, results, bundle, warnings=listener.warnings, mpp=mpp)
    except CellGenNetError as error:
        listener.warn(f"No page was written: {error}")
        return None
