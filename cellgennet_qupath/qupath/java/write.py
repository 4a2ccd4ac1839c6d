"""Writes an entry's new ``data.qpdata`` beside the old one, and holds the two against each other in Java."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import EntryDataError
from ...nuclei import Nuclei
from ..formats.detections import Color, qupath_id
from ..parents import parents_of
from ..project import ObjectCounts, WriteOptions
from . import jvm
from . import objects as javaobjects

_REMOVED = {"replace-own": "own", "replace-all": "all", "keep": ""}
_STEP = "CellGenNet"


@dataclass(frozen=True)
class Written:
    """A new file that was read back and found right: how many nuclei were added, and its ``summary.json``."""

    count: int
    summary: str


@dataclass(frozen=True)
class Content:
    """What there is to put in, and how; colors: of classes by full name."""

    nuclei: Nuclei
    colors: Mapping[str, Color]
    options: WriteOptions


def write_beside(
    place: Path, fresh: Path, server: Any, check: Callable[[ObjectCounts], None], content: Content
) -> Written:
    """Write what ``place`` holds, with the nuclei put in, to ``fresh``, and read that back.

    server : stands in for the image.
    check  : raises an error where what QuPath read of ``place`` is not all.

    Raises EntryDataError where anything but what was asked for differs between the two.
    """
    bulk, survey = jvm.compiled("Bulk"), jvm.compiled("Survey")
    with jvm.errors(
        lambda why: EntryDataError(place, f"cannot be written by QuPath ({why}); it is as it was")
    ):
        data = bulk.read(_java_path(place) if place.is_file() else None, server)
        check(javaobjects.counts_of(data.getHierarchy()))
        which, nuclei, parents = _REMOVED[content.options.existing], content.nuclei, None
        if content.options.existing == "keep":
            there = set(str(bulk.ids(data)).split())
            nuclei = nuclei.take(np.array([qupath_id(i) not in there for i in nuclei.ids], bool))
        if content.options.within:
            annotations = javaobjects.annotations_of(data.getHierarchy())
            parents = parents_of(nuclei, annotations, content.options.within)
        ids = bulk.parse("\n".join(qupath_id(identifier) for identifier in nuclei.ids))
        before = np.array(survey.survey(data, which, ids), np.int64)
        steps = int(data.getHistoryWorkflow().size())
        settings, stains = str(survey.settings(data, steps)), np.array(survey.stains(data), np.float64)
        removed = int(bulk.remove(data, which, ids))
        count = javaobjects.add(data, nuclei, content.colors, parents)
        if content.options.history:
            bulk.addStep(data, _STEP, dict(content.options.history))
        meant = np.array(survey.survey(data, "", ids), np.int64)
        bulk.write(data, _java_path(fresh))
        summary = str(bulk.summary(data, time.time_ns() // 1_000_000))
        data = None
        with fresh.open("rb+") as file:
            os.fsync(file.fileno())
        again = bulk.read(_java_path(fresh), server)
        after = np.array(survey.survey(again, "", ids), np.int64)
        kept = np.array(survey.stains(again), np.float64)
        same_settings = str(survey.settings(again, steps)) == settings
    if removed != before[5] or (before[[0, 1, 3, 4]] != after[[0, 1, 3, 4]]).any():
        what = "annotations" if before[0] != after[0] or before[3] != after[3] else "other objects"
        raise _refused(place, f"QuPath changed {what} while writing")
    if count != after[5] or meant[2] != after[2]:
        raise _refused(place, f"QuPath wrote {after[5]} nuclei, or others, in place of {count}")
    # QuPath normalises stain vectors once more, and 0.5 writes eight decimals.
    if not same_settings or stains.shape != kept.shape or not np.allclose(stains, kept, rtol=0, atol=1e-6):
        raise _refused(place, "QuPath changed the image's type, stains or history while writing")
    return Written(count, summary)


def _refused(place: Path, reason: str) -> EntryDataError:
    return EntryDataError(place, reason, "Nothing was changed; use --backend files and import the result")


def _java_path(path: Path) -> Any:
    return jvm.java_class("java.nio.file.Paths").get(str(path))
