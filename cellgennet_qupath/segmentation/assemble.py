"""The nuclei of all tiles in one order that does not depend on the tiles, in chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from ..measure.tile import measure_tile
from ..nuclei import CHUNK, Nuclei, collect
from .task import SlideTask


@dataclass(frozen=True)
class TileNuclei:
    """The nuclei that belong to one tile.

    polygons     : (n,) Polygons in full-resolution pixels.
    probability  : (n,) float32.
    measurements : n rows.
    highest      : the highest foreground probability in the tile's core.
    """

    polygons: NDArray[np.object_]
    probability: NDArray[np.float32]
    measurements: pd.DataFrame
    highest: float


class TileStore(Protocol):
    """Finished tiles by index; a dict is one."""

    def __contains__(self, index: object, /) -> bool: ...

    def __getitem__(self, index: int, /) -> TileNuclei: ...

    def __setitem__(self, index: int, tile: TileNuclei, /) -> None: ...


@dataclass(frozen=True)
class SlideNuclei:
    """The nuclei of a slide from top to bottom, still in their tiles (see ``nuclei.NucleiChunks``).

    Only two numbers per nucleus are in memory, and the tiles of the current chunk.

    store   : the tiles.
    tile    : (n,) int32, the index of each nucleus' tile; row: (n,) int32, its row there.
    empty   : a table without rows, with the columns of all measurements.
    highest : the highest foreground probability in the segmented area.
    device  : what computed them.
    """

    store: TileStore
    tile: NDArray[np.int32]
    row: NDArray[np.int32]
    path_class: str
    empty: pd.DataFrame
    highest: float
    device: str

    def __len__(self) -> int:
        return len(self.tile)

    @property
    def nuclei(self) -> Nuclei:
        """All nuclei at once."""
        return collect(self)

    def chunks(self) -> Iterator[Nuclei]:
        """The nuclei in chunks; for a slide without nuclei one chunk without rows."""
        indices, first = np.unique(self.tile[::-1], return_index=True)
        last = dict(zip(indices.tolist(), (len(self) - 1 - first).tolist(), strict=True))
        held: dict[int, TileNuclei] = {}
        for start in range(0, max(1, len(self)), CHUNK):
            tile, row = self.tile[start : start + CHUNK], self.row[start : start + CHUNK]
            here, position = np.unique(tile, return_inverse=True)
            for index in here.tolist():
                if index not in held:
                    held[index] = self.store[index]
            yield self._chunk([held[index] for index in here.tolist()], position, row)
            held = {index: kept for index, kept in held.items() if last[index] >= start + CHUNK}

    def _chunk(self, tiles: list[TileNuclei], position: NDArray[np.intp], row: NDArray[np.int32]) -> Nuclei:
        """Some nuclei: ``position`` of each one's tile in the list, ``row`` in that tile."""
        if not tiles:
            return Nuclei.from_polygons([], path_class=self.path_class).with_measurements(self.empty)
        lengths = [len(tile.polygons) for tile in tiles]
        rows = np.concatenate([[0], np.cumsum(lengths[:-1], dtype=np.intp)])[position] + row
        nuclei = Nuclei.from_polygons(
            np.concatenate([tile.polygons for tile in tiles])[rows],
            np.concatenate([tile.probability for tile in tiles])[rows],
            self.path_class,
        )
        measurements = pd.concat([tile.measurements for tile in tiles], ignore_index=True)
        return nuclei.with_measurements(measurements.iloc[rows])


def assemble(task: SlideTask, store: TileStore, indices: Sequence[int], device: str) -> SlideNuclei:
    """The nuclei of finished tiles, in order; each tile is read once for the bounds of its nuclei."""
    tile, row, keys = [np.empty(0, np.int32)], [np.empty(0, np.int32)], [np.empty((0, 4))]
    highest = 0.0
    for index in indices:
        nuclei = store[index]
        bounds = shapely.bounds(nuclei.polygons).reshape(-1, 4)
        tile.append(np.full(len(bounds), index, np.int32))
        row.append(np.arange(len(bounds), dtype=np.int32))
        keys.append(bounds)
        highest = max(highest, nuclei.highest)
    x0, y0, x1, y1 = np.concatenate(keys).T
    order = np.lexsort((y1 - y0, x1 - x0, x0 + x1, y0 + y1))
    return SlideNuclei(
        store=store,
        tile=np.concatenate(tile)[order],
        row=np.concatenate(row)[order],
        path_class=task.model.path_class,
        empty=measure_tile(task.pixels, np.empty(0, dtype=object), task.measure_options),
        highest=highest,
        device=device,
    )
