"""What ``cellgennet segment`` prints: each image when it is done; then table, page and next step."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .next_step import quoted, say_next
from .options import print_json

if TYPE_CHECKING:
    from ..core.progress import Reporter
    from ..qupath.loose import LooseImages
    from ..qupath.project import Project
    from ..segmentation.result import ImageResult, Segmentation


class Printed:
    """Prints results as they come; a reason for which several images failed is printed once.

    as_json : one JSON document per image, for a program that asks for images one by one (``following``).
    """

    def __init__(self, as_json: bool, following: bool) -> None:
        self.at_once = following or not as_json
        self._as_json = as_json
        self._failed: dict[str, str] = {}

    def image(self, result: ImageResult) -> None:
        """Print the result of an image."""
        as_json = json.dumps(result.as_dict(), ensure_ascii=False) if self._as_json else ""
        click.echo(as_json or self._sentence(result))
        sys.stdout.flush()

    def _sentence(self, result: ImageResult) -> str:
        if result.status != "failed":
            return result.sentence()
        # The reason usually begins with the image.
        reason = result.reason.removeprefix(f"{result.name}: ")
        first = self._failed.setdefault(reason, result.name)
        return result.sentence() if first == result.name else f"{result.name}: FAILED, like {first}"


def print_run(place: Path, target: Project, run: Segmentation, as_json: bool, listener: Reporter) -> None:
    """Print the end of a run; of images without a project, write the table too. Raises ExportError."""
    from ..qupath.loose import LooseImages
    from ..segmentation.result import tally

    loose = target if isinstance(target, LooseImages) else None
    table = None if loose is None else write_table(loose, listener)
    page = str(run.page) if run.page else None
    if as_json:
        document = {"project": str(place)} if loose is None else _of_images(loose, table)
        document |= {"backend": run.backend, "bundle": str(run.bundle.path)}
        print_json({**document, "images": [result.as_dict() for result in run.images], "page": page})
        return
    click.echo(tally(run.images))
    if table is not None:
        click.echo(f"Table: {table}")
    if page:
        click.echo(f"Page: {page}")
    if run.nuclei and loose is not None:
        say_next(
            listener,
            "open an image in QuPath and drag its .geojson file onto it",
            f"cellgennet project create {quoted(loose.path)} -o MyProject",
        )
    elif run.nuclei:
        say_next(listener, f"cellgennet export {quoted(place)} -o nuclei.csv")


def _of_images(loose: LooseImages, table: Path | None) -> dict[str, object]:
    passed = [{"path": str(one.path), "reason": one.reason} for one in loose.passed_over]
    return {"output": str(loose.path), "passed_over": passed, "table": None if table is None else str(table)}


def write_table(loose: LooseImages, listener: Reporter) -> Path | None:
    """Write the table of all nuclei in a folder of results; None, and no table, where there are none.

    Raises ExportError.
    """
    from .. import api
    from ..core.errors import ExportError
    from ..core.files import confined
    from ..qupath.image_list import TABLE
    from ..tables.stream import has_nuclei

    table = confined(loose.path, loose.path / TABLE)
    if any(has_nuclei(loose, entry) for entry in loose.entries):
        api.export(loose, table, reporter=listener)
        return table
    try:
        table.unlink(missing_ok=True)  # of an earlier run
    except OSError as error:
        raise ExportError(
            table, f"cannot be deleted ({error.strerror})", "Close it in other programs"
        ) from error
    return None
