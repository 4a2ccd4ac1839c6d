"""One writer per file format, each from the detections of many images to one file, block by block."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq

from ..qupath.formats.detections import feature_lines
from ..qupath.project import DetectionBlock, ImageEntry
from .h5ad import write_tables
from .tables import GEOMETRY, TableSpool, image_table
from .text import text_file, write_text

Blocks = Iterable[tuple[ImageEntry, DetectionBlock]]
"""Some detections of an image at a time, none of them empty."""

Writer = Callable[[Path, Blocks], int]
"""Writes a file and returns how many detections are in it. Raises OSError and ExportError."""


def write_text_table(file: Path, blocks: Blocks, delimiter: str, compressed: bool = False) -> int:
    """A table as QuPath's measurement export writes it: UTF-8, one header line, no index."""
    with _spooled(file, blocks, outlines=False) as spool:
        write_text(file, spool.schema.names, spool, delimiter, compressed)
        return spool.rows


def write_parquet(file: Path, blocks: Blocks) -> int:
    """The same columns with unrounded numbers, and the outlines as GeoParquet (WKB, pixels)."""
    geo = {
        "version": "1.1.0",
        "primary_column": GEOMETRY,
        "columns": {GEOMETRY: {"encoding": "WKB", "geometry_types": [], "crs": None}},
    }
    with _spooled(file, blocks, outlines=True) as spool:
        schema = spool.schema.with_metadata({"geo": json.dumps(geo)})
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for table in spool:
                writer.write_table(table.cast(schema))
        return spool.rows


def write_geojson(file: Path, blocks: Blocks, compressed: bool = False) -> int:
    """All detections as GeoJSON; every feature names its image, as coordinates are each image's own."""
    count = 0
    with text_file(file, compressed) as text:
        text.write('{"type":"FeatureCollection","features":[\n')
        for entry, block in blocks:
            named = f'"properties":{{"image":{json.dumps(entry.name, ensure_ascii=False)},'
            for line in feature_lines(block.nuclei):
                text.write(",\n" if count else "")
                text.write(line.replace('"properties":{', named, 1))
                count += 1
        text.write("\n]}\n")
    return count


def write_h5ad(file: Path, blocks: Blocks) -> int:
    """AnnData (see ``h5ad``)."""
    with _spooled(file, blocks, outlines=False) as spool:
        write_tables(file, spool)
        return spool.rows


@contextmanager
def _spooled(file: Path, blocks: Blocks, outlines: bool) -> Iterator[TableSpool]:
    # Beside the file: where a table of gigabytes is to go, there is room for another.
    with tempfile.TemporaryDirectory(prefix=".cellgennet-", dir=file.parent) as folder:
        yield TableSpool(Path(folder), (image_table(entry, block, outlines) for entry, block in blocks))


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


def ending_of(name: str, endings: Iterable[str]) -> str | None:
    """The longest of some endings that a file's name has; None if it has none."""
    return max((ending for ending in endings if name.lower().endswith(ending)), key=len, default=None)
