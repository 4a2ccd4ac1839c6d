"""``cellgennet train``: from a project's annotations to a model bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from .options import Backend, mpp_option, opened, project_argument, threads_option
from .reporter import reporter

Stage = Literal["teacher", "student", "all"]


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
    help="Fine-tune from this bundle (`pretrained`: the one shipped).",
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
    initial: Path | None,
    resume: bool,
    mpp: float | None,
    threads: int | None,
) -> None:
    """Train a model on a project's annotations: a teacher, its pseudo-labels, and a light student."""
    from ..core.extras import require

    require("train", "cellgennet train")
    from ..bundle import load_bundle, named_bundle
    from ..core.config import load_config

    listener = reporter()
    config = load_config(config_file, listener)
    if threads is not None:
        config = config.model_copy(update={"threads": threads})
    if initial is not None:
        from ..training.run import init_config

        config = init_config(load_bundle(named_bundle(initial)), config)
    with opened(project, backend, slides, listener, writable=True) as found:
        from ..report.training_page import write_training_page
        from ..training.run import train_project

        bundle = train_project(found, output, config, stage, resume, mpp, listener, write_training_page)
    click.echo(f"Model bundle: {bundle.path}")
