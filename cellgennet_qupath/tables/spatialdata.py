"""SpatialData stores (Zarr): outlines in pixels with a scale to µm, and one table that belongs to them.

Written without the library spatialdata, whose releases pin other versions of Dask than clusters need; tests
read the stores with it. The layout is that of its formats 0.2 (container, table) and 0.3 (shapes).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..qupath.project import ImageEntry
from .anndata_store import INSTANCE, REGION, Blocks, facts_for_uns, safe_name, write_anndata
from .cells import folded
from .parquet import geo_metadata
from .spool import Export, spooled
from .tables import CELL_GEOMETRY, GEOMETRY

TABLE = "nuclei"
_GLOBAL = "global"


def write_spatialdata(folder: Path, export: Export) -> int:
    """One element of nuclei per image (and one of cells), named after it, and the table ``nuclei``.

    Shapes are in pixels. Each image has a coordinate system of its name, in µm if it has a pixel size. The
    system "global" of all images has the same scale, with the origin of every image at 0, 0.
    """
    import zarr

    with spooled(folder, export, outlines=True) as spool, warnings.catch_warnings():
        # What anndata says of its next version's default, and zarr of a standard that spatialdata follows.
        warnings.filterwarnings("ignore", "zarr v3 autosharding")
        warnings.filterwarnings("ignore", "Consolidated metadata")
        warnings.filterwarnings("ignore", "Object at shapes.parquet")
        names = element_names(spool.images())
        root: Any = zarr.open_group(str(folder), mode="w", zarr_format=3)
        root.attrs["spatialdata_attrs"] = {"version": "0.2"}
        root.create_group("shapes")
        blocks = Blocks(spool, region=lambda entry: names[entry.id])
        attributes = {"region": list(names.values()), "region_key": REGION, "instance_key": INSTANCE}
        uns = {**facts_for_uns(export), "spatialdata_attrs": attributes}
        with _ShapeFiles(root, folder / "shapes") as shapes:
            for entry, table, block in write_anndata(root.create_group("tables"), TABLE, blocks, uns):
                shapes.add(entry, names[entry.id], table, block.obs[INSTANCE].to_numpy())
        marks = {"spatialdata-encoding-type": "ngff:regions_table", "version": "0.2"}
        root["tables"][TABLE].attrs.update({**marks, **attributes})
        zarr.consolidate_metadata(str(folder))
        return spool.rows


def is_own_store(folder: Path) -> bool:
    """Whether a folder is a store as ``write_spatialdata`` writes it, to which nobody added elements."""
    return (
        {path.name for path in folder.iterdir() if not path.name.startswith(".")}
        == {"zarr.json", "shapes", "tables"}
        and {path.name for path in (folder / "tables").glob("[!.]*")} <= {"zarr.json", TABLE}
        and (folder / "tables" / TABLE).is_dir()
    )


def element_names(entries: Sequence[ImageEntry]) -> dict[str, str]:
    """The element of each image, by its id: its name made safe, with its id where two would be alike.

    The table is an element too: spatialdata opens no store in which an image is called like it.
    """
    names: dict[str, str] = {}
    taken = {folded(TABLE)}
    for entry in entries:
        name = safe_name(entry.name).lstrip("._") or "image"
        # Compared without case, as file systems and spatialdata do.
        while {folded(name), folded(f"{name}_cells")} & taken:
            name = f"{name}_{entry.id}"
        taken |= {folded(name), folded(f"{name}_cells")}
        names[entry.id] = name
    return names


class _ShapeFiles:
    """The shapes of one image after the other, each in a GeoParquet file with its Zarr metadata."""

    def __init__(self, root: Any, folder: Path) -> None:
        self._root, self._folder = root, folder
        self._open = ExitStack()
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._image = ""

    def __enter__(self) -> _ShapeFiles:
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()

    def add(self, entry: ImageEntry, name: str, table: pa.Table, instances: np.ndarray[Any, Any]) -> None:
        """Add nuclei of an image, and the cells around them; what encloses nothing has no shape."""
        if entry.id != self._image:
            self._open.close()
            self._writers.clear()
            self._image = entry.id
        for column, element in ((GEOMETRY, name), (CELL_GEOMETRY, f"{name}_cells")):
            if column not in table.column_names or table[column].null_count == table.num_rows:
                continue
            rows = pc.is_valid(table[column])
            shapes = pa.table([table[column], pa.array(instances, pa.string())], schema=_schema())
            self._writer(entry, element, name).write_table(shapes.filter(rows))

    def _writer(self, entry: ImageEntry, element: str, system: str) -> pq.ParquetWriter:
        if element not in self._writers:
            group = self._root["shapes"].create_group(element)
            group.attrs.update(_element_attributes(entry, system))
            file = self._folder / element / "shapes.parquet"
            self._writers[element] = self._open.enter_context(
                pq.ParquetWriter(file, _schema(), compression="zstd")
            )
        return self._writers[element]


def _schema() -> pa.Schema:
    """A column of outlines, and the names of the shapes as the index of pandas."""
    frame = pd.DataFrame({GEOMETRY: pd.Series(dtype=object)}, index=pd.Index([], dtype=object, name=INSTANCE))
    index = pa.Table.from_pandas(frame).schema.metadata
    fields = [pa.field(GEOMETRY, pa.binary()), pa.field(INSTANCE, pa.string())]
    return pa.schema(fields, {**index, b"geo": geo_metadata([GEOMETRY]).encode()})


def _element_attributes(entry: ImageEntry, system: str) -> dict[str, Any]:
    systems = list(dict.fromkeys([system, _GLOBAL]))
    return {
        "encoding-type": "ngff:shapes",
        "axes": ["x", "y"],
        "coordinateTransformations": [_transformation(entry, name) for name in systems],
        "spatialdata_attrs": {"version": "0.3"},
    }


def _transformation(entry: ImageEntry, system: str) -> dict[str, Any]:
    unit = "unit" if entry.mpp is None else "micrometer"

    def space(name: str, unit: str) -> dict[str, Any]:
        return {"name": name, "axes": [{"name": axis, "type": "space", "unit": unit} for axis in "xy"]}

    kind: dict[str, Any] = {"type": "identity"}
    if entry.mpp is not None:
        kind = {"type": "scale", "scale": list(entry.mpp)}
    return {**kind, "input": space("xy", "unit"), "output": space(system, unit)}
