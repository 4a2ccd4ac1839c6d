"""Options shared by several commands, and JSON output."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from ..core.errors import CalibrationError
from ..core.progress import SILENT, Reporter

if TYPE_CHECKING:
    from ..qupath.project import Project

Backend = Literal["auto", "qupath", "files"]
F = TypeVar("F", bound=Callable[..., Any])

FOLDER_OR_FILE = click.Path(path_type=Path)


def decimal_comma(value: object) -> str:
    """What to say of a number that was written with a decimal comma; "" for anything else."""
    match = re.fullmatch(r"\s*([+-]?\d*),(\d+)\s*", str(value))
    return f"'{value}' has a decimal comma: write {match[1] or 0}.{match[2]}" if match else ""


class Number(click.types.FloatParamType):
    """A number; one with a decimal comma is explained."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if decimal_comma(value):
            self.fail(decimal_comma(value), param, ctx)
        return super().convert(value, param, ctx)


class FiniteRange(click.FloatRange):
    """A number within bounds. Click's own type also takes ``nan``, which is below and above no bound."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if decimal_comma(value):
            self.fail(decimal_comma(value), param, ctx)
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a number within bounds", param, ctx)
        return number


class AutoOr(FiniteRange):
    """``auto`` (None), or a number within bounds."""

    name = "auto or number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return None if value == "auto" else super().convert(value, param, ctx)


def project_argument(function: F) -> F:
    """PROJECT, --backend and --slides."""
    return click.argument("project", type=FOLDER_OR_FILE)(project_options(function))


def project_options(function: F) -> F:
    """--backend and --slides."""
    function = click.option(
        "--slides",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        help="Folder to search for slides that have moved.",
    )(function)
    return click.option(
        "--backend",
        type=click.Choice(["auto", "qupath", "files"]),
        default="auto",
        show_default=True,
        help="Read and write the project with QuPath, or through its files only.",
    )(function)


def _plausible_mpp(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """``--mpp``, checked before any work begins."""
    if value is not None:
        from ..slides.pixel_size import check_option

        try:
            check_option(value)
        except CalibrationError as error:
            raise click.BadParameter(f"{value:g} {error.reason}. {error.remedy}.") from error
    return value


mpp_option = click.option(
    "--mpp",
    type=Number(),
    metavar="UM",
    callback=_plausible_mpp,
    help="Pixel size in micrometres, for images without one or with an impossible one.",
)
model_option = click.option(
    "-m",
    "--model",
    type=click.Path(path_type=Path),
    help="Model bundle, or one that comes with the package: `pretrained` (the default) or `pretrained-fast`.",
)
image_option = click.option(
    "--image",
    "images",
    multiple=True,
    help="Only the image of this name or file name, or all that match this pattern (repeatable).",
)
image_id_option = click.option(
    "--image-id", "image_ids", multiple=True, help="Only the image of this id (repeatable)."
)
older_qupath_option = click.option(
    "--older-qupath",
    is_flag=True,
    help="Write with a QuPath older than the one that wrote the project; it drops data unknown to it.",
)
threads_option = click.option(
    "--threads", type=click.IntRange(0, 1024), default=None, help="Processor threads to use; 0: all."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document to stdout.")


def opened(
    project: Path,
    backend: Backend,
    slides: Path | None,
    reporter: Reporter = SILENT,
    writable: bool = False,
    older_qupath: bool = False,
) -> Project:
    """Open the project and locate its slides; ``writable`` takes its lock."""
    from ..qupath.locate import size_of_slide
    from ..qupath.open import open_project

    return open_project(project, backend, slides, size_of_slide, writable, reporter, older_qupath)


def print_json(document: object) -> None:
    """Print a command's JSON document."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))
