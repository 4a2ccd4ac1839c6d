"""The nuclei of an export, and tables of them buffered on disk until all columns are known."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..core.progress import SILENT, Reporter
from ..qupath.project import DetectionChunk, ImageEntry
from .scratch import read_scratch, write_scratch
from .tables import Layout, image_table, kind_of

Chunks = Iterable[tuple[ImageEntry, DetectionChunk]]
"""Pairs of an image and some of its detections; no chunk is empty, and those of an image are consecutive."""


@dataclass(frozen=True)
class Export:
    """The nuclei that a writer writes, and what it may say about them.

    chunks : detections with their images, both in the units of the export.
    entries: all images of the export, in its units, those without detections as well.
    extra  : columns on request by image id: name to text.
    images : what is known of each image, by its id (see ``about``).
    about  : unit, versions and models, as plain data.
    modern : whether columns are named as by QuPath 0.6 and later.
    excel  : whether a text table is for a spreadsheet.
    """

    chunks: Chunks
    entries: Sequence[ImageEntry] = ()
    extra: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    images: Mapping[str, Mapping[str, str | float]] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    modern: bool = True
    excel: bool = False
    reporter: Reporter = SILENT


class TableSpool:
    """Tables of nuclei buffered on disk, and read back one by one with the columns of all of them.

    Where a table lacks a column, the column is null. Columns are in the order of their kinds, and of one kind
    in order of first appearance.
    """

    def __init__(self, folder: Path, export: Export, outlines: bool) -> None:
        self._files: list[tuple[ImageEntry, Path]] = []
        self._reporter = export.reporter
        self.rows = 0
        fields: dict[str, pa.Field] = {}
        for entry, chunk in export.chunks:
            layout = Layout(export.modern, outlines, export.extra.get(entry.id))
            table = image_table(entry, chunk, layout)
            file = folder / f"{len(self._files)}.arrow"
            write_scratch(file, table)
            self._files.append((entry, file))
            self.rows += table.num_rows
            fields |= {field.name: field for field in table.schema if field.name not in fields}
        self.schema = pa.schema(sorted(fields.values(), key=lambda field: kind_of(field).value))

    def __iter__(self) -> Iterator[pa.Table]:
        for _, table in self.by_image():
            yield table

    def by_image(self) -> Iterator[tuple[ImageEntry, pa.Table]]:
        """The tables, each with its image; their rows are counted as written."""
        with self._reporter.track("writing", self.rows, "nuclei") as task:
            for entry, file in self._files:
                table = read_scratch(file)
                yield entry, pa.table([_column(table, field) for field in self.schema], schema=self.schema)
                task.advance(table.num_rows)

    def images(self) -> list[ImageEntry]:
        """The images that have nuclei, in order."""
        return list(dict.fromkeys(entry for entry, _ in self._files))

    def distinct(self, names: Iterable[str]) -> dict[str, list[str]]:
        """The distinct values of columns of texts, in order of first appearance."""
        values: dict[str, dict[str, None]] = {name: {} for name in names}
        for _, file in self._files:
            table = read_scratch(file)
            for name in values.keys() & set(table.column_names):
                values[name] |= dict.fromkeys(table[name].unique().drop_null().to_pylist())
        return {name: list(seen) for name, seen in values.items()}


@contextmanager
def spooled(file: Path, export: Export, outlines: bool = False) -> Iterator[TableSpool]:
    """Tables of all nuclei, buffered beside the file that is written from them.

    A disk that can hold a table of gigabytes can usually hold a second one.
    """
    with tempfile.TemporaryDirectory(prefix=".cellgennet-", dir=file.parent) as folder:
        yield TableSpool(Path(folder), export, outlines)


def _column(table: pa.Table, field: pa.Field) -> pa.Array:
    if field.name in table.column_names:
        return table[field.name].combine_chunks()
    return pa.nulls(table.num_rows, field.type)
