"""One writer per file format; each writes the detections of many images to one file, in chunks."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq

from ..qupath.formats.detections import feature_lines
from ..qupath.project import DetectionChunk, ImageEntry
from .cells import writable
from .h5ad import write_tables
from .tables import GEOMETRY, Kind, TableSpool, image_table, kind_of
from .text import text_file, write_text

Chunks = Iterable[tuple[ImageEntry, DetectionChunk]]
"""Pairs of an image and some of its detections; no chunk is empty."""

Writer = Callable[[Path, Chunks], int]
"""Writes a file and returns the number of detections in it. Raises OSError and ExportError."""


def write_text_table(file: Path, chunks: Chunks, delimiter: str, compressed: bool = False) -> int:
    """A text table as QuPath's measurement export writes it: UTF-8, one header line, no index."""
    with _spooled(file, chunks, outlines=False) as spool:
        write_text(file, spool.schema.names, spool, delimiter, compressed)
        return spool.rows


def write_parquet(file: Path, chunks: Chunks) -> int:
    """The same columns with unrounded numbers, and the outlines as GeoParquet (WKB, in pixels)."""
    with _spooled(file, chunks, outlines=True) as spool:
        outlines = [name for name in spool.schema.names if kind_of(name) is Kind.OUTLINE]
        geo = {
            "version": "1.1.0",
            "primary_column": GEOMETRY,
            "columns": {name: {"encoding": "WKB", "geometry_types": [], "crs": None} for name in outlines},
        }
        schema = spool.schema.with_metadata({"geo": json.dumps(geo)})
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for table in spool:
                writer.write_table(table.cast(schema))
        return spool.rows


def write_geojson(file: Path, chunks: Chunks, compressed: bool = False) -> int:
    """All detections as GeoJSON; each feature names its image, to whose pixels its coordinates refer."""
    count = 0
    with text_file(file, compressed) as text:
        text.write('{"type":"FeatureCollection","features":[\n')
        for entry, chunk in chunks:
            named = f'"properties":{{"image":{json.dumps(writable(entry.name), ensure_ascii=False)},'
            for line in feature_lines(chunk.nuclei):
                text.write(",\n" if count else "")
                text.write(line.replace('"properties":{', named, 1))
                count += 1
        text.write("\n]}\n")
    return count


def write_h5ad(file: Path, chunks: Chunks) -> int:
    """AnnData; see ``h5ad``. Needs the extra ``h5ad``."""
    with _spooled(file, chunks, outlines=False) as spool:
        write_tables(file, spool)
        return spool.rows


@contextmanager
def _spooled(file: Path, chunks: Chunks, outlines: bool) -> Iterator[TableSpool]:
    # Beside the file: a disk that can hold a table of gigabytes can usually hold a second one.
    with tempfile.TemporaryDirectory(prefix=".cellgennet-", dir=file.parent) as folder:
        yield TableSpool(Path(folder), (image_table(entry, chunk, outlines) for entry, chunk in chunks))


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
"""Ending of the file name -> writer."""


def ending_of(name: str, endings: Iterable[str]) -> str | None:
    """The longest of these endings that a file name has; None if it has none of them."""
    return max((ending for ending in endings if name.lower().endswith(ending)), key=len, default=None)
