"""Which slide a kept file was made from, and where a file goes that was made from another one.

QuPath numbers a project's images from 1. A new project in the folder of an old one therefore has the same
ids for other slides, so an id alone never says what a file is about.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path, PureWindowsPath
from typing import Any
from urllib.parse import unquote

from ..core.files import confined, make_folder
from ..slides.view import AS_STORED
from .project import ImageEntry

SET_ASIDE = "set-aside"
"""The folder, in the work folder, of files that were made from other slides. They are never deleted."""

_PIECE = 1 << 16
_SAMPLES = 8

Origin = Mapping[str, Any]
"""The slide that a file was made from, as plain data: uri, name, size, series, bytes, modified, digest."""


def origin_of(entry: ImageEntry) -> dict[str, Any]:
    """The origin of what is made from an entry's slide now; the last three are None without its file."""
    origin: dict[str, Any] = {
        "uri": entry.uri,
        "name": entry.name,
        "size": None if entry.size is None else list(entry.size),
        "series": entry.series,
        "bytes": None,
        "modified": None,
        "digest": None,
    }
    if entry.view != AS_STORED:
        origin["view"] = entry.view.document()
    return origin | (_state(entry.slide) or {})


def difference(kept: object, entry: ImageEntry) -> str:
    """Why a file of this origin is not about the entry's slide, as the end of a sentence; "" if it can be.

    Sizes and, where both are known, digests of the files decide; a slide may have been moved or renamed.
    An origin that is missing, or of which a part is missing or damaged, contradicts nothing.
    """
    if not isinstance(kept, Mapping):
        return ""
    size = kept.get("size")
    if isinstance(size, list) and len(size) == 2 and entry.size is not None and size != list(entry.size):
        return f"was made from another slide ({_name(kept)}, {size[0]} x {size[1]} pixels)"
    if isinstance(kept.get("series"), int) and kept["series"] != entry.series:
        return f"was made from another image of its file ({_name(kept)})"
    view = None if entry.view == AS_STORED else entry.view.document()
    if kept.get("view") != view:
        return f"was made while the project turned or mirrored the slide otherwise ({_name(kept)})"
    if isinstance(kept.get("digest"), str):
        now = _state(entry.slide, kept)
        if now is not None and now["digest"] == kept["digest"]:
            return ""
        if now is not None and file_name(str(kept.get("uri", ""))) == file_name(entry.uri):
            return "was made from this slide's file before the file was changed"
        if now is not None:
            return f"was made from another slide ({_name(kept)})"
    uri = kept.get("uri")
    if isinstance(uri, str) and uri and entry.uri and file_name(uri) != file_name(entry.uri):
        return f"was made from another slide ({_name(kept)})"
    return ""


def set_aside(work_folder: Path, file: Path) -> Path:
    """Move a file, or a folder, of the work folder out of the way; returns its new place. Raises OSError."""
    time = datetime.now().strftime("%Y-%m-%dT%H-%M-%S")
    target = work_folder / SET_ASIDE / time / file.relative_to(work_folder)
    number = 1
    while target.exists():
        number += 1
        target = work_folder / SET_ASIDE / f"{time}-{number}" / file.relative_to(work_folder)
    confined(work_folder, file)
    make_folder(work_folder, target.parent)
    file.replace(target)
    return target


def file_name(uri: str) -> str:
    """The last part of a URI or path of any system, in lower case."""
    return PureWindowsPath(unquote(uri.rstrip("/"))).name.casefold()


def _name(kept: Origin) -> str:
    return str(kept.get("name") or file_name(str(kept.get("uri", ""))) or "unnamed")


def _state(slide: Path | None, kept: Origin | None = None) -> dict[str, Any] | None:
    """Size, time and digest of a slide's file; None if it cannot be read.

    The digest is taken from ``kept`` where size and time are the same, as reading can be slow.
    """
    if slide is None:
        return None
    try:
        status = slide.stat()
        state = {"bytes": status.st_size, "modified": status.st_mtime_ns}
        if kept is not None and all(kept.get(key) == value for key, value in state.items()):
            return state | {"digest": kept["digest"]}
        return state | {"digest": _folder_digest(slide) if slide.is_dir() else _digest(slide, status.st_size)}
    except OSError:
        return None


def _digest(file: Path, size: int) -> str:
    """SHA-256 of a file's size, beginning, end and some pieces between, where the pixels differ."""
    digest = hashlib.sha256(str(size).encode())
    with file.open("rb") as opened:
        for number in range(_SAMPLES + 1):
            opened.seek(max(0, (size - _PIECE) * number // _SAMPLES))
            digest.update(opened.read(_PIECE))
    return digest.hexdigest()


def _folder_digest(folder: Path) -> str:
    """SHA-256 of the names and sizes at the top of a folder that is an image, and of its small files."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        size = -1 if file.is_dir() else file.stat().st_size
        digest.update(f"{file.name}|{size}|".encode())
        if 0 <= size <= _PIECE:
            digest.update(file.read_bytes())
    return digest.hexdigest()
