"""AnnData files for scanpy and squidpy, written in chunks.

anndata itself writes only what is in memory as a whole. Here it writes every element (so that encodings and
metadata are its own) with the rows of the first chunk; h5py then extends the arrays, chunk by chunk.
Neither is imported before a file is written, as both belong to the extra ``h5ad``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .tables import Kind, TableSpool, kind_of

_ID = "Object ID"
_UNIT = "Centroid unit"
_INDEX = "_index"


@dataclass(frozen=True)
class _Chunk:
    """Consecutive nuclei: measurements float32 (n, m), centroids float64 (n, 2), and texts."""

    x: NDArray[np.float32]
    spatial: NDArray[np.float64]
    obs: pd.DataFrame


def write_tables(file: Path, spool: TableSpool) -> None:
    """Write measurements to ``X``, texts to ``obs`` and centroids to ``obsm["spatial"]``.

    Centroids are in µm for images that are calibrated in QuPath, else in pixels; ``obs["Centroid unit"]``
    says which. Missing measurements are NaN. One table of the spool is in memory at a time. Raises OSError.
    """
    import h5py
    from anndata import AnnData
    from anndata.io import write_elem

    measured = [name for name in spool.schema.names if kind_of(name) is Kind.MEASUREMENT]
    categories = _categories(spool)
    start = 0
    with h5py.File(file, "w") as store:
        for table in spool:
            chunk = _chunk(table, start, measured, categories)
            if start == 0:
                write_elem(store, "/", AnnData(var=pd.DataFrame(index=pd.Index(measured, dtype=object))))
                write_elem(store, "X", chunk.x, dataset_kwargs=_extendable(len(measured)))
                write_elem(store["obsm"], "spatial", chunk.spatial, dataset_kwargs=_extendable(2))
                write_elem(store, "obs", chunk.obs, dataset_kwargs=_extendable())
                for dataset in (store["X"], store["obsm/spatial"], *_columns(store["obs"]).values()):
                    dataset.resize(spool.rows, axis=0)
            else:
                _put(store, start, chunk)
            start += table.num_rows


def _categories(spool: TableSpool) -> dict[str, list[str]]:
    """The distinct values of each categorical column, over all tables."""
    values: dict[str, dict[str, None]] = {}
    for table in spool:
        for name in table.column_names:
            if kind_of(name) is Kind.TEXT and name != _ID:
                values.setdefault(name, {}).update(dict.fromkeys(pc.unique(table[name]).to_pylist()))
        values.setdefault(_UNIT, {})[_centroids(table)[1]] = None
    return {name: list(distinct) for name, distinct in values.items()}


def _chunk(table: pa.Table, start: int, measured: list[str], categories: dict[str, list[str]]) -> _Chunk:
    x = np.empty((table.num_rows, len(measured)), np.float32)
    for number, name in enumerate(measured):
        x[:, number] = table[name].to_numpy()
    spatial, unit = _centroids(table)
    texts = {name: table[name].to_pylist() for name in categories if name != _UNIT}
    texts[_UNIT] = [unit] * table.num_rows
    columns: dict[str, Any] = {name: pd.Categorical(texts[name], categories[name]) for name in categories}
    columns[_ID] = np.array(table[_ID].to_pylist(), dtype=object)
    # Row numbers: equal outlines in two images have equal ids, and an index must be unique.
    index = [str(row) for row in range(start, start + table.num_rows)]
    return _Chunk(x, spatial, pd.DataFrame(columns, index=pd.Index(index, dtype=object)))


def _centroids(table: pa.Table) -> tuple[NDArray[np.float64], str]:
    """Centroids of the nuclei of one image, whose table has them in one unit only, and the unit."""
    for unit in ("µm", "px"):
        names = [f"Centroid {axis} {unit}" for axis in "XY"]
        if all(name in table.column_names and not table[name].null_count for name in names):
            return np.column_stack([table[name].to_numpy() for name in names]), unit
    raise ValueError("a table without centroids")


def _extendable(*columns: int) -> dict[str, Any]:
    """Options of a dataset whose number of rows can grow."""
    return {"maxshape": (None, *columns), "chunks": True}


def _columns(obs: Any) -> dict[str, Any]:
    """The dataset of each column of ``obs`` and of its index; of a categorical column, its codes."""
    nodes = {name: obs[name] for name in [*obs.attrs["column-order"], _INDEX]}
    return {name: node["codes"] if hasattr(node, "keys") else node for name, node in nodes.items()}


def _put(store: Any, start: int, chunk: _Chunk) -> None:
    rows = slice(start, start + len(chunk.x))
    store["X"][rows] = chunk.x
    store["obsm/spatial"][rows] = chunk.spatial
    for name, dataset in _columns(store["obs"]).items():
        if name == _INDEX:
            dataset[rows] = chunk.obs.index.to_numpy()
        elif name == _ID:
            dataset[rows] = chunk.obs[name].to_numpy()
        else:
            dataset[rows] = chunk.obs[name].cat.codes.to_numpy()
