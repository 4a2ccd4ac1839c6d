"""Progress as it is shown: plain lines with percent, rate and estimate; bars that can be nested."""

from __future__ import annotations

import io
import re
import sys

import pytest
from rich.console import Console

from cellgennet_qupath.cli import reporter as module
from cellgennet_qupath.cli.reporter import Bars, Lines, duration, reporter


class Clock:
    """Time that passes only when a test sets it."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_lines_come_every_few_seconds_and_at_the_end(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Lines().track("training", 20, "steps") as task:
        for _ in range(20):
            clock.now += 1
            task.advance(note="loss 0.5")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "training: 5 of 20 steps (25%), 1 a second, 15 s left, loss 0.5",
        "training: 10 of 20 steps (50%), 1 a second, 10 s left, loss 0.5",
        "training: 15 of 20 steps (75%), 1 a second, 5 s left, loss 0.5",
        "training: 20 of 20 steps (100%), 1 a second, loss 0.5",
    ]


def test_what_an_earlier_run_did_is_not_counted_into_the_rate(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Lines().track("tiles", 1000) as task:
        task.advance(900)
        clock.now += 10
        task.advance(10)
    assert capsys.readouterr().err.startswith("tiles: 910 of 1000 (91%), 1 a second, 1 min 30 s left\n")


def test_an_unknown_total_has_no_percent(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Lines().track("reading", None, "rows") as task:
        clock.now += 2
        task.advance(3000)
    assert capsys.readouterr().err == "reading: 3000 rows, 1500 a second\n"


def test_a_failed_task_is_not_shown_as_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="broken"), Lines().track("reading", 3):
        raise ValueError("broken")
    assert capsys.readouterr().err == ""


def test_lines_go_to_stderr_where_that_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    listener = reporter()
    listener.say("hello [1/4]")
    listener.warn("careful")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "hello [1/4]\nWarning: careful\n")


def test_a_terminal_gets_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(reporter(), Bars)


def test_bars_one_within_another_and_names_that_look_like_markup() -> None:
    screen = io.StringIO()
    bars = Bars(Console(file=screen, force_terminal=True, width=160, color_system=None))
    for _ in range(2):
        with bars.track("slides [old]", 2, "slides") as outer:
            bars.say("[1/2] slide.svs")
            with bars.track("tiles", 4, "tiles") as inner:
                inner.advance(4, note="12 nuclei")
            outer.advance(2)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert "[1/2] slide.svs" in shown
    assert re.search(r"slides \[old\] +\S+ +2/2 +slides", shown)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (4800, "1 h 20 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
