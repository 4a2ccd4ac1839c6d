"""Export of all detections of a project to one file, or to one file per image."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.errors import EntryDataError, ExportError, UsageError
from ..core.extras import require
from ..core.files import replacing
from ..core.progress import SILENT, Reporter
from ..measure.neighbourhood import neighbourhood
from ..qupath.project import Annotation, DetectionChunk, ImageEntry, Project
from ..qupath.repeats import RepeatedOutlines, remark
from ..segmentation.record import mixed_settings
from ..slides.pixel_size import implausible
from .cells import writable
from .counted import counted_chunks, within_of
from .formats import FORMATS, Chunks, Writer, ending_of
from .summary import SUMMARY_FORMATS, write_summary
from .tables import centroids_of

IMAGE = "{image}"
"""Placeholder for the image name in the file name, which makes one file per image."""

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')


def export_project(
    project: Project,
    path: Path,
    *,
    neighbours: bool = False,
    summary: bool = False,
    reporter: Reporter = SILENT,
) -> int:
    """Write the detections and cells of a project to a file; its ending sets the format (``FORMATS``).

    path       : with ``{image}`` in its name, one file is written for each image that has detections.
    neighbours : add the distance to the nearest nucleus, and the number and density of nuclei nearby.
    summary    : write one row per image and annotation instead: counts, density, means, quantiles.

    Returns the number of detections. A file is written whole or not at all. Raises UsageError for an unknown
    ending, MissingExtraError for h5ad without anndata, and ExportError where there are no detections or a
    file cannot be written.
    """
    write = _writer(path, project, summary, reporter)
    mixed = mixed_settings(project)
    if mixed:
        reporter.warn(mixed)
    for entry in project.entries:
        reason = "" if entry.mpp is None else implausible(entry.mpp)
        if reason:
            reporter.warn(
                f"{entry.name}: {reason} in the project, so its centroids, areas and densities are wrong. "
                "Correct the pixel size in QuPath (Image tab) and segment again."
            )
    if IMAGE in path.name:
        return _each(project, path, write, neighbours, reporter)
    chunks = _all_chunks(project, neighbours, reporter)
    first = next(chunks, None)
    if first is not None:
        return _written(path, write, chain([first], chunks))
    # No nuclei in any image is a result, if they were looked for.
    if summary and any(_segmented(project, entry) for entry in project.entries):
        return _written(path, write, ())
    raise _no_detections(project)


def _writer(path: Path, project: Project, summary: bool, reporter: Reporter) -> Writer:
    endings = SUMMARY_FORMATS if summary else tuple(FORMATS)
    ending = ending_of(path.name, endings)
    if ending is None:
        what = "summary format" if summary else "format"
        raise UsageError(path, f"its ending is not a {what}", f"Choose one of {', '.join(endings)}")
    if ending == ".h5ad":
        require("h5ad", "export to h5ad")
    if not summary:
        return FORMATS[ending]
    # One file for all images lists those without nuclei as well.
    segmented = {} if IMAGE in path.name else {entry: _segmented(project, entry) for entry in project.entries}
    for entry, known in segmented.items():
        if not known:
            reporter.warn(f"{entry.name}: was never segmented, so its rows have no numbers of nuclei.")

    def annotations(entry: ImageEntry) -> list[Annotation]:
        try:
            return project.annotations(entry)
        except EntryDataError as error:
            # The other images, and this one's own row, do not depend on it.
            reporter.warn(f"{entry.name}: has no rows of annotations, because they cannot be read: {error}")
            return []

    return lambda file, chunks: write_summary(
        file, chunks, annotations, ending, segmented, lambda entry: within_of(project, entry)
    )


def _segmented(project: Project, entry: ImageEntry) -> bool:
    """Whether an image was segmented or has detections; in QuPath, which keeps no record, if it has data."""
    written = project.work_folder / "detections" / f"{entry.id}.geojson.gz"
    return written.is_file() or (project.backend == "qupath" and entry.opened)


def _each(project: Project, path: Path, write: Writer, neighbours: bool, reporter: Reporter) -> int:
    written: dict[str, int] = {}
    with reporter.track("exporting", len(project.entries), "images") as task:
        for entry in project.entries:
            chunks = _chunks(project, entry, neighbours, reporter)
            first = next(chunks, None)
            if first is not None:
                name = _FORBIDDEN.sub("_", writable(entry.name))
                if path.name.replace(IMAGE, name).lower() in written:  # several images of this name
                    name = f"{name}-{entry.id}"
                file = path.with_name(path.name.replace(IMAGE, name))
                written[file.name.lower()] = _written(file, write, chain([first], chunks))
            task.advance(1, entry.name)
    if not written:
        raise _no_detections(project)
    return sum(written.values())


def _written(path: Path, write: Writer, chunks: Chunks) -> int:
    try:
        with replacing(path) as part:
            return write(part, chunks)
    except OSError as error:
        raise ExportError(path, f"cannot be written ({error.strerror or error})") from error


def _no_detections(project: Project) -> ExportError:
    return ExportError(project.path, "contains no detections to export", "Run `cellgennet segment` first")


def _all_chunks(
    project: Project, neighbours: bool, reporter: Reporter
) -> Iterator[tuple[ImageEntry, DetectionChunk]]:
    with reporter.track("exporting", len(project.entries), "images") as task:
        for entry in project.entries:
            yield from _chunks(project, entry, neighbours, reporter)
            task.advance(1, entry.name)


def _chunks(
    project: Project, entry: ImageEntry, neighbours: bool, reporter: Reporter
) -> Iterator[tuple[ImageEntry, DetectionChunk]]:
    nearby = _neighbours(project, entry) if neighbours else None
    start, outlines = 0, RepeatedOutlines()
    for chunk in counted_chunks(project, entry):
        outlines.add(chunk.nuclei)
        stop = start + len(chunk.nuclei)
        if nearby is not None:
            measured = nearby.iloc[start:stop]
            chunk = replace(chunk, nuclei=chunk.nuclei.with_measurements(measured))
        start = stop
        if len(chunk.nuclei):
            yield entry, chunk
    if outlines.count:
        reporter.warn(remark(outlines.count, entry.name))


def _neighbours(project: Project, entry: ImageEntry) -> pd.DataFrame:
    """The neighbourhood measurements of all detections of an image, which are read once more for this."""
    centroids: list[NDArray[np.float64]] = [np.empty((0, 2))]
    planes: list[NDArray[np.int32]] = [np.empty((0, 2), np.int32)]
    for chunk in counted_chunks(project, entry):
        centroids.append(centroids_of(chunk.nuclei))
        planes.append(np.column_stack([chunk.nuclei.z, chunk.nuclei.t]))
    points = np.concatenate(centroids)
    size = entry.size or tuple(points.max(axis=0, initial=1.0))
    return neighbourhood(points, np.concatenate(planes), (size[0], size[1]), entry.mpp)
