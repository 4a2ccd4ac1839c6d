"""Folders that ship with the package, in a checkout as in an installed wheel."""

from __future__ import annotations

from pathlib import Path

from .errors import CellGenNetError

_PACKAGE = Path(__file__).resolve().parents[1]


def sample_projects() -> Path:
    """The folder with the sample project and its ground truth."""
    return _folder("sample_projects", "quickstart")


def groovy_scripts() -> Path:
    """The folder with the scripts for QuPath."""
    return _folder("groovy", "library.groovy")


def _folder(name: str, member: str) -> Path:
    """The folder of this name in the wheel or the checkout; it must contain ``member``."""
    for folder in (_PACKAGE / name, _PACKAGE.parent / name):
        if (folder / member).exists():
            return folder
    raise CellGenNetError(name, "is missing from this installation", "Reinstall the package")
