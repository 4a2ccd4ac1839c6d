"""Which detections count, and in which area: none inside ``Ignore*``, and after ``--within`` only there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import shapely

from ..core.config import ClassNames
from ..core.errors import EntryDataError
from ..qupath.project import Annotation, DetectionChunk, ImageEntry, Project
from ..segmentation.plan import geometry_of_class, ignored_geometry
from ..segmentation.record import read_record
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


def counted_area(area: shapely.Geometry, annotations: Iterable[Annotation]) -> float:
    """The area in px² of a shape without what is ignored."""
    ignored = ignored_geometry(annotations, _CLASSES)
    valid = shapely.make_valid(area)
    return float(shapely.area(valid if ignored is None else shapely.difference(valid, ignored)))


def is_ignored(annotation: Annotation) -> bool:
    """Whether nothing inside an annotation counts."""
    return _CLASSES.is_ignored(annotation.path_class)


def segmented_part(
    size: tuple[int, int], annotations: Iterable[Annotation], within: str | None
) -> shapely.Geometry:
    """The part of an image in which nuclei were looked for: all of it, or inside a class."""
    whole = shapely.box(0, 0, *size)
    inside = None if within is None else geometry_of_class(annotations, within)
    return whole if inside is None else shapely.intersection(whole, inside)


def within_of(project: Project, entry: ImageEntry) -> str | None:
    """The class inside which an image was last segmented; None for the whole image, or if it is not known."""
    record = read_record(project, entry)
    return None if record is None else record.within


def _outside(chunk: DetectionChunk, ignored: shapely.Geometry) -> DetectionChunk:
    x, y = centroids_of(chunk.nuclei).T
    rows = np.flatnonzero(~shapely.intersects_xy(ignored, x, y))
    return DetectionChunk(
        nuclei=chunk.nuclei.take(rows),
        names=chunk.names[rows],
        shapes=chunk.shapes[rows],
        parents=chunk.parents[rows],
        order=chunk.order,
    )
