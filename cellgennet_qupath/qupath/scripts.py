"""Installs the scripts for QuPath, and the settings they read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..core.environment import advice
from ..core.errors import CellGenNetError, UsageError
from ..core.files import replacing
from ..core.resources import groovy_scripts
from .userfolders import user_folders

LIBRARIES = ("library.groovy", "menu.groovy")
"""What the scripts load; kept beside the settings."""

SETTINGS = "qupath.properties"


@dataclass(frozen=True)
class InstalledScripts:
    """The installed scripts.

    folders  : that now contain the scripts.
    settings : the file in which the scripts find Python's path.
    kept     : earlier scripts that differed, under their new names.
    """

    folders: tuple[Path, ...]
    settings: Path
    kept: tuple[Path, ...]


def settings_folder() -> Path:
    """The folder of the scripts' settings: ``.cellgennet`` in the home folder, or $CELLGENNET_HOME."""
    return Path(os.environ.get("CELLGENNET_HOME") or Path.home() / ".cellgennet")


def install_scripts(folder: Path | None, python: Path) -> InstalledScripts:
    """Copy the scripts and write the settings file.

    folder : for the scripts; None for the script folders of all QuPath user folders (see ``user_folders``).
    python : the interpreter that the scripts start.

    An existing script that differs is kept, with ``.old`` appended to its name. Raises UsageError if no
    folder is known, and CellGenNetError if one cannot be written.
    """
    source, home = groovy_scripts(), settings_folder()
    folders = (folder,) if folder is not None else tuple(path / "scripts" for path in user_folders())
    if not folders:
        raise UsageError(
            "groovy install",
            f"found no QuPath user folder, neither in {Path.home() / 'QuPath'} nor in QuPath's preferences",
            "Set one in QuPath (Edit > Preferences, QuPath user directory), close QuPath and run this again, "
            "or name a folder for the scripts: QuPath looks in the folder scripts of its user directory",
        )
    kept = []
    try:
        for target in folders:
            for script in sorted(source.glob("cellgennet_*.groovy")):
                kept += _copy(script, target / script.name)
        for library in LIBRARIES:
            _copy(source / library, home / library, keep=False)
        with replacing(home / SETTINGS) as part:
            path = str(python).replace("\\", "\\\\")
            part.write_text(f"# Written by cellgennet groovy install.\npython={path}\n", encoding="utf-8")
    except OSError as error:
        raise CellGenNetError(
            error.filename or home, f"cannot be written ({error.strerror})", advice(error)
        ) from error
    return InstalledScripts(folders, home / SETTINGS, tuple(kept))


def _copy(source: Path, target: Path, keep: bool = True) -> list[Path]:
    content = source.read_bytes()
    kept = []
    if target.is_file() and target.read_bytes() != content:
        if keep:
            kept.append(target.replace(target.with_name(target.name + ".old")))
    elif target.is_file():
        return []
    with replacing(target) as part:
        part.write_bytes(content)
    return kept
