"""Progress on stderr: bars with a rate and an estimate on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import click

from ..progress import Reporter, Task

_SECONDS_BETWEEN_LINES = 5.0


def reporter(quiet: bool = False) -> Reporter:
    """The reporter that suits where stderr goes; ``quiet`` keeps warnings only."""
    if quiet:
        return _Lines(quiet=True)
    return _Bars() if sys.stderr.isatty() else _Lines()


class _LineTask:
    """Prints at most one line every few seconds: QuPath's log and batch systems keep every one."""

    def __init__(self, what: str, total: float | None, unit: str) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._done, self._counted = 0.0, 0.0
        self._note = ""
        self._begun = self._printed = time.monotonic()

    def advance(self, steps: float = 1, note: str = "") -> None:
        self._done += steps
        # What was done before (a resumed run) says nothing about the rate.
        if time.monotonic() - self._begun > 0.5 or steps == 1:
            self._counted += steps
        self._note = note or self._note
        if time.monotonic() - self._printed >= _SECONDS_BETWEEN_LINES:
            self.show()

    def show(self) -> None:
        """Print where the work stands."""
        self._printed = time.monotonic()
        rate = self._counted / max(1e-9, self._printed - self._begun)
        parts = [f"{self._what}: {self._done:g}"]
        if self._total:
            parts[0] += f" of {self._total:g} {self._unit} ({self._done / self._total:.0%})"
        if self._counted:
            parts.append(f"{rate:.2g} a second")
            if self._total and self._done < self._total:
                parts.append(f"{_duration((self._total - self._done) / rate)} left")
        click.echo(", ".join([*parts, self._note] if self._note else parts), err=True)


class _Lines:
    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet

    def say(self, line: str) -> None:
        if not self._quiet:
            click.echo(line, err=True)

    def warn(self, line: str) -> None:
        click.echo(f"Warning: {line}", err=True)

    @contextmanager
    def _task(self, task: _LineTask) -> Iterator[Task]:
        yield task
        if not self._quiet:
            task.show()

    def track(self, what: str, total: float | None, unit: str = "") -> AbstractContextManager[Task]:
        task = _LineTask(what, total, unit)
        if self._quiet:
            task.show = lambda: None  # type: ignore[method-assign]
        return self._task(task)


class _Bars:
    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)

    def say(self, line: str) -> None:
        self._console.print(line, markup=False)

    def warn(self, line: str) -> None:
        self._console.print(f"Warning: {line}", style="yellow", markup=False)

    @contextmanager
    def _task(self, what: str, total: float | None, unit: str) -> Iterator[Task]:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text

        class Rate(TextColumn):
            def render(self, task: object) -> Text:
                speed = getattr(task, "speed", None)
                return Text(f"{speed:.3g}/s" if speed else "")

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            Rate(""),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self._console) as progress:
            row = progress.add_task(what, total=total, note="")

            class Bar:
                def advance(self, steps: float = 1, note: str = "") -> None:
                    progress.advance(row, steps)
                    if note:
                        progress.update(row, note=note)

            yield Bar()

    def track(self, what: str, total: float | None, unit: str = "") -> AbstractContextManager[Task]:
        return self._task(what, total, unit)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
