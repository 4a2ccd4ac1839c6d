"""Tiles shared among the workers of a Dask scheduler, which somebody else started and secured.

All workers need the project, the slides and the bundle under the same paths. Unlike the processes of
``workers``, scheduler and workers can be away: this is noticed within ``_POLL`` + ``_SILENCE`` seconds.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import distributed

from ..core.errors import CellGenNetError, UsageError
from ..core.progress import Reporter
from ..geometry.grid import Tile
from .task import SlideTask
from .workers import MOST_LOSSES, Done, segment_tiles, workers_lost

_PATIENCE = 25.0
_POLL = 5.0
_SILENCE = 20.0

_SETTINGS = {
    "distributed.admin.large-graph-warning-threshold": "1GB",
    "distributed.scheduler.allowed-failures": MOST_LOSSES,
    "distributed.comm.timeouts.connect": f"{_PATIENCE:g}s",
    # No memory management by Dask: our own blocks and queues are bounded.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
}

# Failures come back as exceptions; Dask's own log lines are for cluster administrators.
logging.getLogger("distributed").setLevel(logging.CRITICAL)


@contextmanager
def dask_workers(address: str, worker_timeout: float | None = None) -> Iterator[DaskWorkers]:
    """The workers of a Dask scheduler, for a ``with`` block.

    worker_timeout : seconds to wait where no worker is connected; None: without end.
    Raises UsageError if no scheduler answers within 30 seconds.
    """
    with dask.config.set(_SETTINGS):
        try:
            client = _connected(address)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"--dask {address}",
                f"no scheduler answers there ({' '.join(str(error).split())})",
                "Start one: `dask scheduler`",
            ) from error
        workers = DaskWorkers(client, worker_timeout)
        try:
            yield workers
        finally:
            client.close(timeout=1 if workers.lost else _SILENCE)


def _connected(address: str) -> distributed.Client:
    """A client. Dask's own timeout does not end the wait for a scheduler that is reached and never answers.

    Raises OSError and ValueError.
    """
    outcome: queue.Queue[Any] = queue.Queue()

    def connect() -> None:
        try:
            outcome.put(distributed.Client(address, timeout=_PATIENCE))
        except Exception as error:
            outcome.put(error)

    threading.Thread(target=connect, daemon=True).start()
    try:
        found = outcome.get(timeout=_PATIENCE + 2)
    except queue.Empty:
        raise TimeoutError(f"no answer within {_PATIENCE:g} s") from None
    if isinstance(found, Exception):
        raise found
    return found


class DaskWorkers:
    """The workers behind a Dask client (see ``Workers``).

    lost : whether the scheduler has stopped answering; then every further image fails at once.
    """

    def __init__(self, client: distributed.Client, worker_timeout: float | None = None) -> None:
        self._client = client
        self._worker_timeout = worker_timeout
        self._without_since: float | None = None
        self._warned = False
        self.lost = False

    @property
    def count(self) -> int:
        return max(1, len(self._client.scheduler_info()["workers"]))

    def finished(
        self, task: SlideTask, groups: Sequence[list[Tile]], folder: Path, reporter: Reporter
    ) -> Generator[tuple[list[Tile], Done]]:
        """See ``Workers``. Raises CellGenNetError where the scheduler is lost, or no worker comes in time."""
        if self.lost:
            raise _scheduler_lost()
        # Pickled here: otherwise the scheduler would open slide and model on their way to the workers.
        packed = distributed.protocol.pickle.dumps(task)
        pending = {
            self._client.submit(_segment_packed, packed, group, folder, pure=False): group for group in groups
        }
        try:
            while pending:
                for future in self._wait(list(pending), reporter):
                    yield pending.pop(future), self._result(future)
        finally:
            if not self.lost:
                self._client.cancel(list(pending))

    def _wait(self, pending: list[Any], reporter: Reporter) -> list[Any]:
        """The futures that are done; none after a while, when the scheduler is asked for its workers."""
        try:
            return list(distributed.wait(pending, timeout=_POLL, return_when="FIRST_COMPLETED").done)
        except TimeoutError:
            self._look_for_workers(reporter)
            return []
        except distributed.CancelledError as error:
            self.lost = True
            raise _scheduler_lost() from error

    def _look_for_workers(self, reporter: Reporter) -> None:
        try:
            answer = self._client.sync(self._client.scheduler.identity, callback_timeout=_SILENCE)
        except (TimeoutError, OSError) as error:
            self.lost = True
            raise _scheduler_lost() from error
        now = time.monotonic()
        if answer["workers"]:
            self._without_since, self._warned = None, False
            return
        since = self._without_since = self._without_since or now
        if self._worker_timeout is not None and now - since >= self._worker_timeout:
            raise CellGenNetError(
                "workers",
                f"no worker has been connected to the scheduler for {now - since:.0f} s",
                "Start one: `dask worker ADDRESS`",
            )
        if not self._warned:
            self._warned = True
            reporter.warn(
                "No worker is connected to the scheduler: waiting for one "
                "(start it with `dask worker ADDRESS`, or set --worker-timeout)."
            )

    def _result(self, future: Any) -> Done:
        try:
            done: Done = future.result()
        except distributed.scheduler.KilledWorker as error:
            raise workers_lost() from error
        except distributed.CancelledError as error:
            self.lost = True
            raise _scheduler_lost() from error
        return done


def _segment_packed(packed: bytes, tiles: Sequence[Tile], folder: Path) -> Done:
    task: SlideTask = distributed.protocol.pickle.loads(packed)
    try:
        return segment_tiles(task, tiles, folder)
    finally:
        task.pixels.close()


def _scheduler_lost() -> CellGenNetError:
    return CellGenNetError(
        "workers", "the scheduler is no longer reachable", "Start it again and run the same command again"
    )
