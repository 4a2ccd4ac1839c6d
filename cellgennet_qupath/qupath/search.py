"""Which files below a folder are images, without a project that lists them; what is passed over, and why."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import SlideError, UsageError
from ..slides.source import ZARR_MARKS
from .formats.qpproj import PROJECT_FILE
from .project import WORK_FOLDER

_OF_PROJECTS = frozenset({"data", "classifiers"})
"""Folders of a QuPath project, which hold thumbnails but no slides."""

_DICOM = (".dcm", ".dicom")

NOT_IMAGES = frozenset(
    [
        *(".bat", ".groovy", ".ini", ".ipynb", ".log", ".pkl", ".ps1", ".py", ".r", ".sh", ".url"),
        *(".csv", ".doc", ".docx", ".htm", ".html", ".md", ".pdf", ".ppt", ".pptx", ".tsv", ".txt", ".xls"),
        *(".avi", ".geojson", ".h5ad", ".json", ".mov", ".mp4", ".parquet", ".svg", ".xlsx", ".xml"),
        *(".backup", ".gz", ".qpdata", ".qpproj", ".rar", ".safetensors", ".tar", ".yaml", ".yml", ".zip"),
    ]
)
"""Endings of files that are not even opened; any other file is an image if it can be read as one."""


@dataclass(frozen=True)
class FoundImage:
    """An image that can be read.

    size : (width, height) in full-resolution pixels; ``mpp``: (x, y) as the file states it, plausible or not.
    """

    path: Path
    size: tuple[int, int] | None
    mpp: tuple[float, float] | None


@dataclass(frozen=True)
class PassedOver:
    """A file or folder that was found and is not used; the reason follows its name in a message."""

    path: Path
    reason: str


def find_images(
    places: Sequence[Path], own: Collection[Path] = ()
) -> tuple[list[FoundImage], list[PassedOver]]:
    """The images that a user names: files, folders that are slides (OME-Zarr, DICOM), and folders to search.

    own : files and folders of this tool, which are neither used nor reported.

    Each image once, in the order of the places and of the paths in a folder. An image that was named itself
    is there even if it cannot be read, with no size. Raises UsageError for a place that does not exist, and
    where no image is found.
    """
    from ..slides.reader import open_slide

    found: dict[Path, FoundImage] = {}
    passed: list[PassedOver] = []
    for place in places:
        if not place.exists():
            raise UsageError(place, "does not exist", "Name a folder of images, or images")
        searched = place.is_dir() and not _is_slide(place)
        if searched and (place / PROJECT_FILE).is_file():
            raise UsageError(place, "is a QuPath project", "Name its folder alone, without -o")
        for path in _below(place, {path.resolve() for path in own}, passed) if searched else [place]:
            where = path.resolve()
            if where in found:
                continue
            if searched and path.suffix.lower() in NOT_IMAGES:
                passed.append(PassedOver(path, "not an image"))
                continue
            try:
                with open_slide(path) as reader:
                    found[where] = FoundImage(path, (reader.width, reader.height), reader.stated_mpp)
            except SlideError as error:
                if searched:
                    passed.append(PassedOver(path, error.reason))
                else:
                    found[where] = FoundImage(path, None, None)
    if not found:
        named = ", ".join(map(str, places))
        raise UsageError(named, f"no image was found{_because(passed)}", "Name a folder of images, or images")
    return list(found.values()), passed


def in_words(passed: Sequence[PassedOver]) -> list[str]:
    """One line for each reason, with the names of at most five files."""
    by_reason: dict[str, list[str]] = {}
    for one in passed:
        by_reason.setdefault(one.reason, []).append(one.path.name)
    return [f"Passed over: {_listed(names)} ({reason})." for reason, names in by_reason.items()]


def _because(passed: Sequence[PassedOver]) -> str:
    return f" ({'; '.join(f'{one.path.name}: {one.reason}' for one in passed[:3])})" if passed else ""


def _listed(names: list[str]) -> str:
    rest = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + rest


def _is_slide(folder: Path) -> bool:
    """Whether a folder is one image: an OME-Zarr. (One of DICOM files is found by its files.)"""
    return any((folder / mark).exists() for mark in ZARR_MARKS)


def _below(root: Path, own: Collection[Path], passed: list[PassedOver]) -> Iterator[Path]:
    """Files, and folders that are images, below ``root``, in the order of their paths."""
    waiting, seen = [root], set[Path]()
    while waiting:
        folder = waiting.pop(0)
        try:
            where = folder.resolve()
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            passed.append(PassedOver(folder, f"cannot be read ({error.strerror})"))
            continue
        if where in seen:
            continue
        seen.add(where)
        names = {entry.name for entry in entries}
        inside: list[Path] = []
        slides_of_files = False
        for entry in entries:
            path = Path(entry.path)
            if _is_left_out(path, names) or path.resolve() in own:
                continue
            if entry.is_dir():
                if _is_slide(path):
                    yield path
                else:
                    inside.append(path)
            elif path.suffix.lower() not in _DICOM:
                yield path
            elif not slides_of_files:
                # The files of one folder are the levels of one slide.
                slides_of_files = True
                yield path
        waiting[:0] = inside


def _is_left_out(path: Path, names: Collection[str]) -> bool:
    """Whether something in a folder with these names is hidden, part of a project, or part of a slide."""
    if path.name.startswith(".") or path.name == WORK_FOLDER:
        return True
    if PROJECT_FILE in names and path.name in (*_OF_PROJECTS, PROJECT_FILE):
        return True
    # Folders with the pixels of a file beside them (MRXS, VSI).
    beside = {name.lower() for name in names}
    plain = path.name.lower()
    return f"{plain}.mrxs" in beside or (plain[:1] == plain[-1:] == "_" and f"{plain[1:-1]}.vsi" in beside)
