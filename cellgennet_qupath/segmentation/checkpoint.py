"""Finished tiles on disk, from which an interrupted run continues.

``<project>/cellgennet/runs/<run>/<entry>/`` holds ``task.json`` (what the tiles were made from) and one file
per finished tile: Parquet (outlines as WKB, probability, measurements) and its SHA-256. No file is ever
half-written, and one that was damaged later is not taken for a finished tile.
"""

from __future__ import annotations

import hashlib
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
_CHECKSUM = 32
"""Bytes of the SHA-256 at the end of a tile's file."""


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
            content = _checked(file)
            if content is None:
                raise ValueError("another checksum")
            table = pq.read_table(pa.BufferReader(content))
            outlines = shapely.from_wkb(table[_OUTLINE].to_numpy(zero_copy_only=False))
            return TileNuclei(
                polygons=np.asarray(outlines, dtype=object),
                probability=table[_PROBABILITY].to_numpy(),
                measurements=table.drop_columns([_OUTLINE, _PROBABILITY]).to_pandas(),
                highest=float(table.schema.metadata[_HIGHEST]),
            )
        except (OSError, pa.ArrowException, KeyError, ValueError, shapely.errors.ShapelyError) as error:
            raise EntryDataError(
                file, "was damaged while it was used", "Check the disk and run the same command again"
            ) from error

    def __setitem__(self, index: int, tile: TileNuclei) -> None:
        """Save a tile. Raises EntryDataError if it cannot be written."""
        columns: dict[str, Any] = {
            _OUTLINE: pa.array(shapely.to_wkb(tile.polygons).tolist(), pa.binary()),
            _PROBABILITY: tile.probability,
        }
        columns |= {name: tile.measurements[name].to_numpy() for name in tile.measurements.columns}
        table = pa.table(columns).replace_schema_metadata({_HIGHEST: repr(tile.highest)})
        with _write_errors(self._file(index)), replacing(self._file(index), self._root) as part:
            sink = pa.BufferOutputStream()
            pq.write_table(table, sink, compression="zstd")
            content = sink.getvalue().to_pybytes()
            part.write_bytes(content + hashlib.sha256(content).digest())

    def _file(self, index: int) -> Path:
        return self.folder / f"tile_{index:06d}.parquet"


class Checkpoint(TileFiles):
    """The finished tiles of one image, by index. Tiles with another fingerprint or checksum are deleted.

    folder      : of this image in this run.
    fingerprint : plain data that is equal only for tasks with equal tiles.
    damaged     : how many tiles were deleted because their checksums did not fit.
    """

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any]) -> None:
        super().__init__(folder)
        self.damaged = 0
        with _write_errors(folder):
            if _read(folder / "task.json") != fingerprint:
                remove(folder)
                _write(folder / "task.json", fingerprint)
            for leftover in folder.glob(".*.part"):
                remove_file(self._root, leftover)
            for file in folder.glob("tile_*.parquet"):
                if _checked(file) is None:
                    remove_file(self._root, file)
                    self.damaged += 1

    def finish(self) -> None:
        """Delete the tiles, once the image's nuclei are in the project."""
        with _write_errors(self.folder):
            remove(self.folder)


def _checked(file: Path) -> bytes | None:
    """The content of a file that ends with its SHA-256; None if it does not."""
    content = file.read_bytes()
    content, checksum = content[:-_CHECKSUM], content[-_CHECKSUM:]
    return content if hashlib.sha256(content).digest() == checksum else None


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
