"""Finished tiles on disk, so that a stopped run goes on where it stood.

``<project>/cellgennet/runs/<run>/<entry>/`` holds ``task.json`` (what the tiles were made from), one
Parquet file per finished tile (outlines as WKB, probability, measurements) and, once the image's nuclei
are in the project, ``done.json`` instead of the tiles. Every file is whole or not there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from ..atomic import replacing
from ..errors import EntryDataError
from .segment import TileNuclei

_OUTLINE, _PROBABILITY, _HIGHEST = "outline", "probability", b"highest"


class Checkpoint:
    """The finished tiles of one image, by index. What was made from something else is thrown away.

    folder      : of this image in this run.
    fingerprint : plain data that is equal only for tasks with equal tiles.
    """

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any]) -> None:
        self.folder = folder
        try:
            if _read(folder / "task.json") != fingerprint:
                remove(folder)
                _write(folder / "task.json", fingerprint)
            self._finished = {int(file.stem[5:]) for file in folder.glob("tile_*.parquet")}
        except OSError as error:
            raise EntryDataError(folder, f"cannot be written ({error.strerror})") from error

    def __contains__(self, index: object) -> bool:
        return index in self._finished

    def __getitem__(self, index: int) -> TileNuclei:
        """A finished tile. Raises KeyError, and EntryDataError where its file is damaged."""
        if index not in self._finished:
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
        """Keep a tile. Raises EntryDataError where it cannot be written."""
        columns: dict[str, Any] = {
            _OUTLINE: pa.array(shapely.to_wkb(tile.polygons).tolist(), pa.binary()),
            _PROBABILITY: tile.probability,
        }
        columns |= {name: tile.measurements[name].to_numpy() for name in tile.measurements.columns}
        table = pa.table(columns).replace_schema_metadata({_HIGHEST: repr(tile.highest)})
        try:
            with replacing(self._file(index)) as part:
                pq.write_table(table, part, compression="zstd")
        except OSError as error:
            raise EntryDataError(self._file(index), f"cannot be written ({error.strerror})") from error
        self._finished.add(index)

    @property
    def done(self) -> dict[str, Any] | None:
        """What ``finish`` was told in an earlier run; None if the image is not finished."""
        return _read(self.folder / "done.json")

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Note that the image's nuclei are in the project, and drop its tiles."""
        _write(self.folder / "done.json", summary)
        for index in self._finished:
            self._file(index).unlink(missing_ok=True)
        self._finished.clear()

    def _file(self, index: int) -> Path:
        return self.folder / f"tile_{index:06d}.parquet"


def remove(folder: Path) -> None:
    """Forget everything about an image; a run's folder that has no images left goes as well."""
    if folder.exists():
        shutil.rmtree(folder)
    if folder.parent.exists() and not any(folder.parent.iterdir()):
        folder.parent.rmdir()


def _read(file: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _write(file: Path, content: Mapping[str, Any]) -> None:
    with replacing(file) as part:
        part.write_text(json.dumps(content, indent=1), encoding="utf-8")
