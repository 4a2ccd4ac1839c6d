"""Work in other threads: items prefetched through short queues, and an ordered parallel map.

A step in another thread cannot be interrupted. After a stop it is waited for a few seconds, then left alone.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_POLL = 0.1
_AFTER_A_STOP = 5.0
"""Seconds for which steps are waited for when the user has stopped the work."""
_AFTER_AN_ERROR = 30.0
"""The same after an error: the program goes on, and should not have to share the processor with them."""

_left_alone: list[Callable[[], bool]] = []
"""For each step that was left alone, whether it is still at work."""


def still_at_work() -> bool:
    """Whether a step is at work that is no longer waited for.

    What it uses must then stay open, and Python must not be ended in order, because the libraries in which
    the step is at work would be unloaded under it.
    """
    _left_alone[:] = [at_work for at_work in _left_alone if at_work()]
    return bool(_left_alone)


def _patience(kind: type[BaseException] | None) -> float:
    stopped = kind is not None and not issubclass(kind, Exception)
    return _AFTER_A_STOP if stopped else _AFTER_AN_ERROR


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
        # The caller closes the slide next, so no thread should still be reading.
        end = time.monotonic() + _patience(kind)
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        _left_alone.extend(thread.is_alive for thread in self._threads if thread.is_alive())


def ordered_map(work: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """``work(item)`` for each item, in order, on ``workers`` threads; one item waits for each next thread."""
    pool = ThreadPoolExecutor(workers)
    pending: deque[Future[R]] = deque()
    kind: type[BaseException] | None = None
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > workers:
                yield _first(pending)
        while pending:
            yield _first(pending)
    except BaseException as error:
        kind = type(error)
        raise
    finally:
        at_work = [future for future in pending if not future.cancel()]
        pool.shutdown(wait=False)
        _left_alone.extend(future.running for future in wait(at_work, _patience(kind)).not_done)


def _first(pending: deque[Future[R]]) -> R:
    """The result of the first of some futures, which is among them as long as it is at work."""
    result = pending[0].result()
    pending.popleft()
    return result


class _End:
    """Marks the end of the items, with the exception that ended them, if any."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
