"""GeoJSON as QuPath 0.5 to 0.7 writes it: features, and the annotations among them.

Coordinates are full-resolution pixels with two decimals.
"""

from __future__ import annotations

import re
import uuid
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from ...core.errors import EntryDataError
from ..project import Annotation, Plane
from . import roi as rois
from .bounded import open_text, parse_json
from .geometries import from_geojsons

_ID_NAMESPACE = uuid.UUID("0d8f3c52-90a5-5d0a-8e55-4f1c9e7a6b44")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def read_annotations(path: Path) -> list[Annotation]:
    """The annotations of a ``.geojson`` or ``.geojson.gz`` file; objects of other types are left out.

    The file may hold a FeatureCollection, a list of features or a single feature. Raises EntryDataError.
    """
    return read_objects(path)[0]


def read_objects(path: Path) -> tuple[list[Annotation], Counter[str]]:
    """The same, and how many objects of each other type the file contains (see ``object_type``)."""
    items: list[Mapping[str, Any]] = []
    others: Counter[str] = Counter()
    number = 0
    try:
        first: list[int] = []
        for number, feature in enumerate(features(path), start=1):
            for item in with_children(feature, DEEPEST_OBJECT):
                kind = object_type(item)
                if kind == "annotation":
                    items.append(item)
                    first.append(number)
                else:
                    others[kind] += 1
        try:
            return _annotations(items), others
        except _FAULTS:
            # One by one, to say which it is.
            for at, item in zip(first, items, strict=True):
                number = at
                _annotations([item])
            raise
    except _FAULTS as error:
        raise EntryDataError(
            path, f"feature {number} is not an object that QuPath knows", "Export it again from QuPath"
        ) from error


_FAULTS = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    shapely.errors.ShapelyError,
)

DEEPEST_OBJECT = 50
"""Objects inside objects; real hierarchies have a handful of levels."""

_TYPES = {
    "PathTileObject": "tile",
    "PathCellObject": "cell",
    "TMACoreObject": "tmaCore",
    "tma_core": "tmaCore",
    "PathDetectionObject": "detection",
    "PathRootObject": "root",
    "PathAnnotationObject": "annotation",
}
"""QuPath's other names of object types; those of classes were once written as ids."""

DETECTION_TYPES = ("detection", "cell", "tile")


def object_type(feature: Mapping[str, Any]) -> str:
    """The type of object that QuPath makes of a feature: "annotation", "detection", "cell", "tile" and so on.

    The first of ``objectType``, ``object_type`` and ``type`` in its properties, else an id that is the name
    of a class of objects. Whatever QuPath does not know is an annotation.
    """
    properties = feature.get("properties") or {}
    keys = (key for key in ("objectType", "object_type", "type") if key in properties)
    key = next(keys, None)
    written = properties[key] if key else feature.get("id")
    if key is None and written not in _TYPES:
        return "annotation"
    kind = _TYPES.get(str(written), str(written))
    return kind if kind in _TYPES.values() else "annotation"


def with_children(feature: Mapping[str, Any], levels: int) -> Iterator[Mapping[str, Any]]:
    """A feature and the child objects in its properties. Raises ValueError below so many ``levels``."""
    if not levels:
        raise ValueError("objects nested too deeply")
    yield feature
    properties = feature.get("properties") or {}
    children = properties.get("childObjects" if "childObjects" in properties else "children")
    for child in children if isinstance(children, list) else ():
        yield from with_children(child, levels - 1)


def _annotations(items: Sequence[Mapping[str, Any]]) -> list[Annotation]:
    """Annotations of features; their geometries are made all at once."""
    drawn = [item["geometry"] for item in items]
    shapes = from_geojsons(drawn)
    rois.snap(shapely.get_coordinates(shapes))
    names = rois.names_of(shapes, np.array([bool(one.get("isEllipse")) for one in drawn], bool))
    ids = _identifiers([item.get("id") for item in items], shapes)
    properties = [item.get("properties") or {} for item in items]
    return list(map(_annotation, ids, drawn, shapes, names.tolist(), properties))


def _annotation(
    identifier: str,
    drawn: Mapping[str, Any],
    geometry: shapely.Geometry,
    roi: str,
    properties: Mapping[str, Any],
) -> Annotation:
    name = properties.get("name")
    return Annotation(
        id=identifier,
        geometry=geometry,
        roi=roi,
        path_class=class_name(properties.get("classification")),
        name=whole_text(name) if isinstance(name, str) else None,
        color=_rgb(properties.get("color")),
        locked=properties.get("isLocked") is True,
        plane=plane_of(drawn),
    )


def _identifiers(written: Sequence[object], geometries: NDArray[np.object_]) -> list[str]:
    """The ids of features; where one is no UUID, one that depends only on the geometry.

    Of equal geometries, all but the first have others, by their order: an area can have several classes.
    """
    ids = [str(one) for one in written]
    missing = [row for row, text in enumerate(ids) if not is_uuid(text)]
    seen: Counter[str] = Counter()
    for row, wkb in zip(missing, shapely.to_wkb(geometries[missing], hex=True).tolist(), strict=True):
        seen[wkb] += 1
        ids[row] = str(uuid.uuid5(_ID_NAMESPACE, wkb if seen[wkb] == 1 else f"{wkb}|{seen[wkb]}"))
    return ids


def is_uuid(text: str) -> bool:
    """Whether a text is an id that QuPath keeps; it replaces all others."""
    return _UUID.fullmatch(text) is not None


def class_name(classification: object) -> str:
    """The full name of a feature's ``classification`` member: "" for none, "A: B" for a derived class."""
    if isinstance(classification, str):
        written = structured(classification)
        if not isinstance(written, dict) or not {"name", "names"} & written.keys():
            return whole_text(classification)
        classification = written
    if isinstance(classification, dict):
        names = classification.get("names")
        if isinstance(names, list):
            return whole_text(": ".join(str(name) for name in names if name is not None))
        return whole_text(str(classification.get("name") or ""))
    return ""


def structured(member: object) -> object:
    """A member of a feature's properties, of which GDAL (geopandas, QGIS, sf) made a text of JSON."""
    if isinstance(member, str) and member.lstrip().startswith(("{", "[")):
        with suppress(ValueError):
            return parse_json(member)
    return member


def whole_text(text: str) -> str:
    """A text without lone surrogates, which no file and no terminal can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _rgb(color: object) -> tuple[int, int, int] | None:
    if isinstance(color, int):
        return (color >> 16) & 255, (color >> 8) & 255, color & 255
    if isinstance(color, list) and len(color) >= 3:
        return int(color[0]), int(color[1]), int(color[2])
    return None


def plane_of(drawn: Mapping[str, Any]) -> Plane:
    """The plane of a feature's ``geometry`` member."""
    written = drawn.get("plane") or {}
    return Plane(int(written.get("c", -1)), int(written.get("z", 0)), int(written.get("t", 0)))


def features(path: Path) -> Iterator[dict[str, Any]]:
    """The features of a GeoJSON file that is read as a whole. Raises EntryDataError."""
    try:
        with open_text(path) as file:
            content = parse_json(file.read())
    except OSError as error:
        raise EntryDataError(path, f"cannot be read ({error.strerror or error})") from error
    except (ValueError, EOFError, zlib.error) as error:
        raise EntryDataError(path, "is cut off or no GeoJSON", "Write it again, or delete it") from error
    if isinstance(content, dict):
        content = content.get("features", [content])
    if not isinstance(content, list) or not all(isinstance(feature, dict) for feature in content):
        raise EntryDataError(path, "is not GeoJSON", "Write it again, or delete it")
    yield from content
