"""Work in other threads: items prefetched through short queues, and an ordered parallel map."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_POLL = 0.1
_PATIENCE = 30.0


class Prefetch:
    """Runs the stages of a pipeline at the same time. Leaving the ``with`` block stops all of them.

    The slow parts of every stage (decoding JPEG, the network, OpenCV, shapely) release the GIL.
    """

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def prefetch(self, items: Iterator[T], depth: int) -> Iterator[T]:
        """The same items in the same order, produced by another thread, up to ``depth`` of them ahead.

        An exception in that thread is raised here, after the items before it.
        """
        ready: queue.Queue[T | _End] = queue.Queue(depth)
        thread = threading.Thread(target=self._make, args=(items, ready), daemon=True)
        self._threads.append(thread)
        thread.start()
        while not self._stopped.is_set():
            try:
                item = ready.get(timeout=_POLL)
            except queue.Empty:
                continue
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def _make(self, items: Iterator[T], ready: queue.Queue[T | _End]) -> None:
        error: BaseException | None = None
        try:
            for item in items:
                if not self._put(item, ready):
                    return
        except BaseException as raised:
            # Raised again in the consumer's thread.
            error = raised
        self._put(_End(error), ready)

    def _put(self, item: T | _End, ready: queue.Queue[T | _End]) -> bool:
        while not self._stopped.is_set():
            try:
                ready.put(item, timeout=_POLL)
            except queue.Full:
                continue
            return True
        return False

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        for thread in self._threads:
            # The caller closes the slide next, so no thread may still be reading.
            thread.join(_PATIENCE)


def ordered_map(work: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """``work(item)`` for each item, in order, on ``workers`` threads; one item waits for each next thread."""
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[R]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


class _End:
    """Marks the end of the items, with the exception that ended them, if any."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
