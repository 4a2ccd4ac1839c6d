"""Nuclei as QuPath's own measurement table: the same columns, order, and number format."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from ..measure.tile import TOUCHES_EDGE
from ..nuclei import Nuclei
from ..qupath.formats.detections import PROBABILITY
from ..qupath.formats.outlines import drawn, importable
from ..qupath.project import DetectionChunk, ImageEntry
from .cells import text_cells, text_column, writable

IMAGE_NAME, OBJECT_ID = "Image", "Object ID"
GEOMETRY = "geometry"
"""Name of the column of the nuclei's outlines (WKB, full-resolution pixels); text tables have none."""
CELL_GEOMETRY = "cell_geometry"
"""Name of the column of the cells' outlines in a table with cells; the centroid is then that of the cell."""
FLAGS = (PROBABILITY, TOUCHES_EDGE)
"""Measurements that say how far to trust a nucleus and are no property of it."""

_METADATA = "Metadata: "
"""At the beginning of the names of columns with an image's metadata in the project."""
_NOT_NUMBERS = frozenset(
    {IMAGE_NAME, OBJECT_ID, "Object type", "Name", "Classification", "TMA Core", "TMA core", "Parent", "ROI"}
    | {"Image ID", "Slide", "Model", "Model checksum", GEOMETRY, CELL_GEOMETRY}
)
"""The columns of texts and outlines that a table may have, those on request included."""

_DECIMALS = 4
_DIGITS = 6
"""Significant digits of areas in mm²: a small annotation has none left of four decimals."""


class Kind(Enum):
    """The type of a column; its number gives the place in a table of nuclei. AREA is in summaries only."""

    TEXT = 0
    CENTROID = 1
    PLANE = 2
    MEASUREMENT = 3
    EXTRA = 4
    OUTLINE = 5
    AREA = 6


def kind_of(field: pa.Field) -> Kind:
    """The type of a column of an ``image_table``, and of other columns that were given one."""
    return Kind[field.metadata[b"kind"].decode()]


def field_of(name: str, data: pa.DataType, kind: Kind) -> pa.Field:
    """A column of a type."""
    return pa.field(name, data, metadata={"kind": kind.name})


@dataclass(frozen=True)
class Layout:
    """Which columns a table has besides those that QuPath always writes.

    modern   : whether planes and cores are named as by QuPath 0.6 and later.
    outlines : whether to add outlines: of the nucleus, and of the cell where there is one.
    extra    : columns on request with the same text for the whole image.
    """

    modern: bool = True
    outlines: bool = False
    extra: Mapping[str, str] | None = None


def image_table(entry: ImageEntry, chunk: DetectionChunk, layout: Layout) -> pa.Table:
    """One row per detection of an image: QuPath's text columns, centroid, measurements, and outlines (WKB).

    The centroid is in µm if the image has a pixel size and in pixels otherwise; of a cell it is the cell's,
    as in QuPath. Outlines are in pixels, with the vertices that GeoJSON has; null where nothing is enclosed.
    """
    nuclei, n = chunk.nuclei, len(chunk.nuclei)
    unit, scale = ("px", (1.0, 1.0)) if entry.mpp is None else ("µm", entry.mpp)
    centroids = centroids_of(nuclei)
    plain = np.full(n, True) if nuclei.cells is None else shapely.is_missing(nuclei.cells)
    table = _Columns()
    table.add_texts(IMAGE_NAME, [entry.name] * n)
    table.add_texts(OBJECT_ID, nuclei.ids)
    table.add_texts("Object type", np.where(plain, "Detection", "Cell").astype(object))
    table.add_texts("Name", chunk.names)
    table.add_texts("Classification", nuclei.classes)
    if chunk.cores is not None:
        table.add_texts("TMA Core" if layout.modern else "TMA core", chunk.cores)
    table.add_texts("Parent", chunk.parents)
    table.add_texts("ROI", chunk.shapes)
    for i, axis in enumerate("XY"):
        table.add_numbers(f"Centroid {axis} {unit}", centroids[:, i] * scale[i], Kind.CENTROID)
    if entry.size_z > 1:
        table.add_numbers("Z-slice" if layout.modern else "Z index", nuclei.z, Kind.PLANE)
    if entry.size_t > 1:
        table.add_numbers("Timepoint" if layout.modern else "Time index", nuclei.t, Kind.PLANE)
    numbers: dict[str, NDArray[np.floating]] = {}
    if PROBABILITY not in nuclei.measurements.columns and not np.isnan(nuclei.probability).all():
        numbers[PROBABILITY] = nuclei.probability
    for name in nuclei.measurements.columns:
        numbers[str(name)] = nuclei.measurements[name].to_numpy(np.float64)
    for name in dict.fromkeys([*(name for name in chunk.order if name in numbers), *numbers]):
        table.add_numbers(_column_of(name), numbers[name], Kind.MEASUREMENT)
    for name, text in (layout.extra or {}).items():
        table.add_texts(writable(name), [text] * n, Kind.EXTRA)
    if layout.outlines:
        table.add_outlines(GEOMETRY, nuclei.polygons)
        if nuclei.cells is not None:
            table.add_outlines(CELL_GEOMETRY, nuclei.cells)
    return table.table()


def _column_of(measurement: str) -> str:
    """The column of a measurement, which another image or export may not need for something else."""
    name = writable(measurement)
    taken = name in _NOT_NUMBERS or name.startswith(_METADATA)
    return f"{name} (measurement)" if taken else name


class _Columns:
    """Columns of a table; of two of one name, the first is kept."""

    def __init__(self) -> None:
        self._columns: dict[str, tuple[pa.Field, pa.Array]] = {}

    def add_texts(self, name: str, values: object, kind: Kind = Kind.TEXT) -> None:
        self._add(name, text_column(values), kind)

    def add_numbers(self, name: str, values: NDArray[np.generic], kind: Kind) -> None:
        self._add(name, pa.array(values.astype(np.float64), pa.float64(), from_pandas=True), kind)

    def add_outlines(self, name: str, outlines: NDArray[np.object_]) -> None:
        shapes = importable(outlines)
        shapes[shapely.is_empty(shapes)] = None
        self._add(name, pa.array(shapely.to_wkb(shapes), pa.binary()), Kind.OUTLINE)

    def table(self) -> pa.Table:
        fields, arrays = zip(*self._columns.values(), strict=True)
        return pa.table(list(arrays), schema=pa.schema(fields))

    def _add(self, name: str, values: pa.Array, kind: Kind) -> None:
        self._columns.setdefault(name, (field_of(name, values.type, kind), values))


def centroids_of(nuclei: Nuclei) -> NDArray[np.float64]:
    """x and y of the centroids that QuPath reports, float64 (n, 2), in full-resolution pixels."""
    xy: NDArray[np.float64] = shapely.get_coordinates(shapely.centroid(drawn(nuclei))).reshape(-1, 2)
    return xy


def as_lines(table: pa.Table, delimiter: str) -> str:
    """The rows of a table as lines of text; values are quoted only where necessary."""
    columns = [pc.fill_null(column, "") for column in as_texts(table)]
    must = f'[{re.escape(delimiter)}"\\r\\n]'
    for number, field in enumerate(table.schema):
        if not pa.types.is_string(field.type):
            continue
        special = pc.match_substring_regex(column := columns[number], must)
        if pc.any(special).as_py():
            doubled = pc.replace_substring(column, '"', '""')
            columns[number] = pc.if_else(special, pc.binary_join_element_wise('"', doubled, '"', ""), column)
    lines = pc.binary_join_element_wise(*columns, delimiter)
    every = pa.ListArray.from_arrays([0, len(lines)], lines)
    text: str = pc.binary_join(every, "\n")[0].as_py()
    return text + "\n" if len(lines) else ""


def as_texts(table: pa.Table) -> list[pa.Array]:
    """The columns of a table as QuPath writes them; null where a number is missing.

    Trailing zeros are not written, and a number that is rounded to zero keeps its sign (-0). Texts that a
    spreadsheet would run are made harmless (``cells.text_cell``).
    """
    columns: list[pa.Array] = []
    for column in rounded(table):
        if pa.types.is_floating(column.type):
            column = pc.cast(column, pa.string())
        elif pa.types.is_string(column.type):
            column = text_cells(column)
        columns.append(column)
    return columns


def rounded(table: pa.Table) -> list[pa.Array]:
    """The columns of a table with numbers rounded as QuPath rounds them on export.

    Measurements have up to four decimals. Centroids, which QuPath computes on export, have fewer the larger
    they are: 0.1234, 1.234, 12.34, 1234.5. Areas in mm² have six significant digits.
    """
    columns: list[pa.Array] = []
    for field in table.schema:
        values = table[field.name].combine_chunks()
        if pa.types.is_floating(field.type):
            numbers = values.to_numpy(zero_copy_only=False).astype(np.float64)
            kind = Kind.MEASUREMENT if field.metadata is None else kind_of(field)
            values = pa.array(_ROUNDED.get(kind, _to_decimals)(numbers), from_pandas=True)
        columns.append(values)
    return columns


def _by_size(values: NDArray[np.float64]) -> NDArray[np.float64]:
    size = np.abs(values)
    return np.select(
        [size > 1000, size > 10, size > 1],
        [np.round(values, 1), np.round(values, 2), np.round(values, 3)],
        np.round(values, _DECIMALS),
    )


def _to_decimals(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.round(values, _DECIMALS)


def _to_digits(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([float(f"{value:.{_DIGITS}g}") for value in values.tolist()], np.float64)


_ROUNDED: dict[Kind, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    Kind.CENTROID: _by_size,
    Kind.AREA: _to_digits,
}
