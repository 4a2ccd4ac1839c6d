"""GeoParquet: numbers as they are, and outlines in pixels."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .spool import Export, spooled
from .tables import GEOMETRY, Kind, kind_of


def write_parquet(file: Path, export: Export) -> int:
    """The columns of csv with unrounded numbers, and the outlines as GeoParquet (WKB)."""
    with spooled(file, export, outlines=True) as spool:
        outlines = [field.name for field in spool.schema if kind_of(field) is Kind.OUTLINE]
        schema = plain_schema(spool.schema).with_metadata(
            {"geo": geo_metadata(outlines), "cellgennet": json.dumps(export.about, ensure_ascii=False)}
        )
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for table in spool:
                writer.write_table(table.cast(schema))
        return spool.rows


def plain_schema(fields: Iterable[pa.Field]) -> pa.Schema:
    """The schema of columns without what only this package knows of them."""
    return pa.schema([field.remove_metadata() for field in fields])


def geo_metadata(columns: list[str]) -> str:
    """The key "geo" of GeoParquet 1.1: columns of WKB without a coordinate system, the first is the main one.

    ``"crs": null`` says that coordinates are no places on earth; left out, it would mean degrees.
    """
    about: dict[str, Any] = {"encoding": "WKB", "geometry_types": [], "crs": None}
    described = dict.fromkeys(columns, about)
    return json.dumps({"version": "1.1.0", "primary_column": GEOMETRY, "columns": described})
