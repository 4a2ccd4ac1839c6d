"""``manifest.csv``: in which split and group the images of a folder are."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import UsageError
from ..core.wording import composed, listed

Key = tuple[str, str]
"""The name of a dataset's folder ("" where the list has no such column), and that of a file in it."""


@dataclass(frozen=True)
class Manifest:
    """The rows of a list by dataset and file; without any where no list is needed."""

    file: Path
    rows: Mapping[Key, Mapping[str, str]]

    def row(self, dataset: str, name: str) -> Mapping[str, str]:
        """The row of an image; empty where the list lacks it."""
        dataset, name = composed(dataset), composed(name)
        return self.rows.get((dataset, name)) or self.rows.get(("", name)) or {}

    def oddities(self, images: Iterable[Key], split: str | None) -> list[str]:
        """What does not fit between the list and the images that are there, one sentence each."""
        if not self.rows:
            return []
        images = [(composed(dataset), composed(name)) for dataset, name in images]
        there = {*images, *(("", name) for _, name in images)}
        wanted = {key: row for key, row in self.rows.items() if split is None or row.get("split") == split}
        absent = [name for (dataset, name) in wanted if (dataset, name) not in there]
        unlisted = [name for dataset, name in images if not self.row(dataset, name)]
        alike = [
            name
            for (_, name), row in self.rows.items()
            if split and row.get("split") != split and _folded(row.get("split")) == _folded(split)
        ]
        effect = "left out" if split else "in no group"
        sentences = [
            (absent, "listed, but no image of this name is there: check the column `file`"),
            (unlisted, f"not listed, so {effect}"),
            (alike, f"left out, as the split is written differently there than in --split {split}"),
        ]
        return [f"{self.file}: {listed(names)}: {why}." for names, why in sentences if names]


def read_manifest(folder: Path, needed: Sequence[str]) -> Manifest:
    """The list of a folder, with these columns; not read where none is needed.

    Raises UsageError where it is missing, is not such a list, or contradicts itself.
    """
    file = folder / "manifest.csv"
    if not needed:
        return Manifest(file, {})
    if not file.is_file():
        raise UsageError(file, "is missing", f"It lists each image (`file`) and its `{'`, `'.join(needed)}`")
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            return Manifest(file, _rows(file, csv.DictReader(stream, skipinitialspace=True), needed))
    except OSError as error:
        raise UsageError(file, f"cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise UsageError(file, "is not text in UTF-8", "In Excel, save it as CSV UTF-8") from error
    except csv.Error as error:
        raise UsageError(file, f"is not a table in CSV ({error})") from error


def _rows(file: Path, reader: csv.DictReader[str], needed: Sequence[str]) -> Mapping[Key, Mapping[str, str]]:
    names = reader.fieldnames or ()
    absent = [column for column in ("file", *needed) if column not in names]
    if absent:
        other = any(mark in name for name in names for mark in ";\t")
        hint = "Separate the columns with commas" if other else ""
        raise UsageError(file, f"has no column `{absent[0]}`", hint)
    rows: dict[Key, Mapping[str, str]] = {}
    for row in reader:
        key = _cell(row, "dataset"), _cell(row, "file")
        values = {column: _cell(row, column) for column in needed}
        if rows.setdefault(key, values) != values:
            raise UsageError(file, f"lists {key[1]} twice, with different values", "Delete one of the rows")
    return rows


def _cell(row: Mapping[str, str | None], column: str) -> str:
    return composed((row.get(column) or "").strip())


def _folded(text: str | None) -> str:
    return (text or "").strip().casefold()
