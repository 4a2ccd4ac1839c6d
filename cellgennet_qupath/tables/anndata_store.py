"""AnnData in HDF5 or Zarr, written in chunks.

anndata itself writes only what is in memory as a whole. Here it writes every element (so that encodings and
metadata are its own) with the rows of the first chunk; the arrays are then extended, chunk by chunk. None of
the libraries is imported before a file is written, as they belong to the extra ``h5ad``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from ..nuclei import CHUNK
from ..qupath.project import ImageEntry
from .spool import Export, TableSpool
from .tables import FLAGS, OBJECT_ID, Kind, kind_of

REGION, INSTANCE = "region", "instance_id"
"""Columns of ``obs`` in SpatialData: the element of shapes, and the name of the shape in it."""

_INDEX = "_index"
_PLACES = ("spatial", "spatial_px")
_UNSAFE = re.compile(r"[^\w.-]+")


def safe_name(name: str) -> str:
    """A name of letters, digits, ``_``, ``-`` and ``.`` only, which is what SpatialData accepts."""
    return _UNSAFE.sub("_", name)


@dataclass(frozen=True)
class Block:
    """Consecutive nuclei of one image: measurements float32 (n, m), centroids float64 (n, 2), and columns.

    spatial : in the unit of the export; ``spatial_px``: in pixels of full resolution.
    """

    x: NDArray[np.float32]
    spatial: NDArray[np.float64]
    spatial_px: NDArray[np.float64]
    obs: pd.DataFrame


class Blocks:
    """The tables of a spool as blocks of AnnData.

    region : returns the name of an image's element of shapes; None for a table of its own.
    """

    def __init__(self, spool: TableSpool, region: Callable[[ImageEntry], str] | None = None) -> None:
        self._spool, self._region = spool, region
        fields = list(spool.schema)
        self.measured = [f.name for f in fields if kind_of(f) is Kind.MEASUREMENT and f.name not in FLAGS]
        self._numbers = [f.name for f in fields if kind_of(f) is Kind.PLANE or f.name in FLAGS]
        texts = [f.name for f in fields if kind_of(f) in (Kind.TEXT, Kind.EXTRA) and f.name != OBJECT_ID]
        self._categories = spool.distinct(texts)
        self._regions: list[str] = []
        if region is not None:
            self._regions = [region(entry) for entry in spool.images()]
        self.rows = spool.rows

    def __iter__(self) -> Iterator[tuple[ImageEntry, pa.Table, Block]]:
        names = _UniqueNames()
        for entry, table in self._spool.by_image():
            x = np.empty((table.num_rows, len(self.measured)), np.float32)
            for number, name in enumerate(self.measured):
                x[:, number] = table[name].to_numpy()
            spatial, spatial_px = _centroids(entry, table)
            ids = np.array(table[OBJECT_ID].to_pylist(), dtype=object)
            index = pd.Index(names.of(entry.id, ids), dtype=object)
            yield entry, table, Block(x, spatial, spatial_px, self._obs(entry, table, ids, index))

    def _obs(
        self, entry: ImageEntry, table: pa.Table, ids: NDArray[np.object_], index: pd.Index
    ) -> pd.DataFrame:
        columns: dict[str, Any] = {
            name: pd.Categorical(table[name].to_pylist(), values) for name, values in self._categories.items()
        }
        columns[OBJECT_ID] = ids
        for name in self._numbers:
            columns[name] = table[name].to_numpy().astype(np.float32)
        if self._region is not None:
            columns[REGION] = pd.Categorical([self._region(entry)] * len(ids), self._regions)
            columns[INSTANCE] = index.to_numpy()
        names = _safe_names(columns)
        return pd.DataFrame({names[name]: values for name, values in columns.items()}, index=index)


def _safe_names(names: Iterable[str]) -> dict[str, str]:
    """Safe names of columns, with a number where two would be alike."""
    safe: dict[str, str] = {}
    for name in names:
        plain = safe_name(name)
        free = (plain if number == 1 else f"{plain}_{number}" for number in itertools.count(1))
        safe[name] = next(one for one in free if one not in safe.values())
    return safe


def write_anndata(
    parent: Any, key: str, blocks: Blocks, uns: Mapping[str, Any]
) -> Iterator[tuple[ImageEntry, pa.Table, Block]]:
    """Write blocks as AnnData to ``parent[key]``, an HDF5 or Zarr group; each is yielded once it is written.

    Measurements are ``X``, texts, flags and planes ``obs``, centroids ``obsm``. Missing numbers are NaN.
    """
    from anndata import AnnData
    from anndata.io import write_elem

    start, rows, columns = 0, min(max(blocks.rows, 1), CHUNK), len(blocks.measured)
    store: Any = None
    for entry, table, block in blocks:
        if store is None:
            write_elem(parent, key, AnnData(var=pd.DataFrame(index=pd.Index(blocks.measured, dtype=object))))
            store = parent[key]
            write_elem(store, "X", block.x, dataset_kwargs=_growing(store, rows, columns))
            for name in _PLACES:
                kwargs = _growing(store, rows, 2)
                write_elem(store["obsm"], name, getattr(block, name), dataset_kwargs=kwargs)
            write_elem(store, "obs", block.obs, dataset_kwargs=_growing(store, rows))
            write_elem(store, "uns", dict(uns))
            for dataset in (
                store["X"],
                *(store["obsm"][name] for name in _PLACES),
                *_columns(store["obs"]).values(),
            ):
                dataset.resize((blocks.rows, *dataset.shape[1:]))
        else:
            _put(store, slice(start, start + len(block.x)), block)
        start += len(block.x)
        yield entry, table, block


def facts_for_uns(export: Export) -> dict[str, Any]:
    """What ``uns`` says of an export: its unit, versions, model, and a table of images.

    Never under the key "spatial", which squidpy takes for Visium's and turns its default graph into a grid.
    """
    images = pd.DataFrame(list(export.images.values()))
    images.index = pd.Index(images.pop("Image ID"), dtype=object, name="image_id")
    images.columns = [safe_name(name) for name in images.columns]
    units = {"spatial": export.about["unit"], "spatial_px": "px"}
    return {"cellgennet": {**export.about, "units": units, "images": images}}


class _UniqueNames:
    """Names of nuclei that are unique in an export: the image's id, the object's, and a number if need be.

    Equal outlines in two images have equal ids, and an object that was imported twice has the same id twice.
    Only a hash of each name of the current image is kept.
    """

    def __init__(self) -> None:
        self._image = ""
        self._seen: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._count = 0

    def of(self, image: str, ids: NDArray[np.object_]) -> list[str]:
        """The names of the next nuclei of an image; those of one image follow each other."""
        if image != self._image:
            self._image, self._seen, self._count = image, np.empty(0, np.uint64), 0
        hashes = pd.util.hash_array(ids, categorize=False)
        repeated = pd.Series(hashes).duplicated().to_numpy()
        if len(self._seen):
            place = np.minimum(np.searchsorted(self._seen, hashes), len(self._seen) - 1)
            repeated |= self._seen[place] == hashes
        # Two sorted runs, which the stable sort merges.
        self._seen = np.sort(np.concatenate([self._seen, np.sort(hashes)]), kind="stable")
        names = [f"{image}-{identifier}" for identifier in ids]
        for row in np.flatnonzero(repeated).tolist():
            names[row] += f"-{self._count + row}"
        self._count += len(ids)
        return names


def _centroids(entry: ImageEntry, table: pa.Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centroids of the nuclei of an image in the unit of its table, and in pixels."""
    names = [field.name for field in table.schema if kind_of(field) is Kind.CENTROID]
    spatial = np.column_stack([table[name].to_numpy() for name in names])
    return spatial, spatial / np.array(entry.mpp or (1.0, 1.0))


def _growing(store: Any, rows: int, *columns: int) -> dict[str, Any]:
    """Options of a dataset whose number of rows can grow."""
    chunks = (rows, *(max(number, 1) for number in columns))
    if type(store).__module__.startswith("zarr"):
        return {"chunks": chunks}
    return {"maxshape": (None, *columns), "chunks": chunks if all(columns) else True}


def _columns(obs: Any) -> dict[str, Any]:
    """The dataset of each column of ``obs`` and of its index; of a categorical column, its codes."""
    nodes = {name: obs[name] for name in [*obs.attrs["column-order"], _INDEX]}
    return {name: node["codes"] if hasattr(node, "keys") else node for name, node in nodes.items()}


def _put(store: Any, rows: slice, block: Block) -> None:
    store["X"][rows] = block.x
    for name in _PLACES:
        store["obsm"][name][rows] = getattr(block, name)
    for name, dataset in _columns(store["obs"]).items():
        if name == _INDEX:
            dataset[rows] = block.obs.index.to_numpy()
        elif isinstance(block.obs[name].dtype, pd.CategoricalDtype):
            dataset[rows] = block.obs[name].cat.codes.to_numpy()
        else:
            dataset[rows] = block.obs[name].to_numpy()
