"""Text tables."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pyarrow as pa

from .cells import keep_text, text_cell
from .spool import Export, spooled
from .tables import as_lines

BYTE_ORDER_MARK = "\ufeff"


def write_text_table(file: Path, export: Export, delimiter: str, compressed: bool = False) -> int:
    """A text table as QuPath's measurement export writes it: UTF-8, one header line, no index."""
    with spooled(file, export) as spool:
        write_text(file, spool.schema.names, spool, delimiter, compressed, export.excel)
        return spool.rows


def write_text(
    file: Path,
    names: list[str],
    tables: Iterable[pa.Table],
    delimiter: str,
    compressed: bool = False,
    excel: bool = False,
) -> None:
    """Write tables with the same columns, one after the other, as one text table.

    excel : begin with a byte order mark, so that Excel reads UTF-8, and mark the texts that a spreadsheet
            would take for numbers or dates.
    """
    with text_file(file, compressed) as text:
        text.write(BYTE_ORDER_MARK if excel else "")
        csv.writer(text, delimiter=delimiter, lineterminator="\n").writerow(map(text_cell, names))
        for table in tables:
            text.write(as_lines(keep_text(table) if excel else table, delimiter))


@contextmanager
def text_file(file: Path, compressed: bool) -> Iterator[IO[str]]:
    """Open a UTF-8 text file for writing; line ends are written unchanged, lone surrogates as ``?``."""
    with file.open("wb") as raw:
        if not compressed:
            with io.TextIOWrapper(raw, encoding="utf-8", errors="replace", newline="") as text:
                yield text
            return
        # Without name and time, so that equal tables give equal bytes.
        with (
            gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as packed,
            io.TextIOWrapper(packed, encoding="utf-8", errors="replace", newline="") as text,
        ):
            yield text
