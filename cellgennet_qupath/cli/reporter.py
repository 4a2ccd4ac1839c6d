"""Progress on stderr: bars with rate and remaining time on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import click

from ..core.progress import Reporter, Task
from .terminal import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

_SECONDS_BETWEEN_LINES = 5.0


def reporter() -> Reporter:
    """The reporter for stderr: bars on a terminal, else lines."""
    if not sys.stderr.isatty():
        return Lines()
    from rich.console import Console

    return Bars(Console(stderr=True, highlight=False))


class Lines:
    """At most one progress line every few seconds, as QuPath's log and batch systems keep every line."""

    def say(self, line: str) -> None:
        click.echo(line, err=True)

    def warn(self, line: str) -> None:
        click.echo(f"Warning: {line}", err=True)

    @contextmanager
    def _task(self, task: _LineTask) -> Iterator[Task]:
        yield task
        task.finish()

    def track(self, what: str, total: float | None, unit: str = "") -> AbstractContextManager[Task]:
        return self._task(_LineTask(what, total, unit))


class _LineTask:
    def __init__(self, what: str, total: float | None, unit: str) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._done, self._counted, self._shown = 0.0, 0.0, -1.0
        self._note = ""
        self._begun = self._printed = time.monotonic()

    def advance(self, steps: float = 1, note: str = "") -> None:
        now = time.monotonic()
        self._done += steps
        # Work of an earlier run is counted at once, at the start: it does not belong to the rate.
        if steps == 1 or now - self._begun > 0.5:
            self._counted += steps
        self._note = note or self._note
        if now - self._printed >= _SECONDS_BETWEEN_LINES:
            self.show()

    def finish(self) -> None:
        """Print the last line, if anything changed."""
        if self._shown != self._done:
            self.show()

    def show(self) -> None:
        """Print the current progress."""
        self._printed, self._shown = time.monotonic(), self._done
        seconds = self._printed - self._begun
        if self._total:
            parts = [f"{self._what}: {self._done:g} of {self._total:g} {self._unit}".rstrip()]
            parts[0] += f" ({self._done / self._total:.0%})"
        else:
            parts = [f"{self._what}: {self._done:g} {self._unit}".rstrip()]
        # Over less than a second the rate would be inaccurate.
        if self._counted and seconds > 1:
            rate = self._counted / seconds
            parts.append(f"{rate:.0f} a second" if rate >= 10 else f"{rate:.2g} a second")
            if self._total and self._done < self._total:
                parts.append(f"{duration((self._total - self._done) / rate)} left")
        click.echo(", ".join([*parts, self._note] if self._note else parts), err=True)


class Bars:
    """Progress bars. One live display shows all running tasks, also nested ones."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None

    def say(self, line: str) -> None:
        self._console.print(printable(line), markup=False)

    def warn(self, line: str) -> None:
        self._console.print(printable(f"Warning: {line}"), style="yellow", markup=False)

    @contextmanager
    def _task(self, what: str, total: float | None, unit: str) -> Iterator[Task]:
        outermost = self._progress is None
        progress = self._progress = self._progress or _progress(self._console)
        row = progress.add_task(printable(what), total=total, unit=unit, note="")
        if outermost:
            progress.start()
        try:
            yield _BarTask(progress, row)
        finally:
            if outermost:
                progress.stop()
                self._progress = None
            else:
                progress.remove_task(row)

    def track(self, what: str, total: float | None, unit: str = "") -> AbstractContextManager[Task]:
        return self._task(what, total, unit)


class _BarTask:
    def __init__(self, progress: Progress, row: TaskID) -> None:
        self._progress, self._row = progress, row

    def advance(self, steps: float = 1, note: str = "") -> None:
        self._progress.advance(self._row, steps)
        if note:
            self._progress.update(self._row, note=printable(note))


def _progress(console: Console) -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Task as Row
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Row) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.3g}/s")

    def text(field: str) -> TextColumn:
        return TextColumn(f"{{task.{field}}}", markup=False)

    return Progress(
        text("description"),
        BarColumn(),
        MofNCompleteColumn(),
        text("fields[unit]"),
        Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        text("fields[note]"),
        console=console,
    )


def duration(seconds: float) -> str:
    """A duration in words: 40 s, 2 min 05 s, 1 h 20 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
