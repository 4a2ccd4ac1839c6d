"""Writes an entry's ``data.qpdata``: a new file beside the old one, compared with it, then moved in place."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import shapely

from ...core.errors import EntryDataError
from ...nuclei import Nuclei
from ..formats.detections import Color, qupath_id
from ..parents import ParentsOf, parents_or_earlier, parents_within
from ..project import ObjectCounts, Suggestion, WriteOptions
from ..suggested import identifier, removable
from . import jvm
from . import objects as javaobjects

_REMOVED = {"replace-own": "own", "replace-all": "all", "keep": ""}
_STEP = "CellGenNet"

FileState = tuple[int, int, str]
"""Modification time (ns), size in bytes and SHA-256 of a file; (0, 0, "") without a file."""


class ChangedError(EntryDataError):
    """Another program changed an entry's data while the new ones were written."""


@dataclass(frozen=True)
class Plan:
    """Which objects of an image are replaced, by the words of ``ObjectFilter``, and what adds the new ones.

    removed : which objects go, with ``gone``, a Java list of UUIDs.
    ours    : which are then the new ones, with ``ids``, a Java list of UUIDs.
    add     : adds the new ones and returns how many.
    """

    removed: str
    gone: Any
    ours: str
    ids: Any
    add: Callable[[], int]


class Content(Protocol):
    """What is to be written.

    history : a step for QuPath's workflow history, name to value; no step if empty.
    """

    @property
    def history(self) -> Mapping[str, str]: ...

    def plan(self, data: Any) -> Plan:
        """How an ``ImageData`` is to be changed; it is unchanged until ``Plan.add`` is called."""


@dataclass(frozen=True)
class Detections:
    """Nuclei to be written, and how.

    colors  : of classes by full name.
    version : of the QuPath that wrote the project.
    image_type : to be set, QuPath's name; "" to leave it.
    earlier : the parents that nuclei had before, of those that have none now; None for new nuclei.
    """

    nuclei: Nuclei
    colors: Mapping[str, Color]
    options: WriteOptions
    version: str = ""
    image_type: str = ""
    earlier: ParentsOf | None = None

    @property
    def history(self) -> Mapping[str, str]:
        return self.options.history

    def plan(self, data: Any) -> Plan:
        """See ``Content``."""
        transfer, nuclei = jvm.compiled("ObjectTransfer"), self.nuclei
        parents_of: ParentsOf | None = None
        if self.image_type:
            kinds = jvm.java_class("qupath.lib.images.ImageData$ImageType")
            data.setImageType(kinds.valueOf(self.image_type))
        if self.options.existing == "keep":
            present = set(str(transfer.ids(data)).split())
            nuclei = nuclei.take(np.array([qupath_id(i) not in present for i in nuclei.ids], bool))
        cores = javaobjects.cores_of(data.getHierarchy())
        if self.options.within or cores:
            annotations = javaobjects.annotations_of(data.getHierarchy())
            parents_of = partial(
                parents_within,
                annotations=annotations,
                cores=cores,
                within=self.options.within,
                version=self.version,
            )
        if self.earlier is not None:
            parents_of = partial(parents_or_earlier, self.earlier, parents_of)
        parents = None if parents_of is None else parents_of(nuclei)
        ids = transfer.parse("\n".join(qupath_id(identifier) for identifier in nuclei.ids))
        removed, gone = _REMOVED[self.options.existing], ids
        if removed and self.options.checked is not None:
            area = jvm.array("byte")(shapely.to_wkb(self.options.checked))
            gone = transfer.outside(data.getHierarchy(), removed, area)
            gone.addAll(ids)
            removed = ""
        return Plan(
            removed,
            gone,
            "",
            ids,
            lambda: javaobjects.add(data, nuclei, self.colors, parents),
        )


@dataclass(frozen=True)
class Suggestions:
    """Suggestions to be written for the image with the id ``image``; earlier ones are replaced."""

    suggestions: Sequence[Suggestion]
    image: str
    history: Mapping[str, str] = field(default_factory=dict)

    def plan(self, data: Any) -> Plan:
        """See ``Content``."""
        earlier = removable(javaobjects.annotations_of(data.getHierarchy()))
        new = [identifier(one, self.image) for one in self.suggestions]
        ids = jvm.compiled("ObjectTransfer").parse("\n".join({*earlier, *new}))
        return Plan(
            "annotations",
            ids,
            "annotations",
            ids,
            lambda: javaobjects.add_suggestions(data, self.suggestions, new),
        )


@dataclass(frozen=True)
class NewData:
    """A new file that was read back and verified, and its ``summary.json``.

    count : objects that were added, and this tool's detections that stayed.
    """

    count: int
    summary: str


def write_new_data(
    data_file: Path, new_file: Path, server: Any, check: Callable[[ObjectCounts], None], content: Content
) -> NewData:
    """Write the objects of ``data_file``, changed by ``content``, to ``new_file``, and read that back.

    server : placeholder for the image.
    check  : raises an error if QuPath did not read all objects of ``data_file``.

    Raises EntryDataError if the files differ in anything but what was asked for.
    """
    transfer, checksum = jvm.compiled("ObjectTransfer"), jvm.compiled("HierarchyChecksum")
    with jvm.errors(
        lambda why: EntryDataError(data_file, f"cannot be written by QuPath ({why}); it is unchanged")
    ):
        data = transfer.read(_java_path(data_file) if data_file.is_file() else None, server)
        check(javaobjects.counts_of(data.getHierarchy()))
        plan = content.plan(data)
        ids = plan.ids
        before = np.array(checksum.compute(data, plan.removed, plan.gone), np.int64)
        steps = int(data.getHistoryWorkflow().size())
        settings, stains = str(checksum.settings(data, steps)), np.array(checksum.stains(data), np.float64)
        removed = int(transfer.remove(data, plan.removed, plan.gone))
        staying = int(transfer.own(data.getHierarchy()).size())
        count = plan.add()
        if content.history:
            transfer.addStep(data, _STEP, dict(content.history))
        with ThreadPoolExecutor(1) as beside:
            writing = beside.submit(transfer.write, data, _java_path(new_file))
            intended = np.array(checksum.compute(data, plan.ours, ids), np.int64)
            writing.result()
        summary = str(transfer.summary(data, time.time_ns() // 1_000_000))
        data = None
        with new_file.open("rb+") as file:
            os.fsync(file.fileno())
        again = transfer.read(_java_path(new_file), server)
        after = np.array(checksum.compute(again, plan.ours, ids), np.int64)
        stains_after = np.array(checksum.stains(again), np.float64)
        same_settings = str(checksum.settings(again, steps)) == settings
    if removed != before[5] or (before[[0, 1, 3, 4]] != after[[0, 1, 3, 4]]).any():
        what = "annotations" if before[0] != after[0] or before[3] != after[3] else "other objects"
        raise _refused(data_file, f"QuPath changed {what} while writing")
    if count != after[5] or intended[2] != after[2]:
        raise _refused(data_file, f"QuPath wrote {after[5]} objects, or others, instead of {count}")
    # QuPath normalises stain vectors once more, and 0.5 writes eight decimals.
    same_stains = stains.shape == stains_after.shape and np.allclose(stains, stains_after, rtol=0, atol=1e-6)
    if not same_settings or not same_stains:
        raise _refused(data_file, "QuPath changed the image's type, stains or history while writing")
    return NewData(staying + count, summary)


def state_of(file: Path) -> FileState:
    """The state of a file, by which a later change is noticed."""
    try:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
            status = os.fstat(opened.fileno())
    except FileNotFoundError:
        return 0, 0, ""
    return status.st_mtime_ns, status.st_size, digest


def move_in_place(data_file: Path, new_file: Path, summary: str, before: FileState) -> None:
    """Replace ``data_file`` by a verified file in one step, and ``summary.json`` beside it.

    Raises ChangedError if ``data_file`` is no longer in the state ``before``.
    """
    data_file.parent.mkdir(parents=True, exist_ok=True)
    summary_file = data_file.with_name("summary.json")
    new_summary = new_file.with_name(new_file.name + ".json")
    new_summary.write_text(summary, encoding="utf-8")
    if state_of(data_file) != before:
        raise ChangedError(data_file, "was changed by another program in the meantime")
    # A summary that does not fit would be taken for damage; a missing one is harmless.
    summary_file.unlink(missing_ok=True)
    new_file.replace(data_file)
    new_summary.replace(summary_file)


def _refused(data_file: Path, reason: str) -> EntryDataError:
    return EntryDataError(data_file, reason, "Nothing was changed; use --backend files and import the result")


def _java_path(path: Path) -> Any:
    return jvm.java_class("java.nio.file.Paths").get(str(path))
