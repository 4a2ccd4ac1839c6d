"""The nuclei that an image has now, compared with its record: unchanged, edited, or no longer there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..core.errors import EntryDataError
from ..nuclei import Nuclei, NucleiChunks, empty
from ..qupath.files import FilesBackend
from ..qupath.formats.detections import read_head
from ..qupath.formats.qpproj import DATA_FILE
from ..qupath.loose import LooseImages
from ..qupath.project import ImageEntry, Project
from .record import Record, file_checksum

State = Literal["unchanged", "restored", "edited", "other", "gone", "unreadable", "damaged"]

DONE: tuple[State, ...] = ("unchanged", "restored", "edited")
THERE: tuple[State, ...] = (*DONE, "other", "unreadable")
"""With these, ``keep`` leaves nuclei of the record beside new ones."""


@dataclass(frozen=True)
class Present:
    """The nuclei that an image has now, compared with its record.

    state : "unchanged"; "restored" and not changed since; "edited" by a person; "other" if QuPath has others
            than a run without QuPath wrote, edited or never imported; "gone" if this tool's nuclei are no
            longer there, or were never imported; "unreadable" if they are where only QuPath can read them;
            "damaged" if their file cannot be read.
    count : this tool's nuclei that are there.
    saved : whether anything was saved in their file since.
    """

    state: State
    count: int = 0
    saved: bool = True


def present_nuclei(project: Project, entry: ImageEntry, record: Record) -> Present:
    """Whether an image still has the nuclei of its record. They are read only if their file has changed."""
    file = record.path(project)
    whole: State = "restored" if record.restored else "unchanged"
    here = _is_read(project, file)
    if here and not file.is_file():
        return Present("gone")
    if (here or _is_hidden(project, entry, file)) and record.checksum == file_checksum(file) != "":
        return Present(whole, record.count, saved=False)
    try:
        now = _sum_of(project, entry)
    except EntryDataError:
        return Present("damaged") if here else Present("unreadable", record.count)
    if record.count and not now.count:
        return Present("gone")
    if here and isinstance(project, FilesBackend | LooseImages) and not _is_of_script(file):
        return Present("edited", now.count)  # QuPath's file also changes with annotations, these do not
    # Some versions recorded no digest.
    same = record.nuclei == now.text() if record.nuclei else not here and record.count == now.count
    changed: State = "other" if project.backend == "qupath" and not here else "edited"
    return Present(whole if same else changed, now.count)


def _is_read(project: Project, file: Path) -> bool:
    """Whether an image's nuclei are read from the file that its record names.

    QuPath has what was imported from this tool's files; without QuPath, its own file is not read.
    """
    if project.backend == "qupath":
        return file.name == DATA_FILE
    return not (isinstance(project, FilesBackend) and file.name == DATA_FILE)


def _is_hidden(project: Project, entry: ImageEntry, file: Path) -> bool:
    """Whether an image's nuclei are in QuPath's file alone, which this backend does not read."""
    return (
        isinstance(project, FilesBackend)
        and file.name == DATA_FILE
        and not project.detections_file(entry).is_file()
    )


def _is_of_script(file: Path) -> bool:
    """Whether a script wrote a file of all nuclei that QuPath has, as there was none: it names no run."""
    head = read_head(file)
    return head is not None and head.get("history") == {}


def warnings(
    project: Project, entry: ImageEntry, record: Record, present: Present, existing: str
) -> Iterator[str]:
    """What to say, before any work, about the nuclei of an image that is segmented again.

    existing : what happens to these (see ``WriteOptions``).
    """
    file, count, written = record.path(project), present.count, record.count
    if present.state == "damaged":
        yield f"{entry.name}: {file} is damaged, so the image is done again."
    elif existing == "keep":
        if present.state == "gone" and file.name != DATA_FILE and file.is_file():
            yield (
                f"{entry.name}: the {written} nuclei of {file} are not in QuPath (never imported, or "
                "deleted), so they are not kept."
            )
    elif present.state == "edited":
        yield (
            f"{entry.name}: its nuclei were edited since they were written ({count} now, {written} written). "
            "They will be replaced; a copy is kept (`cellgennet restore`)."
        )
    elif present.state == "other":
        yield (
            f"{entry.name}: QuPath has other nuclei ({count}) than the last run wrote ({written}): they were "
            "edited, or those of that run never imported. They will be replaced; a copy is kept "
            "(`cellgennet restore`)."
        )
    elif present.state == "restored":
        yield (
            f"{entry.name}: its {count} restored nuclei will be replaced; a copy is kept "
            "(`cellgennet restore`)."
        )


def nuclei_digest(project: Project, entry: ImageEntry) -> str:
    """A digest of this tool's nuclei that an image has now; "" where they cannot be read."""
    try:
        return _sum_of(project, entry).text()
    except EntryDataError:
        return ""


def others_digest(project: Project, entry: ImageEntry) -> str:
    """A digest of the nuclei that an image has of other tools; "" for none. Raises EntryDataError."""
    total = _Sum()
    for chunk in project.detection_chunks(entry):
        total.add(chunk.nuclei.take(~chunk.nuclei.own))
    return total.text() if total.count else ""


class Digesting:
    """Passes nuclei on in chunks and computes the digest of these and of those that stay beside them."""

    def __init__(self, nuclei: NucleiChunks, staying: Nuclei | None = None) -> None:
        self._nuclei = nuclei
        self._staying = empty() if staying is None else staying
        self._sum = _Sum()

    def __len__(self) -> int:
        return len(self._nuclei)

    def chunks(self) -> Iterator[Nuclei]:
        """The chunks (see ``NucleiChunks``)."""
        self._sum = _Sum()
        self._sum.add(self._staying)
        for chunk in self._nuclei.chunks():
            self._sum.add(chunk)
            yield chunk

    def digest(self, written: int) -> str:
        """The digest of what the image has now; "" unless it has exactly as many nuclei."""
        return self._sum.text() if self._sum.count == written else ""


def _sum_of(project: Project, entry: ImageEntry) -> _Sum:
    """The sum of this tool's nuclei that an image has now. Raises EntryDataError."""
    total = _Sum()
    if isinstance(project, FilesBackend | LooseImages):  # one chunk in memory
        for chunk in project.detection_chunks(entry):
            total.add(chunk.nuclei)
    else:
        total.add(project.detections(entry))
    return total


class _Sum:
    """A digest of ids, which depend on the outlines, and classes, in any order."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, nuclei: Nuclei) -> None:
        self.count += len(nuclei)
        for identifier, path_class in zip(nuclei.ids, nuclei.classes, strict=True):
            digest = hashlib.blake2b(f"{identifier}|{path_class}".encode(), digest_size=16).digest()
            self._sum += int.from_bytes(digest, "big")

    def text(self) -> str:
        return f"{self.count}-{self._sum % (1 << 128):032x}"
