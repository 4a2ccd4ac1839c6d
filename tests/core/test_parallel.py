"""Work by several threads comes back in order, and never runs far ahead."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

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
