"""Puts a new ``data.qpdata`` in the place of the old one so that nothing but detections can have changed."""

from __future__ import annotations

import hashlib
import math
import os
import re
from itertools import chain
from pathlib import Path

import shapely

from ..errors import EntryDataError
from .javavalues import JavaStreamError
from .project import Annotation, StainVectors
from .qpdata import QpData, parse
from .roi import RoiError

State = tuple[int, int, str]
"""Time of change (ns), size in bytes and SHA-256 of a file; (0, 0, "") of none."""


def state_of(file: Path) -> State:
    """What tells whether a file has changed."""
    try:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
            status = os.fstat(opened.fileno())
    except FileNotFoundError:
        return 0, 0, ""
    return status.st_mtime_ns, status.st_size, digest


def _same_stains(new: StainVectors | None, old: StainVectors | None) -> bool:
    """Equal but for the last digits: QuPath normalises the vectors once more, 0.5 writes eight decimals."""
    if new is None or old is None:
        return new is old
    return new.names == old.names and all(
        math.isclose(a, b, abs_tol=1e-6)
        for a, b in zip(chain(*new.vectors, new.background), chain(*old.vectors, old.background), strict=True)
    )


def check(place: Path, fresh: Path, old: QpData, removed: int, added: int) -> None:
    """Hold a new file against what it replaces. Raises EntryDataError where more than detections differ."""
    with fresh.open("r+b") as file:
        os.fsync(file.fileno())
        content = file.read()
    try:
        new = parse(content)
    except (JavaStreamError, RoiError) as error:
        raise _refused(place, f"QuPath wrote what cannot be read back ({error})") from error
    detections = old.counts.detections - removed + added
    total = old.counts.total - removed + added
    if (new.counts.detections, new.counts.total) != (detections, total):
        raise _refused(
            place,
            f"QuPath wrote {new.counts.total} objects with {new.counts.detections} detections "
            f"in place of {total} with {detections}",
        )
    if new.image_type != old.image_type or not _same_stains(new.stains, old.stains):
        raise _refused(place, "QuPath changed the image's type or stains while writing")
    if not _same_annotations(old, new):
        raise _refused(place, "QuPath changed annotations while writing")


def _refused(place: Path, reason: str) -> EntryDataError:
    return EntryDataError(place, reason, "Nothing was changed; use --backend files and import the result")


def _same_annotations(old: QpData, new: QpData) -> bool:
    before = {annotation.id: annotation for annotation in old.annotations}
    after = {annotation.id: annotation for annotation in new.annotations}
    if before.keys() == after.keys():
        return before == after
    # Files of before QuPath 0.4 hold no ids, so that each reader makes up its own.
    return _is_older(old.version) and sorted(map(_told, old.annotations)) == sorted(
        map(_told, new.annotations)
    )


def _is_older(version: str) -> bool:
    numbers = re.match(r"(\d+)\.(\d+)", version)
    return not numbers or (int(numbers[1]), int(numbers[2])) < (0, 4)


def _told(annotation: Annotation) -> str:
    return " ".join(
        (
            shapely.to_wkt(annotation.geometry, rounding_precision=-1),
            annotation.roi,
            annotation.path_class,
            str(annotation.name),
            str(annotation.color),
            str(annotation.locked),
            str(annotation.plane),
        )
    )


def replace(place: Path, fresh: Path, summary: str, before: State) -> None:
    """Move a checked file to its place in one step, with the ``summary.json`` that belongs to it.

    Raises EntryDataError where ``place`` is no longer in the state ``before``.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name("summary.json")
    if state_of(place) != before:
        raise EntryDataError(
            place,
            "was changed by another program in the meantime",
            "Save and close the image in QuPath, then run the command again",
        )
    # A summary that does not fit is taken for damage, a missing one is not.
    beside.unlink(missing_ok=True)
    fresh.replace(place)
    new = fresh.with_name(fresh.name + ".json")
    new.write_text(summary, encoding="utf-8")
    new.replace(beside)
