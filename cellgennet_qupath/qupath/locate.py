"""Finds a project's slides on this computer, also after they or the project were moved."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from urllib.parse import unquote, urlsplit

from ..core.wording import composed
from ..slides.source import ZARR_MARKS
from .formats.qpproj import PROJECT_FILE, RecordedImage, RecordedProject
from .project import WORK_FOLDER

SizeOf = Callable[[Path], tuple[int, int] | None]
"""(width, height) in full-resolution pixels of a slide file; None if it cannot be read."""

_DEPTH_BELOW_PROJECT = 4
_DEPTH_BELOW_PARENT = 3
_MOST_FOLDERS = 5000
"""A limit, as the project may be in a home folder or on a network share."""

_DRIVE = re.compile(r"/?[A-Za-z]:(/|$)")


def path_of_uri(uri: str) -> PurePath | None:
    """The path in a recorded URI, in the style of the system it was recorded on.

    None for anything but a file (http, omero). A plain path is taken as it is.
    """
    if not uri:
        return None
    if re.match(r"[A-Za-z]:[\\/]", uri) or uri.startswith("\\\\"):
        return PureWindowsPath(uri)
    parts = urlsplit(uri)
    if parts.scheme == "":
        return PurePosixPath(unquote(uri) if "%" in uri else uri)
    if parts.scheme.lower() != "file":
        return None
    path = unquote(parts.path)
    if parts.netloc and parts.netloc.lower() != "localhost":
        return PureWindowsPath(f"//{unquote(parts.netloc)}{path}")
    if _DRIVE.match(path):
        return PureWindowsPath(path.lstrip("/"))
    if path.startswith("//"):
        return PureWindowsPath(path)
    return PurePosixPath(path) if path else None


def find_slides(
    project: RecordedProject, slides: Path | None = None, size_of: SizeOf | None = None
) -> tuple[list[Path | None], dict[str, str]]:
    """Each image's slide, in the project's order, and for those not found the reason by entry id.

    Search order: the recorded path; the same path relative to the project; by name below ``slides``, below
    the project and below its parent folder. A file found by name is used only if its size (from
    ``size_of``) is the recorded one or unknown; of several, the one whose last folders are as recorded. Two
    images that were recorded at different paths never get the same file by its name.
    """
    finder = _Finder(project, slides, size_of)
    found = [finder.find(image) for image in project.images]
    _settle(project, found)
    reasons = {
        image.entry.id: one.reason
        for image, one in zip(project.images, found, strict=True)
        if one.slide is None
    }
    return [one.slide for one in found], reasons


@dataclass
class _Found:
    """A slide, or why there is none.

    alike : how many of the last parts of its path are as recorded; None if the path itself is as recorded.
    """

    slide: Path | None = None
    reason: str = ""
    alike: int | None = None


def _settle(project: RecordedProject, found: list[_Found]) -> None:
    """Take a file found by its name from those images to which it is less likely to belong, or from all."""
    takers: dict[Path, list[int]] = {}
    for number, one in enumerate(found):
        if one.slide is not None:
            takers.setdefault(one.slide.resolve(), []).append(number)
    for numbers in takers.values():
        if len({project.images[number].entry.uri for number in numbers}) == 1:
            continue
        recorded = {project.images[n].entry.uri for n in numbers if found[n].alike is None}
        most = max((found[n].alike or 0 for n in numbers), default=0)
        likely = {project.images[n].entry.uri for n in numbers if found[n].alike == most}
        owner = recorded or (likely if len(likely) == 1 else set())
        names = ", ".join(project.images[n].entry.name for n in numbers)
        for number in numbers:
            one, entry = found[number], project.images[number].entry
            if one.alike is not None and entry.uri not in owner:
                whose = next((project.images[n].entry.name for n in numbers if n != number), "")
                belongs = f"belongs to the image {whose}" if owner else f"fits several images ({names})"
                found[number] = _Found(
                    reason=f"{one.slide} has the recorded name but {belongs}; the slide recorded at "
                    f"{entry.uri} was not found"
                )


class _Finder:
    def __init__(self, project: RecordedProject, slides: Path | None, size_of: SizeOf | None) -> None:
        self._project = project
        self._given = _Index([(slides, None)]) if slides is not None else None
        self._near = [
            _Index([(project.folder, _DEPTH_BELOW_PROJECT)]),
            _Index([(project.folder.parent, _DEPTH_BELOW_PARENT)]),
        ]
        self._size_of = size_of

    def find(self, image: RecordedImage) -> _Found:
        recorded = path_of_uri(image.entry.uri)
        if recorded is not None and recorded.name in ZARR_MARKS:
            recorded = recorded.parent
        if recorded is None or not recorded.name:
            if not image.entry.uri:
                return _Found(reason="no file is recorded for the image")
            return _Found(reason=f"the image is recorded at {image.entry.uri}, which is not a file")
        there = next((place for place in self._recorded_places(recorded) if _exists(place)), None)
        # A file of another size is another slide, which the user may correct with --slides.
        if there is not None and (self._given is None or self._has_size(image, there)):
            return _Found(there)
        reasons: list[str] = []
        for index in ([self._given] if self._given else []) + ([] if there else self._near):
            found = self._by_name(image, recorded, index, reasons)
            if found is not None:
                return found
        if there is not None:
            return _Found(there)
        unknown = f"no file named {recorded.name} was found"
        return _Found(reason="; ".join(dict.fromkeys(reasons)) or unknown)

    def _recorded_places(self, recorded: PurePath) -> Iterator[Path]:
        if isinstance(recorded, PureWindowsPath) == (os.name == "nt") and recorded.is_absolute():
            yield Path(recorded)
        then = path_of_uri(self._project.uri)
        if then is None or type(then) is not type(recorded):
            return
        base, target = then.parent.parts, recorded.parts
        fold = str.casefold if isinstance(recorded, PureWindowsPath) else str
        same = 0
        while same < min(len(base), len(target) - 1) and fold(base[same]) == fold(target[same]):
            same += 1
        if same:
            up = [".."] * (len(base) - same)
            yield Path(os.path.normpath(self._project.folder.joinpath(*up, *target[same:])))

    def _by_name(
        self, image: RecordedImage, recorded: PurePath, index: _Index, reasons: list[str]
    ) -> _Found | None:
        candidates = index.named(recorded.name)
        if not candidates:
            return None
        sizes = [self._size(image, candidate) for candidate in candidates]
        if image.file_size is not None:
            fitting = [c for c, s in zip(candidates, sizes, strict=True) if s == image.file_size]
            unknown = [c for c, s in zip(candidates, sizes, strict=True) if s is None]
            if not fitting and not unknown:
                width, height = image.file_size
                reasons.append(f"{candidates[0]} does not have the recorded size {width} x {height}")
                return None
            candidates = fitting or unknown
        alike = [_alike(recorded, candidate) for candidate in candidates]
        best = [c for c, number in zip(candidates, alike, strict=True) if number == max(alike)]
        if len(best) > 1:
            several = f"{len(best)} files named {recorded.name} fit ({best[0]}, {best[1]})"
            reasons.append(f"{several}")
            return None
        return _Found(best[0], alike=max(alike))

    def _has_size(self, image: RecordedImage, candidate: Path) -> bool:
        return image.file_size is None or self._size(image, candidate) in (None, image.file_size)

    def _size(self, image: RecordedImage, candidate: Path) -> tuple[int, int] | None:
        # Only the size of a file's first image is known, and of the scanned areas of an SCN as a whole.
        entry = image.entry
        other = entry.series or entry.view.frame == "canvas"
        if other or (entry.view.frame == "image" and candidate.suffix.lower() == ".scn"):
            return None
        return self._size_of(candidate) if self._size_of else None


def _folded(name: str) -> str:
    return composed(name).casefold()


def _alike(recorded: PurePath, candidate: Path) -> int:
    """How many of the last parts of two paths are equal, but for case and form of accents; at least one."""
    pairs = zip(reversed(recorded.parts), reversed(candidate.parts), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: _folded(pair[0]) == _folded(pair[1]), pairs))


class _Index:
    """The files below some folders by name, listed on first use."""

    def __init__(self, roots: Iterable[tuple[Path, int | None]]) -> None:
        self._roots = list(roots)
        self._by_name: dict[str, list[Path]] | None = None

    def named(self, name: str) -> list[Path]:
        """The files of a name; if there are none, those that differ only in case or in form of accents."""
        if self._by_name is None:
            self._by_name = {}
            for root, depth in self._roots:
                for path in _below(root, depth):
                    self._by_name.setdefault(_folded(path.name), []).append(path)
        alike = self._by_name.get(_folded(name), [])
        return [path for path in alike if path.name == name] or alike


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # not a valid name on this system
        return False


def _below(root: Path, depth: int | None) -> Iterator[Path]:
    """Files, and folders that are images (.zarr), below ``root``, nearest first, in a fixed order."""
    level, folders = [root], 0
    seen: set[Path] = set()
    while level:
        deeper: list[Path] = []
        for folder in level:
            try:
                where = folder.resolve()
                entries = sorted((entry.name, entry.is_dir()) for entry in os.scandir(folder))
            except OSError:
                continue  # a slide in an unreadable folder could not be used anyway
            if where in seen:
                continue
            seen.add(where)
            folders += 1
            is_project = (PROJECT_FILE, False) in entries
            for name, is_folder in entries:
                if name.startswith("."):
                    continue
                if is_folder and not name.lower().endswith(".zarr"):
                    if not (is_project and name in ("data", "classifiers", WORK_FOLDER)):
                        deeper.append(folder / name)
                else:
                    yield folder / name
            if depth is not None and folders >= _MOST_FOLDERS:
                return
        if depth is not None:
            depth -= 1
            if depth < 0:
                return
        level = deeper


def size_of_slide(path: Path) -> tuple[int, int] | None:
    """(width, height) of a slide file; None if it cannot be opened.

    Asked only where a slide has moved, so the readers of slides are loaded only then.
    """
    from ..slides.reader import slide_size

    return slide_size(path)
