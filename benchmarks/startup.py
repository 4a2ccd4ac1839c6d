"""What commands cost before they do anything: processor time on a project of one small picture.

    nice -n 10 python benchmarks/startup.py [--before CHECKOUT] [--runs 5]

Each run is a process of its own; the lowest and the highest processor seconds (user and system) are printed.
CHECKOUT is another version of this repository, which reads the same project. On Linux and macOS.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import cv2
import numpy as np
from export import Generated, make_project

NUCLEI = 100


def tiny_project(folder: Path) -> Path:
    """A project of a picture with a few nuclei."""
    slide, side = folder / "slide.png", Generated(NUCLEI).side
    cv2.imwrite(str(slide), np.random.default_rng(0).integers(180, 250, (side, side, 3), np.uint8))
    return make_project(folder / "project", NUCLEI, slide.as_uri())


def processor_seconds(checkout: Path, arguments: list[str]) -> float:
    """What one call of the command line takes."""
    child = subprocess.Popen(
        [sys.executable, "-m", "cellgennet_qupath", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
    )
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise click.ClickException(f"{arguments[0]} ended with {child.returncode}")
    return used.ru_utime + used.ru_stime


@click.command()
@click.option("--before", type=click.Path(path_type=Path, exists=True), help="Another version, measured too.")
@click.option(
    "--runs", default=5, show_default=True, help="Runs of each command, after one that is not counted."
)
def main(before: Path | None, runs: int) -> None:
    """Measure what commands cost before they do anything."""
    checkouts = {"now": Path(__file__).resolve().parents[1]} | ({} if before is None else {"before": before})
    with tempfile.TemporaryDirectory() as name:
        project = str(tiny_project(Path(name)))
        commands = [
            ["--help"],
            ["inspect", project, "--backend", "files"],
            ["export", project, "--backend", "files", "-o", f"{name}/nuclei.csv"],
        ]
        for arguments in commands:
            for version, checkout in checkouts.items():
                seconds = [processor_seconds(checkout, arguments) for _ in range(runs + 1)][1:]
                click.echo(f"{arguments[0]:8s}  {version:6s}  {min(seconds):.2f} to {max(seconds):.2f} s")


if __name__ == "__main__":
    main()
