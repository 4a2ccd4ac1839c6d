"""Writing a bundle: where it may be written, checked before the work, and the whole folder at once."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path

import yaml

from ..core.errors import BundleError
from ..core.plain_files import NotPlainError, copy_folder, regular_files
from ..core.plain_yaml import YamlError, read_yaml
from .card import CARD, REPORT, STUDENT, TEACHER, Card, card_checksum
from .read import Bundle, left_by_system, load_bundle, sha256

_ANOTHER_NAME = "Choose another name for -o"
_ANOTHER_FOLDER = "Choose another folder for -o"


def check_output(path: Path) -> bool:
    """Check, before any work, that a bundle can be written to ``path``; returns whether one is replaced.

    Raises BundleError where ``path`` is a file or any folder but a bundle, is inside a bundle, or cannot be
    written.
    """
    try:
        place = path.resolve()
        exists = place.exists() or path.is_symlink()
    except (OSError, RuntimeError, ValueError) as error:
        raise BundleError(
            path, f"cannot be a model bundle ({error})", "Choose another name for -o"
        ) from error
    if exists:
        _check_replaceable(path)
    parent = place.parent
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    if not parent.is_dir():
        raise BundleError(path, f"cannot be written: {parent} is a file", _ANOTHER_FOLDER)
    if (parent / CARD).is_file():
        raise BundleError(path, f"is inside another model bundle ({parent})", _ANOTHER_FOLDER)
    try:
        probe = Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=parent))
        try:
            (probe / place.name).mkdir()  # the name may be too long or forbidden
            (probe / place.name).rmdir()
        finally:
            probe.rmdir()
    except OSError as error:
        raise BundleError(path, f"cannot be written ({error.strerror})", _ANOTHER_FOLDER) from error
    return exists


def _check_replaceable(path: Path) -> None:
    """Raise BundleError unless ``path`` is a bundle and nothing else: it will be removed as a whole."""
    if not path.is_dir():
        raise BundleError(path, "exists and is not a folder", _ANOTHER_NAME)
    if not (path / CARD).is_file():
        raise BundleError(path, f"exists and is not a model bundle (no {CARD})", _ANOTHER_NAME)
    try:
        card = read_yaml(path / CARD)
        files = [file.relative_to(path).as_posix() for file in regular_files(path)]
    except (OSError, NotPlainError, YamlError) as error:
        raise BundleError(path, "exists and cannot be read as a model bundle", _ANOTHER_NAME) from error
    if not isinstance(card, dict) or not {"name", "created", "checksums"} <= set(card):
        raise BundleError(path, f"exists and is not a model bundle (its {CARD} is not a card)", _ANOTHER_NAME)
    parts = (CARD, STUDENT, f"{TEACHER}/", f"{REPORT}/")
    foreign = [name for name in files if not name.startswith(parts) and not left_by_system(name)]
    if foreign:
        raise BundleError(
            path, f"contains files that are not part of the bundle ({foreign[0]})", _ANOTHER_NAME
        )


def write_bundle(path: Path, card: Card, files: Mapping[str, Path], reports: Path | None = None) -> Bundle:
    """Write a bundle as a whole: it is assembled beside ``path`` and then moved there.

    An older bundle at ``path`` is replaced.

    files   : name inside the bundle -> file or folder to copy; links are refused.
    reports : folder whose contents become ``report/``.

    Raises BundleError where ``check_output`` does, and where the disk is full or fails.
    """
    check_output(path)
    place = path.resolve()
    part = place.with_name(f".{uuid.uuid4().hex[:8]}.part")
    try:
        part.mkdir(parents=True)
        sources = dict(files)
        if reports is not None and reports.is_dir():
            sources[REPORT] = reports
        _assemble(part, card, sources)
        if place.exists():
            old = place.with_name(f".{uuid.uuid4().hex[:8]}.old")
            place.replace(old)
            try:
                part.replace(place)
            except BaseException:
                old.replace(place)
                raise
            shutil.rmtree(old, ignore_errors=True)
        else:
            part.replace(place)
    except NotPlainError as error:
        raise BundleError(error.subject, error.reason, "Replace it by the file itself") from error
    except OSError as error:
        raise BundleError(
            path, f"cannot be written ({error.strerror})", "Train again with --resume"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return load_bundle(path)


def _assemble(part: Path, card: Card, sources: Mapping[str, Path]) -> None:
    """Copy files and folders into a new bundle and write the card that lists them."""
    for name, source in sources.items():
        if source.is_symlink():
            raise NotPlainError(source, "is a link")
        if source.is_dir():
            copy_folder(source, part / name)
        else:
            shutil.copyfile(source, part / name)
    checksums = {file.relative_to(part).as_posix(): sha256(file) for file in regular_files(part)}
    whole = card.model_copy(update={"checksums": checksums}).model_dump(mode="json")
    whole["card_checksum"] = card_checksum(whole)
    with (part / CARD).open("w", encoding="utf-8") as file:
        yaml.safe_dump(whole, file, sort_keys=False, allow_unicode=True)
        file.flush()
        os.fsync(file.fileno())
