"""Nuclei as the measurement table that QuPath itself exports: its columns, their order, its numbers."""

from __future__ import annotations

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
from ..qupath.detections import PROBABILITY
from ..qupath.project import ImageEntry

GEOMETRY = "geometry"
"""Name of the column of outlines (WKB, full-resolution pixels), which text tables leave out."""

_TEXTS = ("Image", "Object ID", "Object type", "Name", "Classification", "Parent", "ROI")
_DECIMALS = 4


class Kind(IntEnum):
    """What a column tells, in the order of the table."""

    TEXT = 0
    CENTROID = 1
    MEASUREMENT = 2
    OUTLINE = 3


def kind_of(column: str) -> Kind:
    """What a column of an ``image_table`` tells."""
    if column in _TEXTS:
        return Kind.TEXT
    if column == GEOMETRY:
        return Kind.OUTLINE
    centroid = column.startswith(("Centroid X ", "Centroid Y "))
    return Kind.CENTROID if centroid else Kind.MEASUREMENT


def image_table(entry: ImageEntry, nuclei: Nuclei) -> pa.Table:
    """The nuclei of one image, a row each: QuPath's texts, centroid, measurements, outline as WKB.

    The centroid is in µm if the image is calibrated in QuPath and in pixels otherwise.
    """
    n = len(nuclei)
    unit, scale = ("px", (1.0, 1.0)) if entry.mpp is None else ("µm", entry.mpp)
    centroids = shapely.get_coordinates(shapely.centroid(nuclei.polygons)).reshape(-1, 2)
    texts: dict[str, list[str]] = {
        "Image": [entry.name] * n,
        "Object ID": [str(identifier) for identifier in nuclei.ids],
        "Object type": ["Detection"] * n,
        "Name": [""] * n,
        "Classification": [str(name) for name in nuclei.classes],
        "Parent": ["Root object (Image)"] * n,
        "ROI": np.where(_is_plain(nuclei.polygons), "Polygon", "Geometry").tolist(),
    }
    columns: dict[str, pa.Array] = {name: pa.array(texts[name], pa.string()) for name in _TEXTS}
    numbers: dict[str, NDArray[np.floating]] = {
        f"Centroid {axis} {unit}": centroids[:, i] * scale[i] for i, axis in enumerate("XY")
    }
    if PROBABILITY not in nuclei.measurements.columns and not np.isnan(nuclei.probability).all():
        numbers[PROBABILITY] = nuclei.probability
    for name in nuclei.measurements.columns:
        numbers[str(name)] = nuclei.measurements[name].to_numpy(np.float64)
    for name, values in numbers.items():
        columns[name] = pa.array(values.astype(np.float64), pa.float64(), from_pandas=True)
    columns[GEOMETRY] = pa.array(shapely.to_wkb(nuclei.polygons).tolist(), pa.binary())
    return pa.table(columns)


class TableSpool:
    """Tables of many images, kept on disk one by one, with the columns of all of them.

    A column that an image lacks is empty there. Columns come in the order in which they first appear,
    the centroid's before all other numbers and the outline last.
    """

    def __init__(self, folder: Path, tables: Iterable[pa.Table]) -> None:
        self._files: list[Path] = []
        self.rows = 0
        fields: dict[str, pa.Field] = {}
        for table in tables:
            file = folder / f"{len(self._files)}.parquet"
            pq.write_table(table, file, compression="none")
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


def as_texts(table: pa.Table) -> list[list[str]]:
    """The columns of a table as QuPath writes them; empty where there is no number.

    Measurements have up to four decimals. What QuPath computes as it writes, the centroid, has the
    fewer the larger it is: 0.1234, 1.234, 12.34, 1234.5. A zero at the end is never written.
    """
    columns: list[list[str]] = []
    for field in table.schema:
        values = table[field.name]
        if pa.types.is_floating(field.type):
            numbers = values.to_numpy().astype(np.float64)
            rounded = (
                _by_size(numbers) if kind_of(field.name) is Kind.CENTROID else np.round(numbers, _DECIMALS)
            )
            values = pc.fill_null(pc.cast(pa.array(rounded + 0.0, from_pandas=True), pa.string()), "")
        columns.append(values.to_pylist())
    return columns


def _is_plain(polygons: NDArray[np.object_]) -> NDArray[np.bool_]:
    single = shapely.get_type_id(polygons) == shapely.GeometryType.POLYGON
    return np.asarray(single & (shapely.get_num_interior_rings(polygons) == 0), bool)


def _by_size(values: NDArray[np.float64]) -> NDArray[np.float64]:
    size = np.abs(values)
    return np.select(
        [size > 1000, size > 10, size > 1],
        [np.round(values, 1), np.round(values, 2), np.round(values, 3)],
        np.round(values, _DECIMALS),
    )
