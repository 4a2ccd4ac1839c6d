"""``cellgennet suggest``: the windows whose outlines would teach a model most."""

from __future__ import annotations

from pathlib import Path

import click

from .next_step import quoted, say_next
from .options import (
    Backend,
    image_id_option,
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


@click.command("suggest")
@project_argument
@model_option
@click.option(
    "-n",
    "count",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="Windows to suggest, in all images together.",
)
@click.option(
    "--size",
    type=click.IntRange(64, 1024),
    default=160,
    show_default=True,
    help="Side of a window in pixels of 0.25 µm: 160 are 40 µm.",
)
@image_option
@image_id_option
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    show_default=True,
    help="Equal seeds give equal windows.",
)
@mpp_option
@older_qupath_option
@threads_option
@json_option
def command(
    project: Path,
    backend: Backend,
    slides: Path | None,
    model: Path | None,
    count: int,
    size: int,
    images: tuple[str, ...],
    image_ids: tuple[str, ...],
    seed: int,
    mpp: float | None,
    older_qupath: bool,
    threads: int | None,
    as_json: bool,
) -> int:
    """Suggest the windows whose outlines would teach a model most, as annotations of class Suggested."""
    from .. import api

    listener = reporter()
    bundle = api.load_bundle(model or "pretrained", reporter=listener)
    with opened(project, backend, slides, listener, writable=True, older_qupath=older_qupath) as target:
        result = api.suggest(
            target,
            bundle,
            count=count,
            size=size,
            seed=seed,
            images=images,
            image_ids=image_ids,
            mpp=mpp,
            threads=threads or 0,
            reporter=listener,
        )
    if as_json:
        print_json(
            {
                "project": str(project),
                "backend": result.backend,
                "bundle": str(bundle.path),
                "windows": [window.document() for window in result.windows],
                "images": [image.document() for image in result.images],
                "page": str(result.page) if result.page else None,
            }
        )
    else:
        for window in result.windows:
            click.echo(f"{window.entry.name}: {window.suggestion.reason}")
        click.echo(
            f"{len(result.windows)} suggestions on "
            f"{len({window.entry.id for window in result.windows})} of {len(result.images)} images."
        )
        for note in sorted(
            {image.written.note for image in result.images if image.written and image.windows}
        ):
            click.echo(note)
        if result.page:
            click.echo(f"Page: {result.page}")
        if result.windows:
            say_next(
                listener,
                "in QuPath, outline every nucleus in a suggestion and give it the class Training; then "
                f"cellgennet train {quoted(project)} -o NAME.cgn",
            )
    return 3 if result.failed else 0
