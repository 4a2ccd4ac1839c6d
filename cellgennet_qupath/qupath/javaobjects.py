"""QuPath's own objects as ours, and nuclei as QuPath's detections. Needs Java running (see ``jvm``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import shapely

from ..nuclei import Nuclei
from . import jvm
from .detections import DEFAULT_COLOR, PROBABILITY, Color, columns, qupath_id, taken_probability, with_area
from .project import Annotation, ImageEntry, ObjectCounts, Plane


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


def detections_of(hierarchy: Any, written: Nuclei) -> Nuclei:
    """Those of the nuclei that were written to a ``PathObjectHierarchy`` and still are there.

    Classes and measurements are QuPath's of now; outlines are those written: no user edits detections.
    """
    if len(written) == 0:
        return written
    bulk, _ = jvm.bulk()
    ids, classes, names, values = bulk.table(bulk.find(hierarchy, "\n".join(written.ids)))
    row_of = {identifier: row for row, identifier in enumerate(written.ids)}
    rows = np.array([row_of[identifier] for identifier in _lines(ids)], np.intp)
    kept = written.take(rows)
    table = pd.DataFrame(
        np.array(values, np.float64).reshape(len(rows), -1),
        columns=_lines(names),
        index=pd.RangeIndex(len(rows)),
    )
    order = [name for name in (*written.measurements.columns, PROBABILITY) if name in table.columns]
    table = table[[*order, *(name for name in table.columns if name not in order)]]
    class_names = np.empty(len(rows), dtype=object)
    class_names[:] = _lines(classes, len(rows))
    return replace(kept, classes=class_names, measurements=table, probability=taken_probability(table))


def _lines(text: Any, number: int | None = None) -> list[str]:
    lines = str(text).split("\n")
    return lines[:number] if number is not None else [line for line in lines if line]


def stand_in(image: Any, entry: ImageEntry) -> Any:
    """A server that stands in for an entry's image, which is not opened."""
    _, server = jvm.bulk()
    width, height = entry.size or (1, 1)
    return server(
        image.getServerBuilder(),
        entry.name,
        width,
        height,
        entry.size_z,
        entry.size_t,
        entry.channels,
        entry.pixel_type,
    )


def add(data: Any, nuclei: Nuclei, colors: Mapping[str, Color]) -> int:
    """Add nuclei to an ``ImageData`` as detections, those without an area left out. Returns how many."""
    outlines, nuclei = with_area(nuclei)
    if len(nuclei) == 0:
        return 0
    simple = (shapely.get_type_id(outlines) == shapely.GeometryType.POLYGON) & (
        shapely.get_num_interior_rings(outlines) == 0
    )
    xy, owner = shapely.get_coordinates(outlines[simple], return_index=True)
    open_ring = np.append(owner[1:] == owner[:-1], False)  # without the point that closes each ring
    xy, owner = xy[open_ring], owner[open_ring]
    lengths = np.zeros(len(outlines), np.int64)
    lengths[simple] = np.bincount(owner, minlength=int(simple.sum()))
    shapes = jvm.array("byte", 2)(len(outlines))
    for row in np.flatnonzero(~simple).tolist():
        shapes[row] = jvm.array("byte")(shapely.to_wkb(outlines[row], byte_order=0))
    palette, classes = np.unique(nuclei.classes.astype(str), return_inverse=True)
    path_class = jvm.java_class("qupath.lib.objects.classes.PathClass")
    rgb = jvm.java_class("qupath.lib.common.ColorTools").packRGB
    names, values = columns(nuclei)
    bulk, _ = jvm.bulk()
    bulk.add(
        data,
        jvm.array("double")(np.ascontiguousarray(xy[:, 0])),
        jvm.array("double")(np.ascontiguousarray(xy[:, 1])),
        jvm.array("int")(np.cumsum(lengths).astype(np.int32)),
        shapes,
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
    return len(nuclei)
