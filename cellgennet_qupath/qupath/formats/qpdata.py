"""Reads ``data.qpdata``, in which QuPath keeps the objects and settings of one image.

Laid out as QuPath 0.2 to 0.7 write it (``qupath.lib.io.PathIO``): version, server, locale, image type,
stains, history, object hierarchy, properties, "EOF". Never writes.
"""

from __future__ import annotations

import json
import os
import struct
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from ...core.errors import EntryDataError
from ..project import Annotation, Core, ObjectCounts, Plane, StainVectors
from . import roi as rois
from .bounded import read_bytes, read_json
from .javastream import ObjectStream
from .javavalues import JavaEnum, JavaObject, JavaStreamError
from .outlines import repeats

_OBJECTS = "qupath.lib.objects."
_ROIS = "qupath.lib.roi."
_ANNOTATION, _DETECTION = _OBJECTS + "PathAnnotationObject", _OBJECTS + "PathDetectionObject"
_CORE = _OBJECTS + "TMACoreObject"
_ANY_OBJECT, _ROOT = _OBJECTS + "PathObject", _OBJECTS + "PathRootObject"
_END = b"t\x00\x03EOF"
_ID_NAMESPACE = uuid.UUID("5b9aa1e4-6c7e-5a55-8b37-b0b9a5a7c3f2")


@dataclass(frozen=True)
class QpData:
    """The content of ``data.qpdata``.

    image_type : QuPath's name, "BRIGHTFIELD_H_E" and so on; "" if not set.
    server     : the image server as recorded (JSON), {} if none is.
    version    : of the QuPath that saved it, "" before 0.2.
    cores      : of the tissue microarray, in the order of the grid.
    """

    annotations: tuple[Annotation, ...]
    counts: ObjectCounts
    image_type: str = ""
    stains: StainVectors | None = None
    server: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""
    cores: tuple[Core, ...] = ()


def read_qpdata(path: Path) -> QpData:
    """Everything of interest in a ``data.qpdata`` file.

    Raises EntryDataError if the file is missing, empty, truncated, damaged or not QuPath data, or if its
    objects do not match the ``summary.json`` beside it.
    """
    try:
        data = read_bytes(path)
    except FileNotFoundError as error:
        raise EntryDataError(path, "is missing", _remedy(path)) from error
    except OSError as error:
        raise EntryDataError(path, f"cannot be read ({error.strerror})") from error
    if not data:
        raise EntryDataError(path, "is empty", _remedy(path))
    try:
        content = parse(data)
    except (JavaStreamError, rois.RoiError) as error:
        raise EntryDataError(path, f"is damaged or not QuPath data ({error})", _remedy(path)) from error
    compare_with_summary(path, content.counts)
    return content


def is_whole(path: Path) -> bool:
    """Whether a ``data.qpdata`` ends as QuPath writes it; most truncated files do not."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - len(_END)))
        return file.read() == _END


def _remedy(path: Path) -> str:
    """What to do about a ``data.qpdata`` that cannot be read."""
    backup = path.with_name(path.name + ".bkp")
    if backup.is_file() and backup.stat().st_size > 0:
        return (
            f"QuPath was stopped while saving and left {backup.name} beside it: "
            f"open and save the image in QuPath, or rename {backup.name} to {path.name}"
        )
    return "Put back a copy of the file from a backup, or open and save the image in QuPath"


def parse(data: bytes) -> QpData:
    """The content of a ``data.qpdata`` file. Raises JavaStreamError or rois.RoiError."""
    stream = ObjectStream(data, skim=(_DETECTION,), keep=(_ANNOTATION, _CORE), mark=_ROIS)
    items = iter(stream)
    version = next(items, None)
    if not isinstance(version, bytes) or not version[2:].startswith(b"Data file version"):
        raise JavaStreamError("not QuPath data")
    server, image_type, stains, whole, hierarchies = next(items, None), "", None, False, 0
    for item in items:
        if item == "EOF":
            whole = True
            break
        if isinstance(item, JavaEnum) and item.class_name.endswith("$ImageType"):
            image_type = item.constant
        elif isinstance(item, JavaObject):
            if item.class_name.endswith(".ColorDeconvolutionStains"):
                stains = _stains(item)
            hierarchies += item.class_name.endswith(".PathObjectHierarchy")
    if not whole or hierarchies != 1:
        raise JavaStreamError("cut off")
    with np.errstate(all="ignore"):
        drawn = [found for found in stream.kept if found.class_name != _CORE]
        annotations = tuple(_annotation(found, row) for row, found in enumerate(drawn))
        cores = tuple(_core(found) for found in stream.kept if found.class_name == _CORE)
    counts = ObjectCounts(
        annotations=len(annotations),
        detections=stream.count(_DETECTION),
        by_class=dict(Counter(annotation.path_class for annotation in annotations)),
        total=stream.count(_ANY_OBJECT) - stream.count(_ROOT),
        cells=stream.count(_OBJECTS + "PathCellObject"),
        repeated=repeats(np.array(stream.marks, np.int64)),
    )
    wrapper = _json(server)
    recorded = wrapper.get("server")
    return QpData(
        annotations=annotations,
        counts=counts,
        image_type="" if image_type == "UNSET" else image_type,
        stains=stains,
        server=recorded if isinstance(recorded, dict) else {},
        version=str(wrapper.get("qupathVersion") or ""),
        cores=cores,
    )


class _Cursor:
    """Reads what a class wrote itself, and checks that it is what QuPath writes."""

    def __init__(self, written: JavaObject) -> None:
        self._items = iter(written.contents)

    def next(self) -> Any:
        for item in self._items:
            return item
        raise JavaStreamError("an object is incomplete")

    def integer(self) -> int:
        """The number in the next run of primitive data; anything before it is skipped."""
        for item in self._items:
            if isinstance(item, bytes):
                if len(item) < 4:
                    break
                return int(struct.unpack(">i", item[:4])[0])
        raise JavaStreamError("an object lacks a number")


def _core(written: JavaObject) -> Core:
    cursor = _Cursor(written)
    drawn = _annotation(written, 0, cursor)
    # The probability of the class (eight bytes), then whether the core is missing.
    last = cursor.next()
    missing = isinstance(last, bytes) and len(last) > 8 and last[8] == 1
    return Core(**vars(drawn), missing=missing)


def _annotation(written: JavaObject, row: int, cursor: _Cursor | None = None) -> Annotation:
    cursor = cursor or _Cursor(written)
    name, color, third = cursor.next(), cursor.next(), cursor.next()
    identifier = ""
    if isinstance(third, JavaObject) and third.class_name == "java.util.UUID":
        bits = [third.fields.get(part, 0) & (2**64 - 1) for part in ("mostSigBits", "leastSigBits")]
        identifier = str(uuid.UUID(int=bits[0] << 64 | bits[1]))
        for _ in range(cursor.integer()):
            cursor.next()
    elif isinstance(third, JavaObject) and third.class_name == _OBJECTS + "MetadataMap":
        identifier = _metadata(third).get("Object ID", "")
    for _ in range(cursor.integer()):
        cursor.next()
    locked: Any = False
    path_class = cursor.next()
    if isinstance(path_class, JavaObject) and path_class.class_name == "java.lang.Boolean":
        locked, path_class = path_class.fields.get("value", False), cursor.next()
    kind, shape, plane = _shape(cursor.next())
    if not identifier:
        # Files from before QuPath 0.4 contain no ids; QuPath then creates new ones on every opening.
        identifier = str(uuid.uuid5(_ID_NAMESPACE, f"{row} {shapely.to_wkb(shape, hex=True)} {plane}"))
    return Annotation(
        id=identifier,
        geometry=shape,
        roi=kind,
        path_class=_class_name(path_class),
        name=name if isinstance(name, str) else None,
        color=_color(color),
        locked=bool(locked),
        plane=plane,
    )


def _metadata(written: JavaObject) -> dict[str, str]:
    cursor = _Cursor(written)
    _, keys, values = cursor.next(), cursor.next(), cursor.next()
    if not isinstance(keys, list) or not isinstance(values, list):
        raise JavaStreamError("damaged metadata")
    return {k: v for k, v in zip(keys, values, strict=False) if isinstance(k, str) and isinstance(v, str)}


def _color(written: Any) -> tuple[int, int, int] | None:
    value = written.fields.get("value") if isinstance(written, JavaObject) else None
    if not isinstance(value, int):
        return None
    return (value >> 16) & 255, (value >> 8) & 255, value & 255


def _class_name(written: Any) -> str:
    names: list[str] = []
    while isinstance(written, JavaObject):
        name = written.fields.get("name")
        if isinstance(name, str):
            names.append(name)
        if len(names) > 100:
            raise JavaStreamError("a class that derives from itself")
        parent = written.fields.get("parentClass")
        written = parent if parent is not written else None
    return ": ".join(reversed(names))


def _shape(written: Any) -> tuple[str, shapely.Geometry, Plane]:
    if written is None:
        return "Empty", shapely.GeometryCollection(), Plane()
    if not isinstance(written, JavaObject):
        raise JavaStreamError("an object without a shape")
    values = written.fields
    try:
        plane = Plane(c=int(values["c"]), z=int(values["z"]), t=int(values["t"]))
        kind = written.class_name.removeprefix(_ROIS).split("$")[0]
        match kind:
            case "RectangleROI" | "EllipseROI":
                make = rois.rectangle if kind == "RectangleROI" else rois.ellipse
                shape: shapely.Geometry = make(values["x"], values["y"], values["x2"], values["y2"])
            case "LineROI":
                shape = rois.line([values["x"], values["x2"]], [values["y"], values["y2"]])
            case "PolygonROI":
                shape = rois.polygon(values["x"], values["y"])
            case "PolylineROI":
                shape = rois.line(values["x"], values["y"])
            case "PointsROI":
                shape = rois.points(values["x"], values["y"])
            case "AreaROI":
                shape = rois.area([np.column_stack(xy) for xy in zip(values["x"], values["y"], strict=True)])
                kind = "GeometryROI"
            case "GeometryROI" if "wkb" in values:
                shape = rois.geometry(values["wkb"].tobytes())
            case _:
                raise JavaStreamError(f"a shape of an unknown kind ({written.class_name})")
    except (KeyError, TypeError, ValueError, AttributeError, shapely.errors.ShapelyError) as error:
        raise JavaStreamError(f"a damaged shape ({type(error).__name__})") from error
    return kind.removesuffix("ROI"), shape, plane


def _stains(written: JavaObject) -> StainVectors | None:
    """QuPath writes stains as a version number and a text of JSON."""
    texts = [item for item in written.contents if isinstance(item, str)]
    values = _json(texts[0] if texts else None)
    names, vectors = [], []
    for number in (1, 2, 3):
        vector = _triple(values.get(f"Values {number}"))
        if vector is not None:
            names.append(str(values.get(f"Stain {number}", f"Stain {number}")))
            vectors.append(vector)
    if len(vectors) < 2:
        return None
    return StainVectors(tuple(names), tuple(vectors), _triple(values.get("Background")) or (255.0,) * 3)


def _triple(text: object) -> tuple[float, float, float] | None:
    try:
        r, g, b = (float(number) for number in str(text).split())
    except ValueError:
        return None
    return r, g, b


def _json(text: object) -> dict[str, Any]:
    """A JSON object, or {} where the text is none (before 0.2 the server was a plain path)."""
    try:
        value = json.loads(text) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def compare_with_summary(path: Path, counts: ObjectCounts) -> bool:
    """Compare the objects read from ``data.qpdata`` with the ``summary.json`` that QuPath writes after it.

    Raises EntryDataError if they differ. Returns False without a (complete) summary.
    """
    summary = path.with_name("summary.json")
    try:
        hierarchy = read_json(summary)["hierarchy"]
        types = dict(hierarchy["objectTypeCounts"])
        classes = dict(hierarchy["annotationClassificationCounts"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if not all(isinstance(number, int) for number in types.values()):
        return False
    types.pop("Root objects", None)
    by_class = dict(counts.by_class)
    unclassified = by_class.pop("", 0)
    if unclassified:
        by_class["Unclassified"] = by_class.get("Unclassified", 0) + unclassified
    for what, here, there in (
        ("objects", counts.total, sum(types.values())),
        ("annotations", counts.annotations, types.get("Annotations", 0)),
        ("annotations by class", by_class, classes),
    ):
        if here != there:
            raise EntryDataError(
                path,
                f"contains other {what} ({_listed(here)}) than summary.json says ({_listed(there)})",
                "Open the image in QuPath, check its annotations and save it",
            )
    return True


def _listed(counts: object) -> str:
    if isinstance(counts, dict):
        return ", ".join(f"{name} {number}" for name, number in sorted(counts.items()))
    return str(counts)
