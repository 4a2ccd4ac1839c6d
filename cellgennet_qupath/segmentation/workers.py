"""Tiles distributed over several processes: on this computer, or on the workers of a Dask scheduler.

Each worker opens the slide and the model itself and saves finished tiles for this process to read, so
all of them need the project, the slides and the bundle under the same paths. If a worker is lost, others
redo the tiles it had not finished.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import distributed

from ..core.errors import CellGenNetError, UsageError
from ..core.progress import SILENT, Reporter
from ..geometry.grid import Tile
from .assemble import SlideNuclei, assemble
from .checkpoint import TileFiles
from .slide import tile_nuclei
from .task import SlideTask

_LARGEST_GROUP = 8192
_GROUPS_PER_WORKER = 3
_PATIENCE = "30s"

_SETTINGS = {
    "distributed.admin.large-graph-warning-threshold": "1GB",
    # A group of tiles that ends three workers in a row is itself the cause.
    "distributed.scheduler.allowed-failures": 3,
    # No memory management by Dask: our own blocks and queues are bounded.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
}


@dataclass(frozen=True)
class _Done:
    """A worker's report on its tiles: how many nuclei, and what computed them."""

    nuclei: int
    device: str


# Failures come back as exceptions; Dask's own log lines are for cluster administrators.
logging.getLogger("distributed").setLevel(logging.CRITICAL)


@contextmanager
def local_workers(count: int) -> Iterator[distributed.Client]:
    """``count`` processes on this computer, for a ``with`` block."""
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(_SETTINGS))
        cluster = distributed.LocalCluster(
            n_workers=count, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=None
        )
        stack.enter_context(cluster)
        yield stack.enter_context(distributed.Client(cluster))


@contextmanager
def dask_workers(address: str) -> Iterator[distributed.Client]:
    """The workers of a Dask scheduler. Raises UsageError if it does not answer."""
    with dask.config.set(_SETTINGS):
        try:
            client = distributed.Client(address, timeout=_PATIENCE)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"--dask {address}", f"no scheduler answers there ({error})", "Start one: `dask scheduler`"
            ) from error
        with client:
            yield client


def segment_slide_distributed(
    client: distributed.Client,
    task: SlideTask,
    tiles: Sequence[Tile],
    store: TileFiles,
    reporter: Reporter = SILENT,
) -> SlideNuclei:
    """``segment_slide`` on the workers of a client: the same tiles, the same nuclei."""
    missing = [tile for tile in tiles if tile.index not in store]
    with reporter.track("segmenting", len(tiles), "tiles") as progress:
        progress.advance(len(tiles) - len(missing))
        workers = max(1, len(client.scheduler_info()["workers"]))
        groups = group_tiles(missing, workers)
        # Pickled here: otherwise the scheduler would open slide and model on their way to the workers.
        packed = distributed.protocol.pickle.dumps(task)
        folder = store.folder.absolute()
        pending = {
            client.submit(_segment_packed, packed, group, folder, pure=False): group for group in groups
        }
        devices: set[str] = set()
        found = 0
        try:
            for future in distributed.as_completed(pending):
                done = _result(future)
                found += done.nuclei
                devices.add(done.device)
                progress.advance(len(pending[future]), f"{found} nuclei")
        finally:
            client.cancel(list(pending))
    if len(devices) > 1:
        reporter.warn(
            f"The workers use different devices ({'; '.join(sorted(devices))}): "
            "a few nuclei may differ from those of one of them alone."
        )
    computed = "; ".join(sorted(devices)) or task.model.predictor.device
    return assemble(task, store, [tile.index for tile in tiles], computed)


def segment_tiles(task: SlideTask, tiles: Sequence[Tile], folder: Path) -> _Done:
    """Segment tiles and save them in a folder; runs on a worker."""
    store = TileFiles(folder)
    found = 0
    for tile, nuclei in tile_nuclei(task, [tile for tile in tiles if tile.index not in store]):
        store[tile.index] = nuclei
        found += len(nuclei.polygons)
    return _Done(found, task.model.predictor.device)


def _segment_packed(packed: bytes, tiles: Sequence[Tile], folder: Path) -> _Done:
    task: SlideTask = distributed.protocol.pickle.loads(packed)
    try:
        return segment_tiles(task, tiles, folder)
    finally:
        task.pixels.close()


def group_tiles(tiles: Sequence[Tile], workers: int) -> list[list[Tile]]:
    """Tiles in about square groups: a few for each worker, but large ones, as groups share no maps."""
    if not tiles:
        return []
    tile = max(one.core.columns for one in tiles)
    area = sum(one.core.columns * one.core.rows for one in tiles)
    wanted = math.sqrt(area / (workers * _GROUPS_PER_WORKER))
    side = max(1, round(min(wanted, _LARGEST_GROUP) / tile)) * tile
    groups: dict[tuple[int, int], list[Tile]] = {}
    for one in tiles:
        groups.setdefault((one.core.y0 // side, one.core.x0 // side), []).append(one)
    return list(groups.values())


def _result(future: Any) -> _Done:
    try:
        done: _Done = future.result()
    except distributed.scheduler.KilledWorker as error:
        raise CellGenNetError(
            "workers",
            "several workers died on the same group of tiles, probably for lack of memory",
            "Use fewer workers on each computer",
        ) from error
    except distributed.CancelledError as error:
        raise CellGenNetError(
            "workers", "the scheduler is no longer reachable", "Start it again and run the same command again"
        ) from error
    return done
