"""Work by several threads comes back in order, and never runs far ahead."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from cellgennet_qupath.core import parallel
from cellgennet_qupath.core.parallel import Prefetch, ordered_map


def slow_first(number: int) -> int:
    time.sleep(0.02 if number % 3 == 0 else 0)
    return number * number


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_keep_the_order_of_the_items(workers: int) -> None:
    assert list(ordered_map(slow_first, range(20), workers)) == [n * n for n in range(20)]


def test_two_threads_work_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=10)
    assert list(ordered_map(lambda _: meeting.wait() >= 0, range(4), 2)) == [True] * 4


def test_items_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = ordered_map(lambda number: number, items(), 2)
    next(results)
    assert len(taken) <= 3
    results.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [ValueError("third"), KeyboardInterrupt()])
def test_an_error_comes_after_the_results_before_it(error: BaseException) -> None:
    def work(number: int) -> int:
        if number == 3:
            raise error
        return number

    found: list[int] = []
    with pytest.raises(type(error)), Prefetch() as pipeline:
        for result in pipeline.prefetch(ordered_map(work, range(10), 2), 2):
            found.append(result)
    assert found == [0, 1, 2]


class Step:
    """A step that is at work until it is released."""

    def __init__(self) -> None:
        self.begun, self._released = threading.Event(), threading.Event()

    def __call__(self, number: int) -> int:
        if number == 1:
            self.begun.set()
            self._released.wait(60)
        return number

    def release(self) -> None:
        self._released.set()
        for _ in range(200):
            if not parallel.still_at_work():
                return
            time.sleep(0.05)
        raise AssertionError("it is still at work")


@pytest.mark.parametrize("how", ["prefetched", "mapped", "mapped and prefetched"])
@pytest.mark.parametrize("why", [KeyboardInterrupt(), ValueError("disk full")])
def test_a_long_step_is_left_alone(how: str, why: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_AFTER_A_STOP", 0.3 if isinstance(why, KeyboardInterrupt) else 60.0)
    monkeypatch.setattr(parallel, "_AFTER_AN_ERROR", 60.0 if isinstance(why, KeyboardInterrupt) else 0.3)
    step = Step()
    begin = time.monotonic()
    with pytest.raises(type(why)), Prefetch() as pipeline:
        items: Iterator[int] = map(step, range(5))
        if "mapped" in how:
            items = ordered_map(step, range(5), 2)
        for _ in pipeline.prefetch(items, 2) if "prefetched" in how else items:
            assert step.begun.wait(30)
            raise why
    assert time.monotonic() - begin < 30
    assert how == "mapped" or parallel.still_at_work()
    step.release()


def test_a_stop_while_a_result_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step that is waited for counts as at work, too."""
    monkeypatch.setattr(parallel, "_AFTER_A_STOP", 0.3)
    step = Step()

    def stop(*_: object) -> None:
        assert step.begun.wait(30)
        raise KeyboardInterrupt

    results = ordered_map(step, range(5), 1)
    assert next(results) == 0
    monkeypatch.setattr("concurrent.futures.Future.result", stop)
    with pytest.raises(KeyboardInterrupt):
        next(results)
    assert parallel.still_at_work()
    step.release()


def test_finished_work_leaves_nothing() -> None:
    with Prefetch() as pipeline:
        assert list(pipeline.prefetch(ordered_map(lambda n: n, range(9), 2), 2)) == list(range(9))
    assert not parallel.still_at_work()
