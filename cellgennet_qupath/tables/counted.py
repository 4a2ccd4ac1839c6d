"""Which detections count, and in which area: none inside ``Ignore*``, and after ``--within`` only there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import shapely

from ..core.config import ClassNames
from ..core.errors import EntryDataError
from ..qupath.project import Annotation, Core, DetectionChunk, ImageEntry, Project
from ..segmentation.plan import ignored_geometry, union_of
from ..segmentation.record import Record
from .tables import centroids_of

_CLASSES = ClassNames()


def counted_chunks(project: Project, entry: ImageEntry) -> Iterator[DetectionChunk]:
    """The detections of an image without those whose centroid is inside an ignored area, border included.

    Where annotations cannot be read, no area is ignored. Raises EntryDataError.
    """
    try:
        ignored = ignored_geometry(project.annotations(entry), _CLASSES)
    except EntryDataError:
        ignored = None
    for chunk in project.detection_chunks(entry):
        yield chunk if ignored is None else _outside(chunk, ignored)


def readable_cores(project: Project, entry: ImageEntry) -> list[Core]:
    """The cores of an image's tissue microarray; none where they cannot be read."""
    try:
        return project.cores(entry)
    except EntryDataError:
        return []


def counted_part(area: shapely.Geometry, annotations: Iterable[Annotation]) -> shapely.Geometry:
    """A shape without what is ignored."""
    ignored = ignored_geometry(annotations, _CLASSES)
    valid = shapely.make_valid(area)
    return valid if ignored is None else shapely.difference(valid, ignored)


def is_ignored(annotation: Annotation) -> bool:
    """Whether nothing inside an annotation counts."""
    return _CLASSES.is_ignored(annotation.path_class)


def segmented_part(
    size: tuple[int, int], objects: Iterable[Annotation], record: Record | None
) -> shapely.Geometry:
    """The part of an image in which nuclei were last looked for: all of it, or inside some of its objects.

    objects : its annotations and cores. Without a record it is all of the image.
    """
    whole = shapely.box(0, 0, *size)
    if record is None or (record.within is None and not record.inside):
        return whole
    inside = union_of(o for o in objects if o.id in record.inside or o.path_class == record.within)
    return whole if inside is None else shapely.intersection(whole, inside)


def _outside(chunk: DetectionChunk, ignored: shapely.Geometry) -> DetectionChunk:
    x, y = centroids_of(chunk.nuclei).T
    rows = np.flatnonzero(~shapely.intersects_xy(ignored, x, y))
    return replace(
        chunk,
        nuclei=chunk.nuclei.take(rows),
        names=chunk.names[rows],
        shapes=chunk.shapes[rows],
        parents=chunk.parents[rows],
    )
