"""Nuclei as GeoJSON detections that QuPath 0.5 to 0.7 imports whole, and back.

One bad feature makes QuPath refuse a whole file, so outlines are repaired first: two decimals, valid,
closed, polygons of one part or multipolygons of several.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from ..errors import EntryDataError
from ..nuclei import Nuclei
from .geojson import CLOSING, OPENING, class_name, features, is_uuid, plane_of

PROBABILITY = "Detection probability"
"""The measurement under which QuPath's StarDist extension keeps the probability; ours as well."""

Color = tuple[int, int, int]

_BLOCK = 20_000
_ID_NAMESPACE = uuid.UUID("0d8f3c52-90a5-5d0a-8e55-4f1c9e7a6b44")
_DEFAULT_COLOR = (60, 160, 60)
_POLYGON, _MULTIPOLYGON = int(shapely.GeometryType.POLYGON), int(shapely.GeometryType.MULTIPOLYGON)


def write_detections(path: Path, nuclei: Nuclei, colors: Mapping[str, Color] | None = None) -> int:
    """Write nuclei as detections that QuPath imports (``.geojson.gz``), whole or not at all.

    colors : of classes by full name; QuPath takes them for classes that it does not know yet.

    Returns how many were written: an outline that encloses nothing on the grid of 0.01 px is left out.
    NaN measurements are left out as well. Raises EntryDataError.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    written = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as raw:
            # No name and no time inside, so that equal nuclei give equal bytes.
            with gzip.GzipFile("", "wb", compresslevel=4, fileobj=raw, mtime=0) as file:
                names = json.dumps([str(name) for name in nuclei.measurements.columns], ensure_ascii=False)
                file.write(f'{OPENING[0]},"measurements":{names},{OPENING[1]}'.encode())
                for start in range(0, len(nuclei), _BLOCK):
                    lines = feature_lines(_rows(nuclei, start, start + _BLOCK), colors)
                    if lines:
                        file.write((",\n" if written else "").encode())
                        file.write(",\n".join(lines).encode())
                    written += len(lines)
                file.write((("\n" if written else "") + CLOSING).encode())
            raw.flush()
            os.fsync(raw.fileno())
        temporary.replace(path)
    except OSError as error:
        raise EntryDataError(path, f"cannot be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)
    return written


def _rows(nuclei: Nuclei, start: int, stop: int) -> Nuclei:
    return nuclei.take(np.arange(start, min(stop, len(nuclei))))


def feature_lines(nuclei: Nuclei, colors: Mapping[str, Color] | None = None) -> list[str]:
    """One GeoJSON feature per nucleus that has an area, as text without line breaks."""
    outlines = importable(nuclei.polygons)
    kept = np.flatnonzero(~shapely.is_empty(outlines))
    geometries: list[str] = shapely.to_geojson(outlines[kept]).tolist()
    classes = {name: _classification(name, colors or {}) for name in set(nuclei.classes[kept])}
    measurements = _measurement_texts(nuclei, kept)
    lines = []
    for row, geometry, measured in zip(kept.tolist(), geometries, measurements, strict=True):
        z, t = int(nuclei.z[row]), int(nuclei.t[row])
        if z or t:
            geometry = f'{geometry[:-1]},"plane":{{"c":-1,"z":{z},"t":{t}}}}}'
        identifier = str(nuclei.ids[row])
        if not is_uuid(identifier):
            identifier = str(uuid.uuid5(_ID_NAMESPACE, identifier))
        lines.append(
            f'{{"type":"Feature","id":"{identifier}","geometry":{geometry},'
            f'"properties":{{"objectType":"detection"{classes[nuclei.classes[row]]}{measured}}}}}'
        )
    return lines


def importable(polygons: NDArray[np.object_]) -> NDArray[np.object_]:
    """Outlines as they may be written: two decimals, valid, Polygon or MultiPolygon of several parts.

    A nucleus whose outline falls apart when repaired keeps its biggest part; what encloses nothing
    becomes an empty Polygon. None is taken as empty.
    """
    given = polygons.copy()
    given[shapely.is_missing(given)] = shapely.Polygon()
    with np.errstate(all="ignore"):
        rounded = shapely.transform(given, lambda xy: np.round(xy, 2) + 0.0)
        result: NDArray[np.object_] = np.asarray(rounded, dtype=object)
        kinds = shapely.get_type_id(result)
        sound = shapely.is_valid(result) & ((kinds == _POLYGON) | (kinds == _MULTIPOLYGON))
        for row in np.flatnonzero(~sound):
            result[row] = _repaired(result[row])
        multiple = shapely.get_type_id(result) == _MULTIPOLYGON
        single = multiple & (shapely.get_num_geometries(result) == 1)
        result[single] = shapely.get_geometry(result[single], 0)
        result[shapely.area(result) == 0] = shapely.Polygon()
    return result


def _repaired(broken: shapely.Geometry) -> shapely.Geometry:
    if not np.all(np.isfinite(shapely.get_coordinates(broken))):
        return shapely.Polygon()
    # Repairing makes new vertices off the grid, and the grid can break the repaired again: both at once.
    repaired = shapely.set_precision(shapely.make_valid(broken), 0.01)
    parts: NDArray[np.object_] = shapely.get_parts(shapely.get_parts(repaired))
    parts = parts[shapely.get_type_id(parts) == _POLYGON]
    parts = parts[shapely.area(parts) > 0]
    if len(parts) == 0:
        return shapely.Polygon()
    if shapely.get_type_id(broken) == _MULTIPOLYGON:
        return shapely.MultiPolygon(list(parts))
    biggest: shapely.Geometry = parts[np.argmax(shapely.area(parts))]
    return biggest


def class_names(path_class: str) -> list[str]:
    """The parts of a class name: "Tumor: Positive" derives from "Tumor"."""
    return [part.strip() for part in path_class.split(":") if part.strip()]


def _classification(path_class: str, colors: Mapping[str, Color]) -> str:
    names = class_names(path_class)
    if not names:
        return ""
    # QuPath 0.5 refuses a class without a colour, and a derived class that is not given as a list.
    color = list(colors.get(path_class, _DEFAULT_COLOR))
    classification: dict[str, Any] = {"name": names[0]} if len(names) == 1 else {"names": names}
    return ',"classification":' + json.dumps({**classification, "color": color}, ensure_ascii=False)


def _measurement_texts(nuclei: Nuclei, rows: NDArray[np.intp]) -> list[str]:
    table = nuclei.measurements
    columns: list[tuple[str, NDArray[np.float64]]] = []
    if PROBABILITY not in table.columns:
        columns.append((PROBABILITY, nuclei.probability.astype(np.float64)))
    columns += [(str(name), table[name].to_numpy(np.float64)) for name in table.columns]
    keys = [json.dumps(name, ensure_ascii=False) for name, _ in columns]
    if not columns:
        return [""] * len(rows)
    values = np.column_stack([column[rows] for _, column in columns]).tolist()
    texts = []
    for row in values:
        pairs = [
            f"{key}:{_number(value)}" for key, value in zip(keys, row, strict=True) if math.isfinite(value)
        ]
        texts.append(f',"measurements":{{{",".join(pairs)}}}' if pairs else "")
    return texts


def _number(value: float) -> str:
    return f"{value:.9g}"  # all that 32 bits hold, in which QuPath keeps measurements


def read_detections(path: Path) -> Nuclei:
    """The detections of a GeoJSON file as nuclei, in the file's order. Raises EntryDataError."""
    blocks: list[Nuclei] = []
    batch: list[dict[str, Any]] = []
    columns: list[str] = []
    for feature in features(path):
        if feature.get("type") == "FeatureCollection":
            columns = [str(name) for name in feature.get("measurements") or ()]
            continue
        properties = feature.get("properties")
        if isinstance(properties, dict) and properties.get("objectType") in ("detection", "cell", "tile"):
            batch.append(feature)
        if len(batch) == _BLOCK:
            blocks.append(_nuclei(path, batch, columns))
            batch = []
    blocks.append(_nuclei(path, batch, columns))
    return _joined(blocks)


def _nuclei(path: Path, batch: list[dict[str, Any]], columns: list[str]) -> Nuclei:
    try:
        polygons = np.empty(len(batch), dtype=object)
        polygons[:] = _geometries([feature["geometry"] for feature in batch])
        planes = [plane_of(feature["geometry"]) for feature in batch]
        measured = [feature["properties"].get("measurements") or {} for feature in batch]
        table = pd.DataFrame(measured, index=pd.RangeIndex(len(batch)), dtype=np.float64)
        names = [*columns, *(name for name in table.columns if name not in columns)]
        table = table.reindex(columns=names)
        probability = (
            table.pop(PROBABILITY).to_numpy(np.float32)
            if PROBABILITY in table.columns
            else np.full(len(batch), np.nan, np.float32)
        )
        classes = [class_name(feature["properties"].get("classification")) for feature in batch]
        return Nuclei(
            polygons=polygons,
            probability=probability,
            classes=np.array(classes, dtype=object),
            ids=np.array([str(feature.get("id", "")) for feature in batch], dtype=object),
            z=np.array([plane.z for plane in planes], np.int32),
            t=np.array([plane.t for plane in planes], np.int32),
            measurements=table,
        )
    except (KeyError, TypeError, ValueError, AttributeError, shapely.errors.ShapelyError) as error:
        raise EntryDataError(
            path, "holds a detection that cannot be read", "Segment the image again"
        ) from error


def _geometries(drawn: list[dict[str, Any]]) -> NDArray[np.object_]:
    """Polygons and MultiPolygons of GeoJSON geometries: two vectorised calls whatever their number."""
    if not drawn:
        return np.empty(0, dtype=object)
    rings: list[NDArray[np.float64]] = []
    ring_polygon: list[int] = []
    polygon_row: list[int] = []
    for row, geometry in enumerate(drawn):
        kind = geometry["type"]
        if kind not in ("Polygon", "MultiPolygon"):
            raise ValueError(f"a nucleus cannot be a {kind}")
        for part in [geometry["coordinates"]] if kind == "Polygon" else geometry["coordinates"]:
            for ring in part:
                rings.append(np.asarray(ring, np.float64)[:, :2])
                ring_polygon.append(len(polygon_row))
            polygon_row.append(row)
    owners = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    linear = np.asarray(shapely.linearrings(np.concatenate(rings), indices=owners), dtype=object)
    parts = np.asarray(shapely.polygons(linear, indices=np.asarray(ring_polygon)), dtype=object)
    result = np.empty(len(drawn), dtype=object)
    rows = np.asarray(polygon_row)
    result[rows] = parts
    for row, count in Counter(polygon_row).items():
        if count > 1:
            result[row] = shapely.multipolygons(parts[rows == row])
    return result


def _joined(blocks: list[Nuclei]) -> Nuclei:
    if len(blocks) == 1:
        return blocks[0]
    return Nuclei(
        polygons=np.concatenate([block.polygons for block in blocks]),
        probability=np.concatenate([block.probability for block in blocks]),
        classes=np.concatenate([block.classes for block in blocks]),
        ids=np.concatenate([block.ids for block in blocks]),
        z=np.concatenate([block.z for block in blocks]),
        t=np.concatenate([block.t for block in blocks]),
        measurements=pd.concat([block.measurements for block in blocks], ignore_index=True),
    )
