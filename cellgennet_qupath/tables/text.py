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

from .cells import text_cell
from .tables import as_lines


def write_text(
    file: Path, names: list[str], tables: Iterable[pa.Table], delimiter: str, compressed: bool = False
) -> None:
    """Write tables with the same columns, one after the other, as one text table."""
    with text_file(file, compressed) as text:
        csv.writer(text, delimiter=delimiter, lineterminator="\n").writerow(map(text_cell, names))
        for table in tables:
            text.writelines(f"{line}\n" for line in as_lines(table, delimiter))


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
