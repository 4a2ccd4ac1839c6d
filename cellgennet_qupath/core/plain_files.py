"""Regular files only: reads and copies that follow no link, open no device and take no file of absurd size.

Bundles and other folders come from other people. A link in one could copy any file of this computer into a
new bundle, and reading a named pipe never ends.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from .errors import CellGenNetError

_MOST_FILES = 10_000
_DEEPEST = 16


class NotPlainError(CellGenNetError):
    """A file that is a link, a device or a pipe, or too large, or a folder with too much in it."""


def read_text(path: Path, most: int) -> str:
    """The text (UTF-8) of a regular file of at most ``most`` bytes.

    Raises NotPlainError, OSError and UnicodeDecodeError.
    """
    return read_bytes(path, most).decode("utf-8")


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a regular file of at most ``most`` bytes. Raises NotPlainError and OSError."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise NotPlainError(path, "is not a regular file")
    if status.st_size > most:
        raise NotPlainError(path, f"is too large ({status.st_size / 1e6:.0f} MB; at most {most / 1e6:g} MB)")
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise NotPlainError(path, "grew while it was read")
    return content


def regular_files(folder: Path) -> list[Path]:
    """All files in a folder and its subfolders, sorted by path.

    Raises NotPlainError at the first link, device or pipe, and where there are too many files or levels.
    """
    found: list[Path] = []
    _collect(folder, found, _DEEPEST)
    return sorted(found)


def _collect(folder: Path, found: list[Path], levels: int) -> None:
    if not levels:
        raise NotPlainError(folder, "is nested too deeply")
    with os.scandir(folder) as entries:
        for entry in entries:
            path = folder / entry.name
            if entry.is_symlink():
                raise NotPlainError(path, "is a link, and could lead outside the folder")
            if entry.is_dir(follow_symlinks=False):
                _collect(path, found, levels - 1)
            elif entry.is_file(follow_symlinks=False):
                found.append(path)
            else:
                raise NotPlainError(path, "is not a regular file")
            if len(found) > _MOST_FILES:
                raise NotPlainError(folder, f"holds more than {_MOST_FILES} files")


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder of regular files; files already at ``target`` under the same names are replaced.

    Raises NotPlainError before anything is copied, and OSError.
    """
    files = regular_files(source)
    target.mkdir(parents=True, exist_ok=True)
    for file in files:
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy, follow_symlinks=False)
