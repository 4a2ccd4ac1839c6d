"""Excel workbooks: numbers are numbers and texts are texts, whatever the language of the spreadsheet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..core.errors import ExportError
from .spool import Export, spooled
from .tables import rounded

MOST_ROWS = 1_048_575
"""Rows of a sheet below its header."""
_MOST_COLUMNS = 16_384
_LONGEST_TEXT = 32_767


def write_xlsx(file: Path, export: Export) -> int:
    """The table of csv as a workbook's first sheet. Raises ExportError for more than a sheet can hold."""
    with spooled(file, export) as spool:
        check_size(file, spool.rows, len(spool.schema))
        write_sheet(file, spool.schema.names, spool, export.about)
        return spool.rows


def check_size(file: Path, rows: int, columns: int) -> None:
    """Raises ExportError for a table that is larger than a sheet."""
    way_out = (
        "Write one file per image ({image} in the name), a summary (--summary), or .parquet, which R and "
        "Python read"
    )
    if rows > MOST_ROWS:
        raise ExportError(file, f"a sheet holds {MOST_ROWS:,} rows, and there are {rows:,} nuclei", way_out)
    if columns > _MOST_COLUMNS:
        raise ExportError(file, f"a sheet holds {_MOST_COLUMNS:,} columns, not {columns:,}", way_out)


def write_sheet(file: Path, names: list[str], tables: Iterable[pa.Table], about: Mapping[str, Any]) -> None:
    """Write tables with the same columns as one sheet with a fixed header; only one row is in memory.

    about : what is known of all of it, name to value, for a second sheet.
    """
    import xlsxwriter

    options = {"constant_memory": True, "tmpdir": str(file.parent), "in_memory": False}
    with xlsxwriter.Workbook(str(file), options) as book:
        sheet = book.add_worksheet("Nuclei")
        sheet.freeze_panes(1, 0)
        sheet.set_column(0, len(names) - 1, 16)
        for column, name in enumerate(names):
            sheet.write_string(0, column, name[:_LONGEST_TEXT], book.add_format({"bold": True}))
        row = 1
        for table in tables:
            columns = [column.to_pylist() for column in rounded(table)]
            for values in zip(*columns, strict=True):
                for column, value in enumerate(values):
                    if isinstance(value, str):
                        sheet.write_string(row, column, value[:_LONGEST_TEXT])
                    elif value is not None and abs(value) < float("inf"):
                        sheet.write_number(row, column, value)
                row += 1
        facts = book.add_worksheet("About")
        facts.set_column(0, 1, 24)
        for row, (name, value) in enumerate(about.items()):
            facts.write_string(row, 0, name.replace("_", " "))
            facts.write_string(row, 1, str(value)[:_LONGEST_TEXT])
