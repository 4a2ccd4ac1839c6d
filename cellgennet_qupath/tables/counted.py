"""Which detections count, and in which area: none inside ``Ignore*``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import shapely
from numpy.typing import NDArray

from ..core.class_patterns import DEFAULT_IGNORE
from ..core.errors import EntryDataError
from ..core.progress import SILENT, Reporter
from ..geometry.solid import solid
from ..nuclei import Nuclei
from ..qupath.project import Core, DetectionChunk, ImageEntry, Project
from ..segmentation.plan import ignored_geometry
from ..segmentation.record import IGNORE, read_record
from .tables import centroids_of


def ignored_classes(project: Project, entry: ImageEntry) -> str:
    """The classes of ignored areas, as the model that segmented the image was told."""
    record = read_record(project, entry)
    ignore = None if record is None else record.model.get(IGNORE)
    return ignore if isinstance(ignore, str) else DEFAULT_IGNORE


def counted_chunks(
    project: Project, entry: ImageEntry, reporter: Reporter = SILENT
) -> Iterator[DetectionChunk]:
    """The detections of an image without those whose centroid is inside an ignored area, border included.

    Where annotations cannot be read, no area is ignored, which is reported. Raises EntryDataError.
    """
    ignored, fault = None, ""
    try:
        ignored = ignored_geometry(project.annotations(entry), ignored_classes(project, entry))
    except EntryDataError as error:
        fault = str(error)
    for chunk in project.detection_chunks(entry):
        if fault and len(chunk.nuclei):
            reporter.warn(
                f"{entry.name}: detections in ignored areas are counted, as these cannot be read: {fault}"
            )
            fault = ""
        yield chunk if ignored is None else _outside(chunk, ignored)


def readable_cores(project: Project, entry: ImageEntry) -> list[Core]:
    """The cores of an image's tissue microarray; none where they cannot be read."""
    try:
        return project.cores(entry)
    except EntryDataError:
        return []


def counted_part(area: shapely.Geometry, ignored: shapely.Geometry | None) -> shapely.Geometry:
    """A shape without what is ignored (``ignored_geometry``)."""
    valid: shapely.Geometry = solid([area])[0]
    if ignored is None or not shapely.intersects(ignored, valid):
        return valid
    return shapely.difference(valid, ignored)


def rows_outside(nuclei: Nuclei, ignored: shapely.Geometry) -> NDArray[np.intp]:
    """The rows of the nuclei whose centroid is not inside an ignored area, border included."""
    x, y = centroids_of(nuclei).T
    return np.flatnonzero(~shapely.intersects_xy(ignored, x, y))


def _outside(chunk: DetectionChunk, ignored: shapely.Geometry) -> DetectionChunk:
    rows = rows_outside(chunk.nuclei, ignored)
    return replace(
        chunk,
        nuclei=chunk.nuclei.take(rows),
        names=chunk.names[rows],
        shapes=chunk.shapes[rows],
        parents=chunk.parents[rows],
    )
