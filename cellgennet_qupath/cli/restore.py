"""``cellgennet restore``: detections as they were before the last run that replaced them."""

from __future__ import annotations

from pathlib import Path

import click

from .next_step import say_next
from .options import (
    Backend,
    image_id_option,
    image_option,
    older_qupath_option,
    opened,
    project_argument,
)
from .reporter import reporter
from .segmented import write_table


@click.command("restore")
@project_argument
@image_option
@image_id_option
@older_qupath_option
def command(
    project: Path,
    backend: Backend,
    slides: Path | None,
    images: tuple[str, ...],
    image_ids: tuple[str, ...],
    older_qupath: bool,
) -> int:
    """Put back the detections that the last run replaced, and keep the present ones instead."""
    from ..core.environment import of_image
    from ..qupath.choose import chosen
    from ..qupath.loose import LooseImages
    from ..segmentation.restore import restore_image

    listener = reporter()
    restored, failed = 0, 0
    with opened(project, backend, slides, listener, writable=True, older_qupath=older_qupath) as target:
        for entry in chosen(target.entries, images, image_ids, target.path):
            try:
                written = restore_image(target, entry)
            except Exception as error:
                listener.warn(f"Skipped: {of_image(entry.name, error)}")
                failed += 1
                continue
            if written is None:
                click.echo(f"{entry.name}: no replaced detections are kept.")
            else:
                restored += 1
                click.echo(f"{entry.name}: {written.count} detections restored -> {written.file}")
        if restored and isinstance(target, LooseImages):
            write_table(target, listener)
    click.echo(f"{restored} images restored.")
    if restored:
        say_next(listener, "the same command again takes this back")
    return 3 if failed else 0
