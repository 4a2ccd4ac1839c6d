"""``cellgennet groovy install``: the scripts for QuPath."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.group("groovy")
def command() -> None:
    """Scripts that run CellGenNet from within QuPath."""


@command.command("install")
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path, file_okay=False))
def install(folder: Path | None) -> None:
    """Copy the scripts to DIR and record which Python they start.

    Without DIR they go to the script folders of all QuPath user folders (~/QuPath/v0.5 and so on, and those
    chosen in QuPath's preferences), where QuPath shows them in the menu Automate > User scripts... Run this
    again after moving the Python environment.
    """
    from ..qupath.scripts import install_scripts

    installed = install_scripts(folder, Path(sys.executable))
    for target in installed.folders:
        click.echo(f"Scripts: {target}")
    for script in installed.kept:
        click.echo(f"Kept: {script}")
    click.echo(f"They start {sys.executable} (recorded in {installed.settings}).")
    menu = "Automate > User scripts... > cellgennet menu"
    click.echo(f"For the menu Extensions > CellGenNet, choose {menu} in QuPath, then Run.")
