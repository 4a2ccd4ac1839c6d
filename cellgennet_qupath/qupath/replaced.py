"""Detections that a run replaced: kept in ``<project>/cellgennet/replaced/<id>``, and put back from there.

Of each image those of the last ``MOST_KEPT`` runs are kept, each with the record of the run that made them.
"""

from __future__ import annotations

import contextlib
import gzip
import shutil
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.environment import advice
from ..core.errors import EntryDataError
from ..core.files import remove_file, replacing
from ..nuclei import Nuclei, concat
from .files import FilesBackend
from .formats.detections import write_detections
from .kept import SEGMENTED
from .loose import LooseImages
from .origin import origin_of
from .parents import ParentsOf
from .project import ImageEntry, Project, WriteOptions, WrittenDetections
from .stored import StoredNuclei

FOLDER = "replaced"
MOST_KEPT = 5
_ENDING = ".geojson.gz"


def keep_detections(project: Project, entry: ImageEntry, every: bool = False) -> Path | None:
    """Keep a copy of an image's detections before they are replaced; None if there are none.

    Older copies than the last ``MOST_KEPT`` are deleted.
    every : also those of other tools. Raises EntryDataError.
    """
    folder = project.work_folder / FOLDER / entry.id
    time = datetime.now().strftime("%Y-%m-%dT%H-%M-%S")
    file, number = folder / f"{time}{_ENDING}", 1
    while file.exists():
        number += 1
        file = folder / f"{time}-{number}{_ENDING}"
    try:
        if isinstance(project, FilesBackend | LooseImages):  # as it is, also where it is damaged
            present = project.detections_file(entry)
            if not present.is_file():
                return None
            with replacing(file, project.work_folder) as part:
                _copy(present, part)
            _keep_record(project, entry, file)
            _delete_older(project, entry, file)
            return file
        nuclei, parents_of = _with_parents(project, entry, every)
        if not len(nuclei):
            return None
        write_detections(file, nuclei, parents=parents_of, origin=origin_of(entry))
        _keep_record(project, entry, file)
        _delete_older(project, entry, file)
    except OSError as error:
        raise EntryDataError(
            file, f"cannot be written ({error.strerror or error}); nothing was replaced", advice(error)
        ) from error
    return file


def _with_parents(project: Project, entry: ImageEntry, every: bool) -> tuple[Nuclei, ParentsOf]:
    """An image's detections, or only those that this tool made, and what returns the ids of their parents."""
    chunks: list[Nuclei] = []
    above: dict[str, str] = {}
    for chunk in project.detection_chunks(entry):
        ids = chunk.nuclei.ids
        kept = np.ones(len(ids), bool) if every else chunk.nuclei.own
        nuclei = chunk.nuclei.take(kept)
        if not every:  # without the names of measurements that only the others have
            nuclei = replace(nuclei, measurements=nuclei.measurements.dropna(axis=1, how="all"))
        chunks.append(nuclei)
        if chunk.parent_ids is not None:
            rows = np.flatnonzero(kept & (chunk.parent_ids != ""))
            above |= zip(ids[rows], map(sys.intern, chunk.parent_ids[rows]), strict=True)

    def parents_of(nuclei: Nuclei) -> NDArray[np.object_]:
        return np.array([*(above.get(one, "") for one in nuclei.ids), ""], dtype=object)[:-1]

    return concat(chunks), parents_of


def _copy(present: Path, kept: Path) -> None:
    """Copy a file of detections, and pack it where it is not packed."""
    if present.suffix == ".gz":
        shutil.copyfile(present, kept)
        return
    with present.open("rb") as source, gzip.open(kept, "wb", compresslevel=2) as target:
        shutil.copyfileobj(source, target)


def _keep_record(project: Project, entry: ImageEntry, kept: Path) -> None:
    """Keep the record of the run that made the detections, if there is one, beside their copy."""
    record = project.work_folder / SEGMENTED / f"{entry.id}.json"
    if record.is_file():
        with replacing(record_beside(kept), project.work_folder) as part:
            shutil.copyfile(record, part)


def record_beside(kept: Path) -> Path:
    """The file of the record of the run that made kept detections; copies of early versions have none."""
    return kept.with_name(f"{kept.name.removesuffix(_ENDING)}.record.json")


def kept_detections(project: Project, entry: ImageEntry) -> list[Path]:
    """The files of an image's replaced detections, the oldest first."""
    folder = project.work_folder / FOLDER / entry.id
    return sorted(folder.glob(f"*{_ENDING}"), key=lambda file: (file.stat().st_mtime_ns, file.name))


def _delete_older(project: Project, entry: ImageEntry, newest: Path) -> None:
    older = [file for file in kept_detections(project, entry) if file != newest]
    for file in older[: 1 - MOST_KEPT]:
        with contextlib.suppress(OSError):  # in use, on Windows; a later run deletes it
            _remove(project, file)


def _remove(project: Project, kept: Path) -> None:
    remove_file(project.work_folder, record_beside(kept))
    remove_file(project.work_folder, kept)


def restore_detections(project: Project, entry: ImageEntry) -> WrittenDetections | None:
    """Put back the detections that were replaced last, and keep the present ones; None if none were kept.

    Raises EntryDataError; the present detections are then unchanged.
    """
    kept = kept_detections(project, entry)
    if not kept:
        return None
    nuclei = StoredNuclei(kept[-1])
    keep_detections(project, entry)
    written = project.write_detections(entry, nuclei, WriteOptions(history={"restored": kept[-1].name}))
    _remove(project, kept[-1])
    return written
