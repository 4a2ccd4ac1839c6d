"""Tiles shared among processes of this computer, which talk through pipes: no port is opened.

Each worker opens the slide and the model itself and saves finished tiles for this process to read. If a
worker is lost, others redo the tiles it had not finished. ``cluster`` does the same with Dask.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, Protocol, cast

from ..core.errors import CellGenNetError
from ..core.files import refuse_links, remove_file
from ..core.progress import SILENT, Reporter
from ..geometry.grid import Tile
from .assemble import SlideNuclei, assemble
from .checkpoint import TileFiles
from .slide import tile_nuclei
from .task import SlideTask

_LARGEST_GROUP = 8192
_GROUPS_PER_WORKER = 3
_PATIENCE = 5.0

MOST_LOSSES = 3
"""A group of tiles that ends more workers than this is itself the cause."""


@dataclass(frozen=True)
class Done:
    """A worker's report on its tiles: how many nuclei, and what computed them."""

    nuclei: int
    device: str


class Workers(Protocol):
    """Processes that segment tiles."""

    @property
    def count(self) -> int:
        """How many there are now; at least 1."""

    def finished(
        self, task: SlideTask, groups: Sequence[list[Tile]], folder: Path, reporter: Reporter
    ) -> Generator[tuple[list[Tile], Done]]:
        """Segment groups of tiles into ``TileFiles(folder)``; each group as it is done, in any order.

        Raises what was raised in a worker, and CellGenNetError where workers are lost again and again.
        """


def segment_slide_distributed(
    client: Workers,
    task: SlideTask,
    tiles: Sequence[Tile],
    store: TileFiles,
    reporter: Reporter = SILENT,
) -> SlideNuclei:
    """``segment_slide`` on workers: the same tiles, the same nuclei."""
    missing = [tile for tile in tiles if tile.index not in store]
    devices: set[str] = set()
    found = 0
    with reporter.track("segmenting", len(tiles), "tiles") as progress:
        progress.advance(len(tiles) - len(missing))
        groups = group_tiles(missing, client.count)
        with closing(client.finished(task, groups, store.folder.absolute(), reporter)) as finished:
            for group, done in finished:
                found += done.nuclei
                devices.add(done.device)
                progress.advance(len(group), f"{found} nuclei")
    if len(devices) > 1:
        reporter.warn(
            f"The workers use different devices ({'; '.join(sorted(devices))}): "
            "a few nuclei may differ from those of one of them alone."
        )
    computed = "; ".join(sorted(devices)) or task.model.predictor.device
    return assemble(task, store, [tile.index for tile in tiles], computed)


def segment_tiles(task: SlideTask, tiles: Sequence[Tile], folder: Path) -> Done:
    """Segment tiles and save them in a folder; runs on a worker."""
    store = TileFiles(folder)
    found = 0
    missing = [tile for tile in tiles if tile.index not in store]
    with closing(tile_nuclei(task, missing)) as finished:
        for tile, nuclei in finished:
            store[tile.index] = nuclei
            found += len(nuclei.polygons)
    return Done(found, task.model.predictor.device)


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


def workers_lost() -> CellGenNetError:
    """The error where one group of tiles ended worker after worker."""
    return CellGenNetError(
        "workers",
        "several workers died on the same group of tiles, probably for lack of memory",
        "Use fewer workers on each computer",
    )


@contextmanager
def local_workers(count: int) -> Iterator[LocalWorkers]:
    """``count`` processes on this computer, for a ``with`` block."""
    workers = LocalWorkers(count)
    try:
        yield workers
    finally:
        workers.close()


@dataclass
class _Worker:
    """A process, this end of its pipe, and the group of tiles that it segments (None: idle)."""

    process: BaseProcess
    connection: Connection[Any, Any]
    group: list[Tile] | None = None
    knows_task: bool = False


class LocalWorkers:
    """Processes of this computer (see ``Workers``). They start with the first tiles, end with ``close``."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._workers: list[_Worker] = []

    @property
    def processes(self) -> list[int]:
        """The process ids of the workers that run."""
        return [worker.process.pid or 0 for worker in self._workers]

    def finished(
        self, task: SlideTask, groups: Sequence[list[Tile]], folder: Path, reporter: Reporter = SILENT
    ) -> Generator[tuple[list[Tile], Done]]:
        """See ``Workers``. A worker that dies is replaced."""
        packed = bytes(ForkingPickler.dumps(task))
        waiting = deque(groups)
        losses: Counter[int] = Counter()
        for worker in self._workers:
            worker.knows_task = False
        try:
            while waiting or self._busy():
                self._hand_out(waiting, packed, folder)
                for worker, outcome in self._outcomes():
                    group, worker.group = worker.group or [], None
                    if isinstance(outcome, Done):
                        yield group, outcome
                    elif outcome is not None:
                        raise outcome
                    else:
                        self._end(worker)
                        losses[group[0].index] += 1
                        if losses[group[0].index] > MOST_LOSSES:
                            raise workers_lost()
                        waiting.append(group)
        finally:
            self._stop(folder)

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.connection.close()
        for worker in list(self._workers):
            worker.process.join(_PATIENCE)
            self._end(worker)

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.group is not None]

    def _hand_out(self, waiting: deque[list[Tile]], packed: bytes, folder: Path) -> None:
        """Give every idle worker a group of tiles; start workers as long as there are groups for them."""
        while waiting:
            idle = next((worker for worker in self._workers if worker.group is None), None)
            if idle is None and len(self._workers) == self.count:
                return
            worker = idle or self._start()
            worker.group = waiting.popleft()
            try:
                worker.connection.send((None if worker.knows_task else packed, worker.group, folder))
                worker.knows_task = True
            except OSError:  # it died, as ``_outcomes`` will notice
                continue

    def _outcomes(self) -> list[tuple[_Worker, Done | BaseException | None]]:
        """Wait for results, errors or deaths (None) of busy workers."""
        ready = wait([worker.connection for worker in self._busy()])
        outcomes: list[tuple[_Worker, Done | BaseException | None]] = []
        for worker in self._busy():
            if worker.connection in ready:
                try:
                    outcomes.append((worker, worker.connection.recv()))
                except (EOFError, OSError):
                    outcomes.append((worker, None))
        return outcomes

    def _start(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(there,), daemon=True)
        with _uninterrupted():
            process.start()
        there.close()
        worker = _Worker(process, here)
        self._workers.append(worker)
        return worker

    def _stop(self, folder: Path) -> None:
        """After an error or an interruption: end the workers that still segment tiles."""
        busy = self._busy()
        for worker in busy:
            self._end(worker)
        if busy and folder.is_dir():
            for part in refuse_links(folder):
                remove_file(folder, part)

    def _end(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.connection.close()
        for end in (worker.process.terminate, worker.process.kill):
            if worker.process.is_alive():
                end()
                worker.process.join(_PATIENCE)
        if not worker.process.is_alive():
            worker.process.close()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """A process started here does not see Ctrl-C, from its first moment on: this process ends it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(connection: Connection[Any, Any]) -> None:
    """The life of a worker: (task, if it is another one; tiles; folder) in, ``Done`` or an error out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    task: SlideTask | None = None
    while True:
        outcome: Done | BaseException
        try:
            packed, tiles, folder = connection.recv()
            try:
                if packed is not None:
                    _close(task)
                    task = None
                    task = ForkingPickler.loads(packed)
                outcome = segment_tiles(cast(SlideTask, task), tiles, folder)
            except Exception as error:
                outcome = _portable(error)
            connection.send(outcome)
        except (EOFError, OSError):
            _close(task)
            return


def _close(task: SlideTask | None) -> None:
    if task is not None:
        task.pixels.close()


def _end_with_parent() -> None:
    """End this process when the one that started it ends, however it does."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _portable(error: Exception) -> Exception:
    """An error that can be sent to another process."""
    try:
        return ForkingPickler.loads(ForkingPickler.dumps(error))  # type: ignore[no-any-return]
    except Exception as problem:
        return RuntimeError(f"{type(error).__name__}: {error} ({type(problem).__name__} on its way)")
