"""``cellgennet train``: from a project's annotations to a model bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from .next_step import quoted, say_next
from .options import Backend, mpp_option, opened, project_argument, threads_option
from .reporter import reporter

Stage = Literal["teacher", "student", "all"]
Keep = Literal["recommended", "trained"]
NOTHING = Path("none")


@click.command("train")
@project_argument
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The bundle to write, NAME.cgn."
)
@click.option("-c", "--config", "config_file", type=click.Path(path_type=Path), help="YAML file of settings.")
@click.option(
    "--stage",
    type=click.Choice(["teacher", "student", "all"]),
    default="all",
    show_default=True,
    help="Train only the teacher, only the student (with the bundle's teacher), or both.",
)
@click.option(
    "--init",
    "initial",
    type=click.Path(path_type=Path),
    default=Path("pretrained"),
    show_default=True,
    help="Bundle to start from; `pretrained` and `pretrained-fast` are shipped. `none`: from ImageNet "
    "weights.",
)
@click.option(
    "--keep",
    type=click.Choice(["recommended", "trained"]),
    default="recommended",
    show_default=True,
    help="Write the start itself where the new model is not better, or the new model in any case.",
)
@click.option("--resume", is_flag=True, help="Continue an interrupted run.")
@mpp_option
@threads_option
def command(
    project: Path,
    backend: Backend,
    slides: Path | None,
    output: Path,
    config_file: Path | None,
    stage: Stage,
    initial: Path,
    keep: Keep,
    resume: bool,
    mpp: float | None,
    threads: int | None,
) -> None:
    """Train a model on a project's annotations, from the shipped model or from nothing."""
    from .. import api
    from ..bundle import REPORT
    from ..core.config_file import load_config
    from ..core.extras import require

    if initial == NOTHING or stage != "all":
        require("train", f"cellgennet train {'--init none' if initial == NOTHING else '--stage ' + stage}")
    listener = reporter()
    settings = load_config(config_file, listener)
    start = None if initial == NOTHING else api.load_bundle(initial, reporter=listener)
    with opened(project, backend, slides, listener, writable=True, older_qupath=True) as target:
        bundle = api.train(
            target,
            output,
            config=settings,
            init=start,
            keep=keep,
            stage=stage,
            resume=resume,
            mpp=mpp,
            threads=threads,
            reporter=listener,
        )
    click.echo(f"Model bundle: {bundle.path}")
    page = bundle.path / REPORT / "training.html"
    if page.is_file():
        click.echo(f"Page: {page}")
    say_next(
        listener,
        f"cellgennet segment {quoted(project)} -m {quoted(output)}",
        f"cellgennet evaluate {quoted(project)} -m {quoted(output)} -o report",
    )
