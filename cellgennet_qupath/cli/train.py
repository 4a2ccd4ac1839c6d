"""``cellgennet train``: from annotations to a model bundle."""

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
    help="Train the teacher only, the student only (with the bundle's teacher), or both.",
)
@click.option(
    "--init",
    "initial",
    type=click.Path(path_type=Path),
    help="Begin with the networks of this bundle; `pretrained`: of the one that comes with the package.",
)
@click.option("--resume", is_flag=True, help="Go on with a run that was broken off.")
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
    """Train a model on a project's annotations: a teacher, its pseudo-labels, a light student."""
    from ..bundle import load_bundle, named_bundle
    from ..core.config import load_config

    config = load_config(config_file)
    if threads is not None:
        config = config.model_copy(update={"threads": threads})
    if initial is not None:
        from ..training.start import init_config

        config = init_config(load_bundle(named_bundle(initial)), config)
    listener = reporter()
    with opened(project, backend, slides, listener, writable=True) as found:
        from ..training.run import train_project

        bundle = train_project(
            found,
            output,
            config,
            stage,
            resume,
            mpp,
            listener,
        )
    click.echo(f"Model bundle: {bundle.path}")
