"""AnnData files, as scanpy and squidpy read them, written by the block.

Laid out as https://anndata.readthedocs.io/en/latest/fileformat-prose.html describes it, because the
package itself writes only what lies in memory as a whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .tables import Kind, TableSpool, kind_of

_ID = "Object ID"
_UNIT = "Centroid unit"


def write_tables(file: Path, spool: TableSpool) -> None:
    """Measurements in ``X``, all texts in ``obs``, centroids in ``obsm["spatial"]``.

    Centroids are in µm of images that are calibrated in QuPath, else in pixels: ``obs["Centroid unit"]``
    says which. Missing measurements are NaN.
    """
    names = spool.schema.names
    measured = [name for name in names if kind_of(name) is Kind.MEASUREMENT]
    texts = [name for name in names if kind_of(name) is Kind.TEXT and name != _ID] + [_UNIT]
    with h5py.File(file, "w") as store:
        _mark(store, "anndata", "0.1.0")
        for group in ("layers", "obsp", "varm", "varp", "uns"):
            _mark(store.create_group(group), "dict", "0.1.0")
        var = _frame(store, "var", [])
        _strings(var, "_index", len(measured))[:] = measured
        x = store.create_dataset("X", (spool.rows, len(measured)), np.float32)
        _mark(x, "array", "0.2.0")
        places = _marked_group(store, "obsm").create_dataset("spatial", (spool.rows, 2), np.float64)
        _mark(places, "array", "0.2.0")
        obs = _frame(store, "obs", [*texts, _ID])
        index, ids = (_strings(obs, name, spool.rows) for name in ("_index", _ID))
        codes = {name: _Codes(obs, name, spool.rows) for name in texts}
        start = 0
        for table in spool:
            rows = slice(start, start + table.num_rows)
            values = np.empty((table.num_rows, len(measured)), np.float32)
            for number, name in enumerate(measured):
                values[:, number] = table[name].to_numpy()
            x[rows] = values
            places[rows], unit = _places(table)
            ids[rows] = table[_ID].to_pylist()
            # Equal outlines in two images have equal ids, and an index must not repeat.
            index[rows] = [str(row) for row in range(rows.start, rows.stop)]
            for name in texts:
                codes[name].put(rows, table[name] if name != _UNIT else pa.array([unit] * table.num_rows))
            start = rows.stop
        for column in codes.values():
            column.close()


class _Codes:
    """A categorical column of ``obs``: small numbers, and the texts that they stand for."""

    def __init__(self, obs: Any, name: str, rows: int) -> None:
        self._group = obs.create_group(name)
        _mark(self._group, "categorical", "0.2.0")
        self._group.attrs["ordered"] = False
        self._codes = self._group.create_dataset("codes", (rows,), np.int32)
        _mark(self._codes, "array", "0.2.0")
        self._known: dict[str, int] = {}

    def put(self, rows: slice, texts: Any) -> None:
        packed = pc.dictionary_encode(texts)
        packed = packed.combine_chunks() if isinstance(packed, pa.ChunkedArray) else packed
        own = [self._known.setdefault(text, len(self._known)) for text in packed.dictionary.to_pylist()]
        self._codes[rows] = np.array(own, np.int32)[packed.indices.to_numpy()]

    def close(self) -> None:
        _strings(self._group, "categories", len(self._known))[:] = list(self._known)


def _mark(node: Any, kind: str, version: str) -> None:
    node.attrs["encoding-type"] = kind
    node.attrs["encoding-version"] = version


def _marked_group(store: Any, name: str) -> Any:
    group = store.create_group(name)
    _mark(group, "dict", "0.1.0")
    return group


def _frame(store: Any, name: str, columns: list[str]) -> Any:
    group = store.create_group(name)
    _mark(group, "dataframe", "0.2.0")
    group.attrs["_index"] = "_index"
    group.attrs["column-order"] = np.array(columns, dtype=object) if columns else np.array([], np.float64)
    return group


def _strings(group: Any, name: str, rows: int) -> Any:
    texts = group.create_dataset(name, (rows,), h5py.string_dtype())
    _mark(texts, "string-array", "0.2.0")
    return texts


def _places(table: pa.Table) -> tuple[Any, str]:
    """Centroids of one image's nuclei, whose table has them in one unit only, and the unit."""
    for unit in ("µm", "px"):
        names = [f"Centroid {axis} {unit}" for axis in "XY"]
        if all(name in table.column_names and not table[name].null_count for name in names):
            return np.column_stack([table[name].to_numpy() for name in names]), unit
    raise ValueError("a table without centroids")
