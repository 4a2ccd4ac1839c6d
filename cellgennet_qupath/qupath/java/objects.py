"""QuPath's own objects as ours, and nuclei as QuPath's detections. Needs Java running (see ``jvm``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from ...nuclei import Nuclei, empty
from ..formats.detections import DEFAULT_COLOR, Color, columns, qupath_id, taken_probability
from ..formats.outlines import with_area
from ..project import Annotation, DetectionChunk, ImageEntry, ObjectCounts, Plane
from . import jvm

_BLOCK = 50_000
"""Nuclei that go to Java at once."""


def annotations_of(hierarchy: Any) -> list[Annotation]:
    """The annotations of a ``PathObjectHierarchy``."""
    writer = jvm.java_class("org.locationtech.jts.io.WKBWriter")(2)
    return [_annotation(found, writer) for found in hierarchy.getAnnotationObjects()]


def _annotation(found: Any, writer: Any) -> Annotation:
    roi, color, name = found.getROI(), found.getColor(), found.getName()
    packed = 0 if color is None else int(color)
    return Annotation(
        id=str(found.getID()),
        geometry=(
            shapely.GeometryCollection()
            if roi is None
            else shapely.from_wkb(bytes(writer.write(roi.getGeometry())))
        ),
        roi="Empty" if roi is None else str(roi.getRoiName()),
        path_class=_class_name(found),
        name=None if name is None else str(name),
        color=None if color is None else ((packed >> 16) & 255, (packed >> 8) & 255, packed & 255),
        locked=bool(found.isLocked()),
        plane=Plane() if roi is None else Plane(int(roi.getC()), int(roi.getZ()), int(roi.getT())),
    )


def _class_name(found: Any) -> str:
    path_class = found.getPathClass()
    return "" if path_class is None or path_class.getName() is None else str(path_class.toString())


def counts_of(hierarchy: Any) -> ObjectCounts:
    """How many objects a ``PathObjectHierarchy`` holds."""
    found = list(hierarchy.getAnnotationObjects())
    every = hierarchy.getFlattenedObjectList(None)
    return ObjectCounts(
        annotations=len(found),
        detections=int(hierarchy.getDetectionObjects().size()),
        by_class=dict(Counter(_class_name(annotation) for annotation in found)),
        total=int(every.size()) - 1,  # the root comes with them
    )


def detections_of(hierarchy: Any) -> Nuclei:
    """The nuclei that this tool wrote to a ``PathObjectHierarchy``, as they are now, in QuPath's order."""
    objects = jvm.compiled("Bulk").own(hierarchy)
    return empty() if objects.isEmpty() else _nuclei(objects)[0]


def detection_chunks_of(hierarchy: Any) -> Iterator[DetectionChunk]:
    """All detections and cells of a ``PathObjectHierarchy`` that have an area, in QuPath's order."""
    bulk = jvm.compiled("Bulk")
    objects = bulk.nuclei(hierarchy)
    for start in range(0, int(objects.size()), _BLOCK):
        part = objects.subList(start, min(start + _BLOCK, int(objects.size())))
        told = []
        for text in bulk.told(part):
            told.append(np.empty(int(part.size()), dtype=object))
            told[-1][:] = str(text).split("\n")[:-1]
        nuclei, order = _nuclei(part)
        names, shapes, parents = told
        yield DetectionChunk(nuclei, names, shapes, parents, order)


def _nuclei(objects: Any) -> tuple[Nuclei, tuple[str, ...]]:
    """Objects as nuclei, and the names of their measurements in order."""
    bulk = jvm.compiled("Bulk")
    ids, classes, names, values, planes, nuclei, cells = bulk.table(objects)
    identifiers = np.array(str(ids).split(), dtype=object)
    n = len(identifiers)
    class_names = np.empty(n, dtype=object)
    class_names[:] = str(classes).split("\n")[:n]
    table = pd.DataFrame(
        np.array(values, np.float64).reshape(n, -1),
        columns=[name for name in str(names).split("\n") if name],
        index=pd.RangeIndex(n),
    )
    z, t = np.array(planes, np.int32).reshape(n, 2).T.copy()
    around = _outlines(cells)
    order = tuple(table.columns)
    found = Nuclei(
        polygons=_outlines(nuclei),
        probability=taken_probability(table),
        classes=class_names,
        ids=identifiers,
        z=z,
        t=t,
        measurements=table,
        cells=None if shapely.is_missing(around).all() else around,
    )
    return found, order


def _outlines(columns: Any) -> NDArray[np.object_]:
    """Outlines on the grid of 0.01 px that ``Bulk.table`` tells as columns; None for none."""
    x, y, ends, others, shapes = columns
    # QuPath keeps 32 bits of a coordinate.
    xy = np.round(np.column_stack([np.array(x, np.float64), np.array(y, np.float64)]), 2)
    stops = np.array(ends, np.intp)
    lengths: NDArray[np.intp] = stops - np.append(np.intp(0), stops[:-1])
    rows = np.flatnonzero(lengths)
    outlines = np.full(len(lengths), None, dtype=object)
    owner = np.repeat(np.arange(len(rows)), lengths[rows])
    outlines[rows] = shapely.polygons(shapely.linearrings(xy, indices=owner))
    for row, shape in zip(others, shapes, strict=True):
        outlines[row] = shapely.transform(shapely.from_wkb(bytes(shape)), lambda points: np.round(points, 2))
    return outlines


def stand_in(image: Any, entry: ImageEntry) -> Any:
    """A server that stands in for an entry's image, which is not opened."""
    width, height = entry.size or (1, 1)
    return jvm.compiled("StandInServer")(
        image.getServerBuilder(),
        entry.name,
        width,
        height,
        entry.size_z,
        entry.size_t,
        entry.channels,
        entry.pixel_type,
    )


def add(
    data: Any, nuclei: Nuclei, colors: Mapping[str, Color], parents: NDArray[np.object_] | None = None
) -> int:
    """Add nuclei to an ``ImageData``, those without an area left out. Returns how many.

    parents : (n,) ids of the annotations that they go under, "" for none.
    """
    bulk = jvm.compiled("Bulk")
    made = jvm.java_class("java.util.ArrayList")(len(nuclei))
    above: list[str] = []
    for start in range(0, len(nuclei), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(nuclei)))
        chunk, kept = with_area(nuclei.take(rows))
        if len(chunk):
            made.addAll(_objects(chunk, colors))
        if parents is not None:
            above += parents[rows[kept]].tolist()
    bulk.add(data, made, "\n".join(above))
    return int(made.size())


def _objects(nuclei: Nuclei, colors: Mapping[str, Color]) -> Any:
    """Nuclei as a list of QuPath's detections and cells."""
    palette, classes = np.unique(nuclei.classes.astype(str), return_inverse=True)
    path_class = jvm.java_class("qupath.lib.objects.classes.PathClass")
    rgb = jvm.java_class("qupath.lib.common.ColorTools").packRGB
    names, values = columns(nuclei)
    return jvm.compiled("Bulk").make(
        _to_java(nuclei.polygons),
        None if nuclei.cells is None else _to_java(nuclei.cells),
        "\n".join(qupath_id(identifier) for identifier in nuclei.ids),
        [
            path_class.fromString(name, rgb(*colors.get(name, DEFAULT_COLOR))) if name else None
            for name in palette.tolist()
        ],
        jvm.array("int")(classes.astype(np.int32)),
        jvm.array("int")(np.column_stack([nuclei.z, nuclei.t]).astype(np.int32).ravel()),
        names,
        jvm.array("double")(np.ascontiguousarray(values).ravel()),
    )


def _to_java(outlines: NDArray[np.object_]) -> Any:
    """Outlines as the ``Outlines`` of ``bulk.groovy``: simple ones as runs of points, the others as WKB.

    Boxes are of the others: QuPath makes rectangles of them.
    """
    simple = (
        (shapely.get_type_id(outlines) == shapely.GeometryType.POLYGON)
        & (shapely.get_num_interior_rings(outlines) == 0)
        & (shapely.area(outlines) < shapely.area(shapely.envelope(outlines)))
    )
    xy, owner = shapely.get_coordinates(outlines[simple], return_index=True)
    lengths = np.zeros(len(outlines), np.int64)
    lengths[simple] = np.bincount(owner, minlength=int(simple.sum()))
    shapes = jvm.array("byte", 2)(len(outlines))
    for row in np.flatnonzero(~simple & ~shapely.is_missing(outlines)).tolist():
        shapes[row] = jvm.array("byte")(shapely.to_wkb(outlines[row], byte_order=0))
    return jvm.compiled("Outlines")(
        jvm.array("double")(np.ascontiguousarray(xy[:, 0])),
        jvm.array("double")(np.ascontiguousarray(xy[:, 1])),
        jvm.array("int")(np.cumsum(lengths).astype(np.int32)),
        shapes,
    )
