"""Tables in files that a run writes and reads back once: in Arrow's own format, which takes little time."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa


def write_scratch(file: Path, table: pa.Table) -> None:
    """Write a table. Raises OSError."""
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table)


def read_scratch(file: Path) -> pa.Table:
    """The table that ``write_scratch`` wrote. Raises OSError."""
    with pa.OSFile(str(file)) as source:
        return pa.ipc.open_file(source).read_all()
