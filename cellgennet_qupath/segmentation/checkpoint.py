"""Finished tiles on disk, from which an interrupted run continues.

``<project>/cellgennet/runs/<run>/<entry>/`` holds ``task.json`` (what the tiles were made from), one
Parquet file per finished tile (outlines as WKB, probability, measurements) and, once the image's nuclei
are in the project, ``done.json`` instead of the tiles. No file is ever half-written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from ..core.errors import EntryDataError
from ..core.files import remove_file, remove_tree, replacing
from .assemble import TileNuclei

_OUTLINE, _PROBABILITY, _HIGHEST = "outline", "probability", b"highest"


class TileFiles:
    """Finished tiles in a folder that several processes may share; a tile written twice is identical.

    Neither the folder nor the one above it may be a link.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._root = folder.parent

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int) and self._file(index).is_file()

    def __getitem__(self, index: int) -> TileNuclei:
        """A finished tile. Raises KeyError, and EntryDataError if its file is damaged."""
        if index not in self:
            raise KeyError(index)
        file = self._file(index)
        try:
            table = pq.read_table(file)
            outlines = shapely.from_wkb(table[_OUTLINE].to_numpy(zero_copy_only=False))
            return TileNuclei(
                polygons=np.asarray(outlines, dtype=object),
                probability=table[_PROBABILITY].to_numpy(),
                measurements=table.drop_columns([_OUTLINE, _PROBABILITY]).to_pandas(),
                highest=float(table.schema.metadata[_HIGHEST]),
            )
        except (OSError, pa.ArrowException, KeyError, ValueError, shapely.errors.ShapelyError) as error:
            raise EntryDataError(file, "is damaged", "Run the command again with --restart") from error

    def __setitem__(self, index: int, tile: TileNuclei) -> None:
        """Save a tile. Raises EntryDataError if it cannot be written."""
        columns: dict[str, Any] = {
            _OUTLINE: pa.array(shapely.to_wkb(tile.polygons).tolist(), pa.binary()),
            _PROBABILITY: tile.probability,
        }
        columns |= {name: tile.measurements[name].to_numpy() for name in tile.measurements.columns}
        table = pa.table(columns).replace_schema_metadata({_HIGHEST: repr(tile.highest)})
        with _write_errors(self._file(index)), replacing(self._file(index), self._root) as part:
            pq.write_table(table, part, compression="zstd")

    def _file(self, index: int) -> Path:
        return self.folder / f"tile_{index:06d}.parquet"


class Checkpoint(TileFiles):
    """The finished tiles of one image, by index. Tiles with another fingerprint are deleted.

    folder      : of this image in this run.
    fingerprint : plain data that is equal only for tasks with equal tiles.
    """

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any]) -> None:
        super().__init__(folder)
        with _write_errors(folder):
            if _read(folder / "task.json") != fingerprint:
                remove(folder)
                _write(folder / "task.json", fingerprint)
            for leftover in folder.glob(".*.part"):
                remove_file(self._root, leftover)

    @property
    def done(self) -> dict[str, Any] | None:
        """The summary of an earlier run that finished the image; None if it is not finished."""
        return _read(self.folder / "done.json")

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Record that the image's nuclei are in the project, and delete its tiles."""
        with _write_errors(self.folder):
            _write(self.folder / "done.json", summary)
            for file in self.folder.glob("tile_*.parquet"):
                remove_file(self._root, file)


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Report a full or read-only disk in one line."""
    try:
        yield
    except OSError as error:
        raise EntryDataError(
            path,
            f"cannot be written ({error.strerror or error})",
            "Free some space or allow writing, and run the same command again: finished tiles are kept",
        ) from error


def remove(folder: Path) -> None:
    """Delete everything about an image, and the run's folder if no image is left in it."""
    remove_tree(folder.parent, folder)
    if folder.parent.exists() and not any(folder.parent.iterdir()):
        folder.parent.rmdir()


def _read(file: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _write(file: Path, content: Mapping[str, Any]) -> None:
    with replacing(file, file.parent.parent) as part:
        part.write_text(json.dumps(content, indent=1), encoding="utf-8")
