"""Features in this tool's own GeoJSON layout, one per line, parsed in chunks into columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from ...core.lazy import lazy
from .bounded import parse_json
from .geojson import class_name, plane_of
from .geometries import from_geojsons
from .outlines import MULTIPOLYGON, POLYGON

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.json as pj
else:
    pd = lazy("pandas")
    pa = lazy("pyarrow")
    pj = lazy("pyarrow.json")


@dataclass(frozen=True)
class FeatureColumns:
    """n features: ``polygons`` of nuclei, ``cells`` (None for a nucleus without one), ``parents`` by id."""

    ids: NDArray[np.object_]
    polygons: NDArray[np.object_]
    cells: NDArray[np.object_] | None
    classes: NDArray[np.object_]
    parents: NDArray[np.object_]
    z: NDArray[np.int32]
    t: NDArray[np.int32]
    measurements: pd.DataFrame


def parse_lines(lines: Sequence[str], names: Sequence[str]) -> FeatureColumns:
    """Features as this tool writes them, one per line, without the trailing comma.

    names : of the measurements listed at the head of the file, in order; others are appended.
    Raises ValueError, LookupError or TypeError if a line is not such a feature.
    """
    if len(names) > _MOST_MEASUREMENTS:
        raise ValueError("too many measurements")
    if not any('"MultiPolygon"' in line for line in lines):
        try:
            return _all_polygons(lines, names)
        except pa.ArrowInvalid:  # a member that this tool does not write, which Arrow is not trusted with
            pass
    read = parse_features([parse_json(line) for line in lines], names)
    if shapely.has_z(read.polygons).any():
        raise ValueError("points of other than two coordinates")
    return read


def parse_features(features: Sequence[Mapping[str, Any]], names: Sequence[str]) -> FeatureColumns:
    """Features from any program, as decoded JSON; else as ``parse_lines``."""
    properties = [feature.get("properties") or {} for feature in features]
    cells = [feature["geometry"] if feature.get("nucleusGeometry") else None for feature in features]
    nuclei = [feature.get("nucleusGeometry") or feature["geometry"] for feature in features]
    planes = [plane_of(shape) for shape in nuclei]
    measured = {name for one in properties for name in one.get("measurements") or ()}
    if len(measured) > _MOST_MEASUREMENTS:
        raise ValueError("too many measurements")
    table = pd.DataFrame(
        [one.get("measurements") or {} for one in properties],
        index=pd.RangeIndex(len(features)),
        dtype=np.float64,
    )
    return FeatureColumns(
        ids=_objects([str(feature.get("id")) for feature in features]),
        polygons=_shapes(nuclei),
        cells=_shapes(cells) if any(cells) else None,
        classes=_objects([class_name(one.get("classification")) for one in properties]),
        parents=_objects([str(feature.get("parent") or "") for feature in features]),
        z=np.array([plane.z for plane in planes], np.int32),
        t=np.array([plane.t for plane in planes], np.int32),
        measurements=table.reindex(columns=list(dict.fromkeys([*names, *table.columns]))),
    )


def _objects(values: Sequence[object]) -> NDArray[np.object_]:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _shapes(geometries: Sequence[Mapping[str, Any] | None]) -> NDArray[np.object_]:
    shapes = np.full(len(geometries), None, dtype=object)
    drawn = [row for row, geometry in enumerate(geometries) if geometry is not None]
    shapes[drawn] = from_geojsons([geometry for geometry in geometries if geometry is not None])
    there = shapes[~shapely.is_missing(shapes)]
    if not np.isin(shapely.get_type_id(there), (POLYGON, MULTIPOLYGON)).all():
        raise ValueError("a nucleus is not a polygon")
    return shapes


@cache
def _geometry_type() -> pa.DataType:
    return pa.struct(
        [
            ("type", pa.string()),
            ("coordinates", pa.list_(pa.list_(pa.list_(pa.float64())))),
            ("plane", pa.struct([("c", pa.int32()), ("z", pa.int32()), ("t", pa.int32())])),
        ]
    )


@cache
def _class_type() -> pa.DataType:
    return pa.struct(
        [("name", pa.string()), ("names", pa.list_(pa.string())), ("color", pa.list_(pa.int64()))]
    )


_MOST_MEASUREMENTS = 5000
"""Names of measurements in one chunk of features; every name costs a column of numbers."""


def _all_polygons(lines: Sequence[str], names: Sequence[str]) -> FeatureColumns:
    """As ``parse_features``; Arrow's parser is faster, but wants one layout of coordinates for all."""
    measured_fields = pa.struct([(name, pa.float64()) for name in names])
    fields = [
        ("objectType", pa.string()),
        ("classification", _class_type()),
        ("measurements", measured_fields),
    ]
    schema = [("type", pa.string()), ("id", pa.string()), ("parent", pa.string())]
    schema += [
        ("geometry", _geometry_type()),
        ("nucleusGeometry", _geometry_type()),
        ("properties", pa.struct(fields)),
    ]
    if not all(line.startswith("{") for line in lines):
        raise ValueError("a line is not a feature")  # Arrow itself ends the process at a leading `null`
    raw = "\n".join(lines).encode()
    table = pj.read_json(
        pa.BufferReader(raw),
        pj.ReadOptions(use_threads=False, block_size=len(raw) + 1),
        pj.ParseOptions(explicit_schema=pa.schema(schema), unexpected_field_behavior="error"),
    )
    column = {name: table[name].combine_chunks() for name in table.column_names}
    n, properties = len(table), column["properties"]
    if n != len(lines) or column["id"].null_count or column["geometry"].null_count:
        raise ValueError("a line is not a feature")
    has_cell = column["nucleusGeometry"].is_valid().to_numpy(zero_copy_only=False)
    outer = _polygons(column["geometry"])
    nuclei, cells = outer, None
    if has_cell.any():
        inner = _polygons(column["nucleusGeometry"])
        nuclei, cells = np.where(has_cell, inner, outer), outer.copy()
        cells[~has_cell] = None
    planes = _flat(column["geometry"])["plane"]
    measured = _flat(_flat(properties)["measurements"])
    values = {
        name: field.cast(pa.float64()).to_numpy(zero_copy_only=False) for name, field in measured.items()
    }
    return FeatureColumns(
        ids=_objects(column["id"].to_pylist()),
        polygons=nuclei,
        cells=cells,
        classes=_classes(_flat(properties)["classification"]),
        parents=_objects(column["parent"].fill_null("").to_pylist()),
        z=_flat(planes)["z"].fill_null(0).to_numpy(zero_copy_only=False).astype(np.int32),
        t=_flat(planes)["t"].fill_null(0).to_numpy(zero_copy_only=False).astype(np.int32),
        measurements=pd.DataFrame(values, index=pd.RangeIndex(n), dtype=np.float64),
    )


def _flat(struct: pa.StructArray) -> dict[str, pa.Array]:
    """The fields of a column of structs, null where the struct is."""
    return dict(zip([field.name for field in struct.type], struct.flatten(), strict=True))


def _polygons(geometry: pa.StructArray) -> NDArray[np.object_]:
    """Polygons of GeoJSON geometries; None for none."""
    kind, coordinates = geometry.field("type").drop_null(), _flat(geometry)["coordinates"]
    if kind.unique().to_pylist() not in ([], ["Polygon"]):
        raise ValueError("a nucleus is not a polygon")
    there = coordinates.is_valid().to_numpy(zero_copy_only=False)
    rings = coordinates.drop_null()
    points = rings.flatten()
    pairs = points.flatten()
    xy = pairs.flatten().to_numpy()
    if len(xy) != 2 * len(pairs):
        raise ValueError("points of other than two coordinates")
    offsets = [_offsets(points), _offsets(rings)]
    shapes = np.full(len(geometry), None, dtype=object)
    shapes[there] = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, xy.reshape(-1, 2), (offsets[0], offsets[1])
    )
    return shapes


def _offsets(lists: pa.ListArray) -> NDArray[np.int64]:
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def _classes(classification: pa.StructArray) -> NDArray[np.object_]:
    """Full names of classes: of one name, or of a list of names for a derived class."""
    parts = _flat(classification)
    classes = _objects(parts["name"].fill_null("").to_pylist())
    for row in np.flatnonzero(parts["names"].is_valid().to_numpy(zero_copy_only=False)).tolist():
        classes[row] = class_name({"names": parts["names"][row].as_py()})
    return classes
