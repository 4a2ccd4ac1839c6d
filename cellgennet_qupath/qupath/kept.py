"""What this tool keeps in a project by an image's id: checked, on opening, to be about the image's slide."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import shapely

from ..core.environment import advice
from ..core.errors import EntryDataError, ProjectError
from ..core.files import replacing
from ..core.progress import Reporter
from ..core.wording import listed
from .formats.detections import detection_chunks, read_head
from .origin import difference, origin_of, set_aside
from .project import ImageEntry

DETECTIONS, ANNOTATIONS, SEGMENTED = "detections", "annotations", "segmented"
SUGGESTIONS, COLUMNS = "suggestions", "columns"
_SEEN = "seen.json"
"""In the folder of annotations: the slide that each file belonged to when a run last read it."""

_ENDINGS = (".geojson", ".geojson.gz")


class KeptFiles:
    """The files of a project's work folder that are named by the ids of its images.

    On opening, files that were made from other slides are found. A run that may write moves them to
    ``set-aside/<time>``; one that only reads leaves them and does not use them. Both report them.
    """

    def __init__(
        self, work_folder: Path, entries: Sequence[ImageEntry], writable: bool, reporter: Reporter
    ) -> None:
        self.work_folder = work_folder
        self._foreign: set[Path] = set()
        if not work_folder.is_dir():
            return
        seen = self._seen()
        for entry in entries:
            for file, why in self._of_other_slides(entry, seen.get(entry.id)):
                if writable:
                    reporter.warn(f"{entry.name}: {file} {why}, so it was moved to {self._moved(file, why)}.")
                else:
                    self._foreign.add(file)
                    reporter.warn(f"{entry.name}: {file} {why}, so it is not used.")
        if writable:
            self._remember(entries)
        for line in self._not_read(entries):
            reporter.warn(line)

    def detections(self, entry: ImageEntry) -> Path:
        """Where the detections of an entry are kept."""
        return self.work_folder / DETECTIONS / f"{entry.id}.geojson.gz"

    def columns(self, entry: ImageEntry) -> Path:
        """Where the detections of an entry are kept as columns."""
        return self.work_folder / COLUMNS / f"{entry.id}.parquet"

    def suggestions(self, entry: ImageEntry) -> Path:
        """Where the suggestions for an entry are kept."""
        return self.work_folder / SUGGESTIONS / f"{entry.id}.geojson"

    def annotations(self, entry: ImageEntry) -> list[Path]:
        """The files of annotations that belong to an entry."""
        return [file for file in self._annotation_files(entry) if file not in self._foreign]

    def is_usable(self, file: Path) -> bool:
        """Whether a file is there and was not made from another slide."""
        return file not in self._foreign and file.is_file()

    def _not_read(self, entries: Sequence[ImageEntry]) -> Iterator[str]:
        """One line about files of annotations that belong to no image, and one for each image with two."""
        folder = self.work_folder / ANNOTATIONS
        if not folder.is_dir():
            return
        own = {f"{entry.id}{ending}" for entry in entries for ending in _ENDINGS}
        present = sorted(file.name for file in folder.iterdir() if file.is_file())
        others = [name for name in present if name not in {*own, _SEEN} and not name.startswith(".")]
        if others and entries:
            first = entries[0]
            yield (
                f"{folder}: not read: {listed(others)}. Files of annotations have the id of an "
                f"image as name, such as {first.id}.geojson for {first.name} (see `cellgennet inspect`)."
            )
        for entry in entries:
            files = self.annotations(entry)
            if len(files) > 1:
                names = " and ".join(file.name for file in files)
                yield f"{entry.name}: has two files of annotations ({names} in {folder}); one is read."

    def _annotation_files(self, entry: ImageEntry) -> list[Path]:
        places = (self.work_folder / ANNOTATIONS / f"{entry.id}{ending}" for ending in _ENDINGS)
        return [place for place in places if place.is_file()]

    def _of_other_slides(self, entry: ImageEntry, seen: object) -> Iterator[tuple[Path, str]]:
        file = self.detections(entry)
        if file.is_file():
            why = difference((read_head(file) or {}).get("image"), entry) or _off_the_image(file, entry)
            if why:
                yield file, why
        suggestions = self.suggestions(entry)
        if suggestions.is_file() and (why := difference((read_head(suggestions) or {}).get("image"), entry)):
            yield suggestions, why
        if isinstance(seen, dict) and (why := difference(seen.get("image"), entry)):
            for file in self._annotation_files(entry):
                # A file that was changed since is about the present slide.
                if seen.get("files", {}).get(file.name) == _state(file):
                    yield file, why.replace("was made from", "was drawn on")

    def _moved(self, file: Path, why: str) -> Path:
        try:
            return set_aside(self.work_folder, file).parent
        except OSError as error:
            reason = f"{why} and cannot be moved ({error.strerror})"
            raise ProjectError(file, reason, "Move it to another folder") from error

    def _seen(self) -> dict[str, Any]:
        try:
            content = json.loads((self.work_folder / ANNOTATIONS / _SEEN).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def _remember(self, entries: Sequence[ImageEntry]) -> None:
        known = {
            entry.id: {"image": origin_of(entry), "files": {file.name: _state(file) for file in files}}
            for entry in entries
            if (files := self.annotations(entry))
        }
        file = self.work_folder / ANNOTATIONS / _SEEN
        if known and known != self._seen():
            try:
                with replacing(file) as part:
                    part.write_text(json.dumps(known, indent=1), encoding="utf-8")
            except OSError as error:
                reason = f"cannot be written ({error.strerror})"
                raise ProjectError(file, reason, advice(error)) from error


def _state(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


def _off_the_image(file: Path, entry: ImageEntry) -> str:
    """Why a file of an older version, which names no slide, cannot be about this one; "" if it can."""
    head = read_head(file)
    if head is None or "image" in head or entry.size is None:
        return ""
    try:
        for nuclei, _ in itertools.islice(detection_chunks(file), 1):
            bounds = shapely.total_bounds(nuclei.polygons)
            if (bounds[2:] > [entry.size[0] + 1, entry.size[1] + 1]).any():
                return "was made from another slide (it contains nuclei beyond the image)"
    except EntryDataError:  # damaged: reported where it is read
        return ""
    return ""
