"""The file formats of an export: one writer each, and what each can hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from .geojson import write_geojson
from .h5ad import write_h5ad
from .parquet import write_parquet
from .spatialdata import write_spatialdata
from .spool import Export
from .text import write_text_table
from .xlsx import write_xlsx

Writer = Callable[[Path, Export], int]
"""Writes a file, or into a folder that exists, and returns the number of detections in it.

Raises OSError and ExportError.
"""


@dataclass(frozen=True)
class Format:
    """A writer and what its files can hold.

    one_unit : numbers of all images stand in one matrix or column, so they must have one unit.
    is_text  : a text table, which a spreadsheet may open.
    is_layer : viewers load it as the shapes on one image.
    folder   : it is a folder.
    extra    : of the installation, which it needs.
    """

    write: Writer
    one_unit: bool = False
    is_text: bool = False
    is_layer: bool = False
    folder: bool = False
    extra: str = ""


_CSV = Format(partial(write_text_table, delimiter=","), is_text=True)
_TSV = Format(partial(write_text_table, delimiter="\t"), is_text=True)
_GEOJSON = Format(write_geojson, is_layer=True)

FORMATS: dict[str, Format] = {
    ".csv": _CSV,
    ".csv.gz": replace(_CSV, write=partial(write_text_table, delimiter=",", compressed=True)),
    ".tsv": _TSV,
    ".tsv.gz": replace(_TSV, write=partial(write_text_table, delimiter="\t", compressed=True)),
    ".xlsx": Format(write_xlsx),
    ".parquet": Format(write_parquet, one_unit=True),
    ".geojson": _GEOJSON,
    ".geojson.gz": replace(_GEOJSON, write=partial(write_geojson, compressed=True)),
    ".h5ad": Format(write_h5ad, one_unit=True, extra="h5ad"),
    ".zarr": Format(write_spatialdata, one_unit=True, folder=True, extra="h5ad"),
}
"""Ending of the file name -> format."""


def ending_of(name: str, endings: Iterable[str]) -> str | None:
    """The longest of these endings that a file name has; None if it has none of them."""
    return max((ending for ending in endings if name.lower().endswith(ending)), key=len, default=None)
