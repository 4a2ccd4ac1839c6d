"""The detections of an image buffered on disk, so that they are read and parsed once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from ..nuclei import Nuclei
from ..qupath.project import DetectionChunk
from .scratch import read_scratch, write_scratch

_TEXTS = ("ids", "classes", "names", "shapes", "parents")


class ChunkSpool:
    """Chunks of detections, each in a file of a folder; reading one deletes its file. Raises OSError.

    Which core they are in is not kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._files = folder, list[Path]()

    def pass_on(self, chunks: Iterable[DetectionChunk]) -> Iterator[DetectionChunk]:
        """The same chunks, which are buffered as they pass."""
        for chunk in chunks:
            file = self._folder / f"{len(self._files)}.arrow"
            write_scratch(file, _packed(chunk))
            self._files.append(file)
            yield chunk

    def __iter__(self) -> Iterator[DetectionChunk]:
        while self._files:
            file = self._files.pop(0)
            table = read_scratch(file)
            file.unlink()
            yield _unpacked(table)


def _packed(chunk: DetectionChunk) -> pa.Table:
    nuclei = chunk.nuclei
    texts = (nuclei.ids, nuclei.classes, chunk.names, chunk.shapes, chunk.parents)
    columns = {name: pa.array(values, pa.string()) for name, values in zip(_TEXTS, texts, strict=True)}
    columns |= {name: pa.array(getattr(nuclei, name)) for name in ("probability", "z", "t")}
    columns["polygons"] = pa.array(shapely.to_wkb(nuclei.polygons), pa.binary())
    if nuclei.cells is not None:
        columns["cells"] = pa.array(shapely.to_wkb(nuclei.cells), pa.binary())
    names = [str(name) for name in nuclei.measurements.columns]
    for number, name in enumerate(names):
        columns[str(number)] = pa.array(nuclei.measurements[name].to_numpy(np.float64))
    about = {"measurements": names, "order": chunk.order}
    return pa.table(columns).replace_schema_metadata({b"about": json.dumps(about)})


def _unpacked(table: pa.Table) -> DetectionChunk:
    about = json.loads(table.schema.metadata[b"about"])
    ids, classes, names, shapes, parents = (_objects(table[name]) for name in _TEXTS)
    measured = {name: table[str(number)].to_numpy() for number, name in enumerate(about["measurements"])}
    nuclei = Nuclei(
        polygons=_outlines(table["polygons"]),
        probability=table["probability"].to_numpy(),
        classes=classes,
        ids=ids,
        z=table["z"].to_numpy(),
        t=table["t"].to_numpy(),
        measurements=pd.DataFrame(measured, index=pd.RangeIndex(len(table)), dtype=np.float64),
        cells=_outlines(table["cells"]) if "cells" in table.column_names else None,
    )
    return DetectionChunk(nuclei, names, shapes, parents, tuple(about["order"]))


def _objects(column: pa.ChunkedArray) -> NDArray[np.object_]:
    values: NDArray[np.object_] = column.to_numpy().astype(object)
    return values


def _outlines(column: pa.ChunkedArray) -> NDArray[np.object_]:
    return np.asarray(shapely.from_wkb(_objects(column)), dtype=object)
