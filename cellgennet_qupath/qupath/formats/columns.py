"""Detections as columns (Parquet) beside their GeoJSON, from which they are read many times faster.

The GeoJSON is what counts. A file of columns is used only while a note beside it names the checksums of both
files as they are, so one that is missing, damaged, or older than its GeoJSON costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

from ...core.files import replacing
from ...core.lazy import lazy
from .bounded import read_json, require_regular
from .featurelines import FeatureColumns
from .geometries import check_wkb
from .outlines import MULTIPOLYGON, POLYGON

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
else:
    pd = lazy("pandas")
    pa = lazy("pyarrow")
    pc = lazy("pyarrow.compute")
    pq = lazy("pyarrow.parquet")

_NAMES = b"measurements"
_FEW = ["class", "parent"]
"""Columns with few different values."""
_OUTLINE, _CELL = "outline", "cell"
_POLYGON = b"\x01\x03\x00\x00\x00"
"""How the well-known binary of a polygon begins."""


@contextmanager
def writing_columns(file: Path, root: Path) -> Iterator[Callable[[FeatureColumns], None]]:
    """A function that adds features to a file of columns below ``root``, chunk by chunk.

    The file is written whole or not at all, and used only after ``confirm_columns``. Raises OSError.
    """
    writer: pq.ParquetWriter | None = None
    with replacing(file, root) as part:

        def add(features: FeatureColumns) -> None:
            nonlocal writer
            table = _table(features)
            if writer is None:
                writer = pq.ParquetWriter(part, table.schema, compression="zstd", use_dictionary=_FEW)
            writer.write_table(table)

        try:
            yield add
        finally:
            if writer is None:
                part.touch()
            else:
                writer.close()


def confirm_columns(file: Path, geojson: Path, root: Path) -> None:
    """Note that a file of columns has the content of a GeoJSON file. Raises OSError."""
    with replacing(_note(file), root) as part:
        part.write_text(json.dumps(_checksums(file, geojson)), encoding="utf-8")


def columns_of(file: Path, geojson: Path) -> Iterator[FeatureColumns] | None:
    """The features of a GeoJSON file from its file of columns; None where that is not the same.

    Reading them raises ValueError, ShapelyError, LookupError, OSError and ArrowException.
    """
    try:
        if read_json(_note(file)) != _checksums(file, geojson):
            return None
    except (OSError, ValueError):
        return None
    return _read(file) if file.stat().st_size else iter(())


def _note(file: Path) -> Path:
    return file.with_suffix(".json")


def _checksums(file: Path, geojson: Path) -> dict[str, str]:
    sums = {}
    for name, one in (("columns", file), ("geojson", geojson)):
        require_regular(one)
        with one.open("rb") as opened:
            sums[name] = hashlib.file_digest(opened, "sha256").hexdigest()
    return sums


def _table(features: FeatureColumns) -> pa.Table:
    columns: dict[str, pa.Array] = {
        "id": pa.array(features.ids, pa.string()),
        "class": pa.array(features.classes, pa.string()),
        "parent": pa.array(features.parents, pa.string()),
        "z": pa.array(features.z),
        "t": pa.array(features.t),
        _OUTLINE: pa.array(shapely.to_wkb(features.polygons), pa.binary()),
        _CELL: pa.nulls(len(features.ids), pa.binary())
        if features.cells is None
        else pa.array(shapely.to_wkb(features.cells), pa.binary()),
    }
    names = [str(name) for name in features.measurements.columns]
    for number, name in enumerate(names):
        columns[str(number)] = pa.array(features.measurements[name].to_numpy(np.float64))
    return pa.table(columns).replace_schema_metadata({_NAMES: json.dumps(names)})


def _read(file: Path) -> Iterator[FeatureColumns]:
    with pq.ParquetFile(file, pre_buffer=False) as opened:  # one chunk in memory, not twice
        names = json.loads(opened.schema_arrow.metadata[_NAMES])
        for group in range(opened.num_row_groups):
            table = opened.read_row_group(group, use_threads=False)
            cells = table[_CELL].combine_chunks()
            yield FeatureColumns(
                ids=_objects(table["id"]),
                polygons=_shapes(table[_OUTLINE]),
                cells=None if cells.null_count == len(cells) else _shapes(table[_CELL]),
                classes=_objects(table["class"]),
                parents=_objects(table["parent"]),
                z=table["z"].to_numpy().astype(np.int32),
                t=table["t"].to_numpy().astype(np.int32),
                measurements=pd.DataFrame(
                    {name: table[str(number)].to_numpy() for number, name in enumerate(names)},
                    index=pd.RangeIndex(len(table)),
                    dtype=np.float64,
                ),
            )


def _objects(column: pa.ChunkedArray) -> NDArray[np.object_]:
    values: NDArray[np.object_] = column.to_numpy().astype(object)
    return values


def _shapes(column: pa.ChunkedArray) -> NDArray[np.object_]:
    """Outlines from well-known binary. Raises ValueError and ShapelyError."""
    wkb = column.combine_chunks()
    # Polygons hold nothing that could be nested; whatever else there is, is looked through first.
    for row in np.flatnonzero(~pc.fill_null(pc.starts_with(wkb, _POLYGON), True).to_numpy(False)).tolist():
        check_wkb(wkb[row].as_py())
    shapes = np.asarray(shapely.from_wkb(_objects(column)), dtype=object)
    if not np.isin(shapely.get_type_id(shapes), (POLYGON, MULTIPOLYGON, -1)).all():
        raise ValueError("an outline is not a polygon")
    return shapes
