"""Nuclei as GeoJSON detections that QuPath 0.5 to 0.7 imports whole, and back.

One bad feature makes QuPath refuse a whole file, so outlines are repaired first: two decimals, valid,
closed, polygons of one part or multipolygons of several.
"""

from __future__ import annotations

import gzip
import itertools
import json
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from ..atomic import replacing
from ..errors import EntryDataError
from ..nuclei import Nuclei, empty
from .geojson import class_name, features, is_uuid, open_text, plane_of
from .project import Plane

PROBABILITY = "Detection probability"
"""The measurement under which QuPath's StarDist extension keeps the probability; ours as well."""

Color = tuple[int, int, int]

_OPENING = ('{"type":"FeatureCollection","measurements":', ',"features":[\n')
_CLOSING = "]}\n"
_BLOCK = 20_000
_ID_NAMESPACE = uuid.UUID("0d8f3c52-90a5-5d0a-8e55-4f1c9e7a6b44")
DEFAULT_COLOR = (60, 160, 60)
"""Of a class that the project gives no colour."""

_POLYGON, _MULTIPOLYGON = int(shapely.GeometryType.POLYGON), int(shapely.GeometryType.MULTIPOLYGON)


def write_detections(path: Path, nuclei: Nuclei, colors: Mapping[str, Color] | None = None) -> int:
    """Write nuclei as detections that QuPath imports (``.geojson.gz``), whole or not at all.

    colors : of classes by full name; QuPath takes them for classes that it does not know yet.

    Returns how many were written: an outline that encloses nothing on the grid of 0.01 px is left out.
    NaN measurements are left out as well. Raises EntryDataError.
    """
    written = 0
    names = json.dumps([str(name) for name in nuclei.measurements.columns], ensure_ascii=False)
    try:
        # No name and no time inside, so that equal nuclei give equal bytes.
        with (
            replacing(path) as part,
            part.open("wb") as raw,
            gzip.GzipFile("", "wb", compresslevel=2, fileobj=raw, mtime=0) as file,
        ):
            file.write((_OPENING[0] + names + _OPENING[1]).encode())
            for start in range(0, len(nuclei), _BLOCK):
                lines = feature_lines(_rows(nuclei, start, start + _BLOCK), colors)
                if lines:
                    file.write(((",\n" if written else "") + ",\n".join(lines)).encode())
                written += len(lines)
            file.write((("\n" if written else "") + _CLOSING).encode())
    except OSError as error:
        raise EntryDataError(path, f"cannot be written ({error.strerror})") from error
    return written


def _rows(nuclei: Nuclei, start: int, stop: int) -> Nuclei:
    return nuclei.take(np.arange(start, min(stop, len(nuclei))))


def feature_lines(nuclei: Nuclei, colors: Mapping[str, Color] | None = None) -> list[str]:
    """One GeoJSON feature per nucleus that has an area, as text without line breaks."""
    outlines, nuclei = with_area(nuclei)
    geometries: list[str] = shapely.to_geojson(outlines).tolist()
    classes = {name: _classification(name, colors or {}) for name in set(nuclei.classes)}
    lines = []
    for row, (geometry, measured) in enumerate(zip(geometries, _measurement_texts(nuclei), strict=True)):
        z, t = int(nuclei.z[row]), int(nuclei.t[row])
        if z or t:
            geometry = f'{geometry[:-1]},"plane":{{"c":-1,"z":{z},"t":{t}}}}}'
        lines.append(
            f'{{"type":"Feature","id":"{qupath_id(nuclei.ids[row])}","geometry":{geometry},'
            f'"properties":{{"objectType":"detection"{classes[nuclei.classes[row]]}{measured}}}}}'
        )
    return lines


def with_area(nuclei: Nuclei) -> tuple[NDArray[np.object_], Nuclei]:
    """The nuclei that enclose anything on the grid of 0.01 px, and their outlines made importable."""
    outlines = importable(nuclei.polygons)
    kept = np.flatnonzero(~shapely.is_empty(outlines))
    return outlines[kept], nuclei.take(kept)


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
    color = list(colors.get(path_class, DEFAULT_COLOR))
    classification: dict[str, Any] = {"name": names[0]} if len(names) == 1 else {"names": names}
    return ',"classification":' + json.dumps({**classification, "color": color}, ensure_ascii=False)


def columns(nuclei: Nuclei) -> tuple[list[str], NDArray[np.float64]]:
    """Names and (n, m) values of what QuPath gets as measurements; NaN for none."""
    table = nuclei.measurements
    names = [str(name) for name in table.columns]
    values = [table.to_numpy(np.float64)]
    if PROBABILITY not in names:
        names.insert(0, PROBABILITY)
        values.insert(0, nuclei.probability[:, np.newaxis].astype(np.float64))
    joined = np.concatenate(values, axis=1)
    return names, np.where(np.isfinite(joined), joined, np.nan)


def qupath_id(identifier: object) -> str:
    """An id as QuPath keeps it; one that is no UUID is replaced, always by the same."""
    text = str(identifier)
    return text if is_uuid(text) else str(uuid.uuid5(_ID_NAMESPACE, text))


def _measurement_texts(nuclei: Nuclei) -> list[str]:
    names, values = columns(nuclei)
    keys = [json.dumps(name, ensure_ascii=False) for name in names]
    texts = []
    for row in values.tolist():
        # nine digits are all that 32 bits hold, in which QuPath keeps measurements
        pairs = [f"{key}:{value:.9g}" for key, value in zip(keys, row, strict=True) if value == value]
        texts.append(f',"measurements":{{{",".join(pairs)}}}' if pairs else "")
    return texts


def read_detections(path: Path) -> Nuclei:
    """The detections of a GeoJSON file as nuclei, in the file's order. Raises EntryDataError.

    A file that this tool wrote is never held in memory as a whole.
    """
    try:
        with open_text(path) as file:
            first = file.readline()
            ours = first.startswith(_OPENING[0]) and first.endswith(_OPENING[1])
            columns = [str(name) for name in json.loads(first + _CLOSING)["measurements"]] if ours else []
            lines = _lines_of_ours(file) if ours else _lines_of_others(features(path))
            blocks = [_nuclei(block, columns) for block in _blocks(lines)]
    except OSError as error:
        raise EntryDataError(path, f"cannot be read ({error.strerror or error})") from error
    except (ValueError, LookupError, TypeError, AttributeError, EOFError, zlib.error) as error:
        raise _unreadable(path) from error
    except shapely.errors.ShapelyError as error:
        raise _unreadable(path) from error
    return joined(blocks)


def _unreadable(path: Path) -> EntryDataError:
    return EntryDataError(path, "is cut off or damaged", "Segment the image again")


def _lines_of_ours(file: TextIO) -> Iterator[str]:
    for line in file:
        if line == _CLOSING:
            return
        yield line.rstrip(",\n")
    raise ValueError("no end")


def _lines_of_others(found: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for feature in found:
        properties = feature.get("properties") or {}
        if properties.get("objectType") in ("detection", "cell", "tile"):
            ordered = {key: feature.get(key) for key in ("type", "id", "geometry")}
            yield json.dumps({**ordered, "properties": properties}, separators=(",", ":"))


def _blocks(lines: Iterator[str]) -> Iterator[list[str]]:
    while block := list(itertools.islice(lines, _BLOCK)):
        yield block


def _nuclei(lines: list[str], columns: list[str]) -> Nuclei:
    """Nuclei of features in this tool's own layout. Parsing geometries by the block is what makes it fast."""
    ids, outlines, rest = [], [], []
    for line in lines:
        head, _, properties = line.partition(',"properties":')
        start, _, outline = head.partition(',"geometry":')
        ids.append(json.loads(start + "}").get("id"))
        outlines.append(outline)
        rest.append(json.loads(properties[:-1]))
    polygons = np.asarray(shapely.from_geojson(outlines), dtype=object)
    if not np.isin(shapely.get_type_id(polygons), (_POLYGON, _MULTIPOLYGON)).all():
        raise ValueError("a nucleus that is no polygon")
    planes = [plane_of(json.loads(outline)) if '"plane":' in outline else Plane() for outline in outlines]
    n = len(lines)
    table = pd.DataFrame(
        [properties.get("measurements") or {} for properties in rest], pd.RangeIndex(n), dtype=np.float64
    )
    table = table.reindex(columns=list(dict.fromkeys([*columns, *table.columns])))
    classes = np.empty(n, dtype=object)
    classes[:] = [class_name(properties.get("classification")) for properties in rest]
    return Nuclei(
        polygons=polygons,
        probability=taken_probability(table),
        classes=classes,
        ids=np.array([str(identifier) for identifier in ids], dtype=object),
        z=np.array([plane.z for plane in planes], np.int32),
        t=np.array([plane.t for plane in planes], np.int32),
        measurements=table,
    )


def taken_probability(table: pd.DataFrame) -> NDArray[np.float32]:
    """The column of probabilities, taken out of a table of measurements; NaN where it has none."""
    if PROBABILITY in table.columns:
        return table.pop(PROBABILITY).to_numpy(np.float32)
    return np.full(len(table), np.nan, np.float32)


def read_ids(path: Path) -> set[str]:
    """The ids of the detections in a file that this tool wrote. Raises EntryDataError."""
    try:
        with open_text(path) as file:
            file.readline()
            return {
                str(json.loads(line.partition(',"geometry":')[0] + "}")["id"])
                for line in _lines_of_ours(file)
            }
    except OSError as error:
        raise EntryDataError(path, f"cannot be read ({error.strerror or error})") from error
    except (ValueError, LookupError, TypeError, EOFError, zlib.error) as error:
        raise _unreadable(path) from error


def joined(blocks: Sequence[Nuclei]) -> Nuclei:
    """Nuclei of several blocks as one, in order."""
    if not blocks:
        return empty()
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
