"""Files that are written completely or not at all, and a work folder that holds no links.

A project comes from other people. A link inside the work folder could lead anywhere, so every folder made
and every file or folder deleted below it goes through this module, which refuses links.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import ProjectError

_PART = re.compile(r"\..+\.[0-9a-f]{8}\.part")
_REPARSE_LINKS = {0xA000000C, 0xA0000003}
"""Windows: the tags of symbolic links and of junctions. Other tags (files kept in a cloud) lead nowhere."""

_open_parts: set[Path] = set()


@contextmanager
def replacing(path: Path, root: Path | None = None) -> Iterator[Path]:
    """A temporary file beside ``path`` to write to, which replaces ``path`` at the end.

    root : a folder in which ``path`` must be, without links on the way (see ``confined``).

    The folder is created if necessary, the content is on disk before the file is renamed, and after an
    error ``path`` is unchanged. Raises OSError, and ProjectError for a link.
    """
    if root is not None:
        confined(root, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    _open_parts.add(part)
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
        _open_parts.discard(part)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside ``path`` to fill, which replaces ``path``, a folder or nothing, at the end.

    The folder around it is created if necessary; after an error ``path`` is unchanged. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = uuid.uuid4().hex[:8]
    part, old = path.with_name(f".{path.name}.{mark}.part"), path.with_name(f".{path.name}.{mark}.old")
    try:
        part.mkdir()
        yield part
        if path.exists():
            path.replace(old)
        try:
            part.replace(path)
        except BaseException:
            if old.exists():
                old.replace(path)
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def remove_open_parts() -> None:
    """Delete the temporary files of ``replacing`` that are being written, before the process ends at once."""
    for part in tuple(_open_parts):
        try:
            part.unlink(missing_ok=True)
        except OSError:  # still open in another thread, on Windows; the next run deletes it
            continue


def is_link(path: Path) -> bool:
    """Whether a path is a symbolic link or, on Windows, a junction. False where nothing exists."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISLNK(status.st_mode) or getattr(status, "st_reparse_tag", 0) in _REPARSE_LINKS


def confined(root: Path, path: Path) -> Path:
    """``path``, which is ``root`` or below it, after a check that no link is on the way from ``root`` to it.

    ``root`` itself must not be a link either; its parents may be. Raises ProjectError, which names the link,
    and ValueError for a path outside ``root``.
    """
    parts = path.relative_to(root).parts
    if ".." in parts:
        raise ValueError(f"{path} leaves {root}")
    here = root
    _refuse_link(here)
    for part in parts:
        here = here / part
        _refuse_link(here)
    return path


def make_folder(root: Path, path: Path) -> Path:
    """Create a folder below ``root`` with its parents; it may exist. Raises as ``confined``, and OSError."""
    confined(root, path).mkdir(parents=True, exist_ok=True)
    return path


def remove_file(root: Path, path: Path) -> None:
    """Delete a file below ``root``, if it exists. Raises as ``confined``, and OSError."""
    confined(root, path).unlink(missing_ok=True)


def remove_tree(root: Path, path: Path) -> None:
    """Delete a folder below ``root`` with all its content, or a file, if it exists.

    Raises as ``confined``, for a link inside the folder as well, before anything is deleted; and OSError.
    """
    if confined(root, path).is_dir():
        refuse_links(path)
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def refuse_links(folder: Path) -> list[Path]:
    """Check that neither a folder nor anything below it is a link; it need not exist.

    Returns the temporary files of ``replacing`` that killed runs left in it. Raises ProjectError, which
    names the first link, and OSError.
    """
    _refuse_link(folder)
    left: list[Path] = []
    waiting = [folder] if folder.is_dir() else []
    while waiting:
        try:
            entries = sorted(os.scandir(waiting.pop()), key=lambda entry: entry.name)
        except PermissionError:  # nothing can be deleted in it either
            continue
        for entry in entries:
            path = Path(entry.path)
            if entry.is_symlink() or os.name == "nt":
                _refuse_link(path)
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            elif _PART.fullmatch(entry.name):
                left.append(path)
    return left


def _refuse_link(path: Path) -> None:
    if is_link(path):
        raise ProjectError(
            path,
            "is a link; the folder `cellgennet` of a project may not be a link or contain any",
            "Move the link away and run the same command again",
        )
