"""One writer per file format, each from the nuclei of many images to one file."""

from __future__ import annotations

import csv
import gzip
import importlib
import io
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from ..errors import ExportError
from ..nuclei import Nuclei
from ..qupath.detections import feature_lines
from ..qupath.project import ImageEntry
from .tables import GEOMETRY, Kind, TableSpool, as_texts, image_table, kind_of

Images = Iterable[tuple[ImageEntry, Nuclei]]
"""Images with at least one nucleus each; read one at a time."""

Writer = Callable[[Path, Images], int]
"""Writes a file and returns how many nuclei are in it. Raises OSError and ExportError."""


def write_text_table(file: Path, images: Images, delimiter: str, compressed: bool = False) -> int:
    """A table as QuPath's measurement export writes it: UTF-8, one header line, no index."""
    with _spooled(images) as spool, _text_file(file, compressed) as text:
        writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
        writer.writerow([name for name in spool.schema.names if name != GEOMETRY])
        for table in spool:
            writer.writerows(zip(*as_texts(table.drop_columns([GEOMETRY])), strict=True))
        return spool.rows


def write_parquet(file: Path, images: Images) -> int:
    """The same columns with unrounded numbers, and the outlines as GeoParquet (WKB, pixels)."""
    geo = {
        "version": "1.1.0",
        "primary_column": GEOMETRY,
        "columns": {GEOMETRY: {"encoding": "WKB", "geometry_types": [], "crs": None}},
    }
    with _spooled(images) as spool:
        schema = spool.schema.with_metadata({"geo": json.dumps(geo)})
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for table in spool:
                writer.write_table(table.cast(schema))
        return spool.rows


def write_geojson(file: Path, images: Images, compressed: bool = False) -> int:
    """All detections as GeoJSON; every feature names its image, as coordinates are each image's own."""
    count = 0
    with _text_file(file, compressed) as text:
        text.write('{"type":"FeatureCollection","features":[\n')
        for entry, nuclei in images:
            named = f'"properties":{{"image":{json.dumps(entry.name, ensure_ascii=False)},'
            for line in feature_lines(nuclei):
                text.write(",\n" if count else "")
                text.write(line.replace('"properties":{', named, 1))
                count += 1
        text.write("\n]}\n")
    return count


def write_h5ad(file: Path, images: Images) -> int:
    """AnnData: measurements in ``X``, all else in ``obs``, centroids in pixels in ``obsm["spatial"]``."""
    try:
        anndata = importlib.import_module("anndata")
    except ImportError as error:
        raise ExportError(
            file.name, "needs the package anndata", "Install it: pip install anndata"
        ) from error
    with _spooled(images) as spool:
        table = pa.concat_tables(list(spool))
    places = shapely.get_coordinates(shapely.centroid(shapely.from_wkb(table[GEOMETRY].to_pylist())))
    frame = table.drop_columns([GEOMETRY]).to_pandas()
    measured = [name for name in frame.columns if kind_of(name) is Kind.MEASUREMENT]
    observed = frame[[name for name in frame.columns if kind_of(name) is not Kind.MEASUREMENT]]
    data = anndata.AnnData(
        X=frame[measured].to_numpy(np.float32),
        obs=observed.set_axis(pd.Index(frame["Object ID"]).rename(None), axis=0),
        var=pd.DataFrame(index=pd.Index(measured)),
        obsm={"spatial": places},
    )
    data.obs_names_make_unique()
    data.write_h5ad(file)
    return len(frame)


@contextmanager
def _spooled(images: Images) -> Iterator[TableSpool]:
    with tempfile.TemporaryDirectory(prefix="cellgennet-") as folder:
        yield TableSpool(Path(folder), (image_table(entry, nuclei) for entry, nuclei in images))


@contextmanager
def _text_file(file: Path, compressed: bool) -> Iterator[IO[str]]:
    with file.open("wb") as raw:
        if not compressed:
            with io.TextIOWrapper(raw, encoding="utf-8", newline="") as text:
                yield text
            return
        # No name and no time inside, so that equal nuclei give equal bytes.
        with (
            gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as packed,
            io.TextIOWrapper(packed, encoding="utf-8", newline="") as text,
        ):
            yield text


FORMATS: dict[str, Writer] = {
    ".csv": partial(write_text_table, delimiter=","),
    ".csv.gz": partial(write_text_table, delimiter=",", compressed=True),
    ".tsv": partial(write_text_table, delimiter="\t"),
    ".tsv.gz": partial(write_text_table, delimiter="\t", compressed=True),
    ".parquet": write_parquet,
    ".geojson": write_geojson,
    ".geojson.gz": partial(write_geojson, compressed=True),
    ".h5ad": write_h5ad,
}
"""Writer by the ending of the file's name."""
