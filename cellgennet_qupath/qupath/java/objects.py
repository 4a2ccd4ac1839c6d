"""Converts QuPath's Java objects to this package's types, and nuclei to QuPath's detections (see ``jvm``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from ...core.parallel import Prefetch
from ...nuclei import CHUNK, Nuclei, empty
from ..formats.detections import DEFAULT_COLOR, Color, columns, pop_probability, qupath_id
from ..formats.outlines import on_grid, with_area
from ..project import Annotation, Core, DetectionChunk, ImageEntry, ObjectCounts, Plane, Suggestion
from ..suggested import COLOR, SUGGESTED
from . import jvm

_CHUNK = 50_000
"""Nuclei transferred from Java at once."""


def annotations_of(hierarchy: Any) -> list[Annotation]:
    """The annotations of a ``PathObjectHierarchy``."""
    writer = jvm.java_class("org.locationtech.jts.io.WKBWriter")(2)
    return [_annotation(annotation, writer) for annotation in hierarchy.getAnnotationObjects()]


def cores_of(hierarchy: Any) -> list[Core]:
    """The cores of the tissue microarray of a ``PathObjectHierarchy``, in the order of the grid."""
    grid = hierarchy.getTMAGrid()
    writer = jvm.java_class("org.locationtech.jts.io.WKBWriter")(2)
    cores = [] if grid is None else list(grid.getTMACoreList())
    return [Core(**vars(_annotation(core, writer)), missing=bool(core.isMissing())) for core in cores]


def _annotation(annotation: Any, writer: Any) -> Annotation:
    roi, color, name = annotation.getROI(), annotation.getColor(), annotation.getName()
    packed = 0 if color is None else int(color)
    return Annotation(
        id=str(annotation.getID()),
        geometry=(
            shapely.GeometryCollection()
            if roi is None
            else shapely.from_wkb(bytes(writer.write(roi.getGeometry())))
        ),
        roi="Empty" if roi is None else str(roi.getRoiName()),
        path_class=_class_name(annotation),
        name=None if name is None else str(name),
        color=None if color is None else ((packed >> 16) & 255, (packed >> 8) & 255, packed & 255),
        locked=bool(annotation.isLocked()),
        plane=Plane() if roi is None else Plane(int(roi.getC()), int(roi.getZ()), int(roi.getT())),
    )


def _class_name(item: Any) -> str:
    path_class = item.getPathClass()
    return "" if path_class is None or path_class.getName() is None else str(path_class.toString())


def counts_of(hierarchy: Any) -> ObjectCounts:
    """How many objects a ``PathObjectHierarchy`` contains."""
    annotations = list(hierarchy.getAnnotationObjects())
    every = hierarchy.getFlattenedObjectList(None)
    return ObjectCounts(
        annotations=len(annotations),
        detections=int(hierarchy.getDetectionObjects().size()),
        by_class=dict(Counter(_class_name(annotation) for annotation in annotations)),
        total=int(every.size()) - 1,  # without the root
    )


def detections_of(hierarchy: Any) -> Nuclei:
    """The nuclei that this tool wrote to a ``PathObjectHierarchy``, as they are now, in QuPath's order."""
    objects = jvm.compiled("ObjectTransfer").own(hierarchy)
    return empty() if objects.isEmpty() else _nuclei(objects)[0]


def detection_chunks_of(hierarchy: Any) -> Iterator[DetectionChunk]:
    """All detections and cells of a ``PathObjectHierarchy`` that have an area, in QuPath's order."""
    transfer = jvm.compiled("ObjectTransfer")
    objects = transfer.nuclei(hierarchy)
    for start in range(0, int(objects.size()), _CHUNK):
        part = objects.subList(start, min(start + _CHUNK, int(objects.size())))
        labels = []
        for text in transfer.labels(part):
            labels.append(np.empty(int(part.size()), dtype=object))
            labels[-1][:] = str(text).split("\n")[:-1]
        nuclei, order = _nuclei(part)
        names, shapes, parents, above = labels
        yield DetectionChunk(nuclei, names, shapes, parents, order, parent_ids=above)


def _nuclei(objects: Any) -> tuple[Nuclei, tuple[str, ...]]:
    """Objects as nuclei, and the names of their measurements in order."""
    transfer = jvm.compiled("ObjectTransfer")
    ids, classes, names, values, planes, nuclei, cells = transfer.table(objects)
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
        probability=pop_probability(table),
        classes=class_names,
        ids=identifiers,
        z=z,
        t=t,
        measurements=table,
        cells=None if shapely.is_missing(around).all() else around,
    )
    return found, order


def _outlines(columns: Any) -> NDArray[np.object_]:
    """Outlines from the columns of ``ObjectTransfer.table``, on the grid of 0.01 px; None for none."""
    x, y, ends, others, shapes = columns
    # QuPath stores coordinates in 32 bits.
    xy = on_grid(np.column_stack([np.array(x, np.float64), np.array(y, np.float64)]))
    stops = np.array(ends, np.intp)
    lengths: NDArray[np.intp] = stops - np.append(np.intp(0), stops[:-1])
    rows = np.flatnonzero(lengths)
    outlines = np.full(len(lengths), None, dtype=object)
    owner = np.repeat(np.arange(len(rows)), lengths[rows])
    outlines[rows] = shapely.polygons(shapely.linearrings(xy, indices=owner))
    for row, shape in zip(others, shapes, strict=True):
        outlines[row] = shapely.transform(shapely.from_wkb(bytes(shape)), on_grid)
    return outlines


def placeholder_server(image: Any, entry: ImageEntry) -> Any:
    """An image server with the recorded metadata of an entry's image, which is not opened."""
    width, height = entry.size or (1, 1)
    return jvm.compiled("PlaceholderServer")(
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
    """Add nuclei to an ``ImageData``, except those without an area. Returns how many.

    parents : (n,) ids of their parent annotations, "" for none.
    """
    transfer = jvm.compiled("ObjectTransfer")
    added = jvm.java_class("java.util.ArrayList")(len(nuclei))
    parent_ids: list[str] = []
    with Prefetch() as pipeline:
        # Outlines are checked in another thread while Java makes objects of those before them.
        for chunk, rows in pipeline.prefetch(_importable(nuclei), 2):
            if len(chunk):
                added.addAll(_objects(chunk, colors))
            if parents is not None:
                parent_ids += parents[rows].tolist()
    transfer.add(data, added, "\n".join(parent_ids))
    return int(added.size())


def _importable(nuclei: Nuclei) -> Iterator[tuple[Nuclei, NDArray[np.intp]]]:
    """The nuclei with an area in chunks, made importable, and their rows."""
    for start in range(0, len(nuclei), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(nuclei)))
        chunk, kept = with_area(nuclei.take(rows))
        yield chunk, rows[kept]


def add_suggestions(data: Any, suggestions: Sequence[Suggestion], ids: Sequence[str]) -> int:
    """Add suggestions to an ``ImageData`` as locked annotations with these ids. Returns how many."""
    rgb = jvm.java_class("qupath.lib.common.ColorTools").packRGB
    path_class = jvm.java_class("qupath.lib.objects.classes.PathClass").fromString(SUGGESTED, rgb(*COLOR))
    jvm.compiled("ObjectTransfer").addSuggestions(
        data,
        "\n".join(ids),
        jvm.array("double")([float(edge) for one in suggestions for edge in one.box]),
        "\n".join(one.reason.replace("\n", " ") for one in suggestions),
        path_class,
    )
    return len(suggestions)


def _objects(nuclei: Nuclei, colors: Mapping[str, Color]) -> Any:
    """Nuclei as a list of QuPath's detections and cells."""
    palette, classes = np.unique(nuclei.classes.astype(str), return_inverse=True)
    path_class = jvm.java_class("qupath.lib.objects.classes.PathClass")
    rgb = jvm.java_class("qupath.lib.common.ColorTools").packRGB
    names, values = columns(nuclei)
    return jvm.compiled("ObjectTransfer").make(
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
    """Outlines as ``Outlines`` of ``object_transfer.groovy``: simple ones as points, the others as WKB.

    Boxes go as WKB, because QuPath makes rectangles of them.
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
