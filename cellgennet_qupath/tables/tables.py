"""Nuclei as QuPath's own measurement table: the same columns, order, and number format."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import IntEnum
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from ..nuclei import Nuclei
from ..qupath.formats.detections import PROBABILITY
from ..qupath.formats.outlines import drawn
from ..qupath.project import DetectionChunk, ImageEntry
from .cells import text_cells, text_column, writable

GEOMETRY = "geometry"
"""Name of the column of outlines (WKB, full-resolution pixels), which text tables do not have. As the
centroid, it is that of the cell where there is one."""
NUCLEUS_GEOMETRY = "nucleus_geometry"
"""Name of the column of the nuclei's outlines in a table with cells."""

_TEXTS = ("Image", "Object ID", "Object type", "Name", "Classification", "Parent", "ROI")
_DECIMALS = 4


class Kind(IntEnum):
    """The type of a column, in the order of the table."""

    TEXT = 0
    CENTROID = 1
    MEASUREMENT = 2
    OUTLINE = 3


def kind_of(column: str) -> Kind:
    """The type of a column of an ``image_table``."""
    if column in _TEXTS:
        return Kind.TEXT
    if column in (GEOMETRY, NUCLEUS_GEOMETRY):
        return Kind.OUTLINE
    centroid = column.startswith(("Centroid X ", "Centroid Y "))
    return Kind.CENTROID if centroid else Kind.MEASUREMENT


def image_table(entry: ImageEntry, chunk: DetectionChunk, outlines: bool = True) -> pa.Table:
    """One row per detection of an image: QuPath's text columns, centroid, measurements, and outline (WKB).

    outlines : whether to include the outlines: of the cell, and then also of its nucleus, or of the nucleus.

    The centroid is in µm if the image is calibrated in QuPath and in pixels otherwise; of a cell it is the
    cell's, as in QuPath.
    """
    nuclei, n = chunk.nuclei, len(chunk.nuclei)
    unit, scale = ("px", (1.0, 1.0)) if entry.mpp is None else ("µm", entry.mpp)
    centroids = centroids_of(nuclei)
    plain = np.full(n, True) if nuclei.cells is None else shapely.is_missing(nuclei.cells)
    texts: dict[str, NDArray[np.object_] | list[str]] = {
        "Image": [entry.name] * n,
        "Object ID": nuclei.ids,
        "Object type": np.where(plain, "Detection", "Cell").astype(object),
        "Name": chunk.names,
        "Classification": nuclei.classes,
        "Parent": chunk.parents,
        "ROI": chunk.shapes,
    }
    columns: dict[str, pa.Array] = {name: text_column(texts[name]) for name in _TEXTS}
    numbers: dict[str, NDArray[np.floating]] = {
        f"Centroid {axis} {unit}": centroids[:, i] * scale[i] for i, axis in enumerate("XY")
    }
    if PROBABILITY not in nuclei.measurements.columns and not np.isnan(nuclei.probability).all():
        numbers[PROBABILITY] = nuclei.probability
    for name in nuclei.measurements.columns:
        numbers[str(name)] = nuclei.measurements[name].to_numpy(np.float64)
    order = [name for name in chunk.order if name in numbers]
    for name in dict.fromkeys([*numbers][:2] + order + [*numbers]):
        values = numbers[name]
        columns[writable(name)] = pa.array(values.astype(np.float64), pa.float64(), from_pandas=True)
    if outlines:
        columns[GEOMETRY] = pa.array(shapely.to_wkb(drawn(nuclei)), pa.binary())
        if nuclei.cells is not None:
            columns[NUCLEUS_GEOMETRY] = pa.array(shapely.to_wkb(nuclei.polygons), pa.binary())
    return pa.table(columns)


def centroids_of(nuclei: Nuclei) -> NDArray[np.float64]:
    """x and y of the centroids that QuPath reports, float64 (n, 2), in full-resolution pixels."""
    xy: NDArray[np.float64] = shapely.get_coordinates(shapely.centroid(drawn(nuclei))).reshape(-1, 2)
    return xy


class TableSpool:
    """Tables buffered on disk, and read back one by one with the columns of all of them.

    Where a table lacks a column, the column is null. Columns are in order of first appearance, but the
    centroid precedes all other numbers and the outline is last.
    """

    def __init__(self, folder: Path, tables: Iterable[pa.Table]) -> None:
        self._files: list[Path] = []
        self.rows = 0
        fields: dict[str, pa.Field] = {}
        for table in tables:
            file = folder / f"{len(self._files)}.parquet"
            pq.write_table(table, file, compression="lz4")
            self._files.append(file)
            self.rows += table.num_rows
            fields |= {field.name: field for field in table.schema if field.name not in fields}
        ordered = sorted(fields.values(), key=lambda field: kind_of(field.name))
        self.schema = pa.schema(ordered)

    def __iter__(self) -> Iterator[pa.Table]:
        for file in self._files:
            table = pq.read_table(file)
            columns = [
                table[field.name].combine_chunks()
                if field.name in table.column_names
                else pa.nulls(table.num_rows, field.type)
                for field in self.schema
            ]
            yield pa.table(columns, schema=self.schema)


def as_lines(table: pa.Table, delimiter: str) -> list[str]:
    """The rows of a table as lines of text without line ends; values are quoted only where necessary."""
    columns = [pc.fill_null(column, "") for column in as_texts(table)]
    must = f'[{re.escape(delimiter)}"\\r\\n]'
    for number, column in enumerate(columns):
        special = pc.match_substring_regex(column, must)
        if pc.any(special).as_py():
            doubled = pc.replace_substring(column, '"', '""')
            columns[number] = pc.if_else(special, pc.binary_join_element_wise('"', doubled, '"', ""), column)
    lines: list[str] = pc.binary_join_element_wise(*columns, delimiter).to_pylist()
    return lines


def as_texts(table: pa.Table) -> list[pa.Array]:
    """The columns of a table as QuPath writes them; null where a number is missing.

    Measurements have up to four decimals. Centroids, which QuPath computes on export, have fewer the larger
    they are: 0.1234, 1.234, 12.34, 1234.5. Trailing zeros are not written, and a number that is rounded to
    zero keeps its sign (-0). Texts that a spreadsheet would run are made harmless (``cells.text_cell``).
    """
    columns: list[pa.Array] = []
    for field in table.schema:
        values = table[field.name].combine_chunks()
        if pa.types.is_floating(field.type):
            numbers = values.to_numpy(zero_copy_only=False).astype(np.float64)
            rounded = (
                _by_size(numbers) if kind_of(field.name) is Kind.CENTROID else np.round(numbers, _DECIMALS)
            )
            values = pc.cast(pa.array(rounded, from_pandas=True), pa.string())
        elif pa.types.is_string(field.type):
            values = text_cells(values)
        columns.append(values)
    return columns


def _by_size(values: NDArray[np.float64]) -> NDArray[np.float64]:
    size = np.abs(values)
    return np.select(
        [size > 1000, size > 10, size > 1],
        [np.round(values, 1), np.round(values, 2), np.round(values, 3)],
        np.round(values, _DECIMALS),
    )
