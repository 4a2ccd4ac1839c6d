"""The measurements of a whole project as files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.errors import ExportError, UsageError
from ..core.files import replacing
from ..core.progress import SILENT, Reporter
from ..measure.neighbourhood import neighbourhood
from ..qupath.project import DetectionBlock, ImageEntry, Project
from .formats import FORMATS, Blocks, Writer, ending_of
from .summary import SUMMARY_FORMATS, write_summary
from .tables import centroids_of

IMAGE = "{image}"
"""What stands for an image's name in the name of a file to be written for each image."""

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


def export_project(
    project: Project,
    path: Path,
    *,
    neighbours: bool = False,
    summary: bool = False,
    reporter: Reporter = SILENT,
) -> int:
    """Write the detections and cells of a project to a file; its ending says the format (see ``FORMATS``).

    path       : with ``{image}`` in its name, one file is written for each image that has detections.
    neighbours : with the distance to the nearest nucleus and the number and density of those around.
    summary    : instead of detections, what they are like in each image and annotation.

    Returns how many detections there are. A file is written whole or not at all. Raises UsageError for an
    unknown ending, and ExportError where there is nothing to export or a file cannot be written.
    """
    write = _writer(path, project, summary)
    if IMAGE in path.name:
        return _each(project, path, write, neighbours, reporter)
    blocks = _all_blocks(project, neighbours, reporter)
    first = next(blocks, None)
    if first is None:
        raise _nothing(project)
    return _written(path, write, chain([first], blocks))


def _writer(path: Path, project: Project, summary: bool) -> Writer:
    endings = SUMMARY_FORMATS if summary else tuple(FORMATS)
    ending = ending_of(path.name, endings)
    if ending is None:
        what = "of a summary" if summary else ""
        raise UsageError(path, f"has no known ending {what}".rstrip(), f"Choose one of {', '.join(endings)}")
    if not summary:
        return FORMATS[ending]
    return lambda file, blocks: write_summary(file, blocks, project.annotations, ending)


def _each(project: Project, path: Path, write: Writer, neighbours: bool, reporter: Reporter) -> int:
    written: dict[str, int] = {}
    with reporter.track("exporting", len(project.entries), "images") as task:
        for entry in project.entries:
            blocks = _blocks(project, entry, neighbours)
            first = next(blocks, None)
            if first is not None:
                name = _FORBIDDEN.sub("_", entry.name)
                if path.name.replace(IMAGE, name).lower() in written:  # images of one name
                    name = f"{name}-{entry.id}"
                file = path.with_name(path.name.replace(IMAGE, name))
                written[file.name.lower()] = _written(file, write, chain([first], blocks))
            task.advance(1, entry.name)
    if not written:
        raise _nothing(project)
    return sum(written.values())


def _written(path: Path, write: Writer, blocks: Blocks) -> int:
    try:
        with replacing(path) as part:
            return write(part, blocks)
    except OSError as error:
        raise ExportError(path, f"cannot be written ({error.strerror or error})") from error


def _nothing(project: Project) -> ExportError:
    return ExportError(project.path, "holds no detections to export", "Run `cellgennet segment` first")


def _all_blocks(
    project: Project, neighbours: bool, reporter: Reporter
) -> Iterator[tuple[ImageEntry, DetectionBlock]]:
    with reporter.track("exporting", len(project.entries), "images") as task:
        for entry in project.entries:
            yield from _blocks(project, entry, neighbours)
            task.advance(1, entry.name)


def _blocks(
    project: Project, entry: ImageEntry, neighbours: bool
) -> Iterator[tuple[ImageEntry, DetectionBlock]]:
    around = _neighbours(project, entry) if neighbours else None
    start = 0
    for block in project.detection_blocks(entry):
        stop = start + len(block.nuclei)
        if around is not None:
            measured = around.iloc[start:stop]
            block = replace(block, nuclei=block.nuclei.with_measurements(measured))
        start = stop
        if len(block.nuclei):
            yield entry, block


def _neighbours(project: Project, entry: ImageEntry) -> pd.DataFrame:
    """The neighbourhood of all of an image's detections: they are read once for it, by the block."""
    centroids: list[NDArray[np.float64]] = [np.empty((0, 2))]
    planes: list[NDArray[np.int32]] = [np.empty((0, 2), np.int32)]
    for block in project.detection_blocks(entry):
        centroids.append(centroids_of(block.nuclei))
        planes.append(np.column_stack([block.nuclei.z, block.nuclei.t]))
    points = np.concatenate(centroids)
    size = entry.size or tuple(points.max(axis=0, initial=1.0))
    return neighbourhood(points, np.concatenate(planes), (size[0], size[1]), entry.mpp)
