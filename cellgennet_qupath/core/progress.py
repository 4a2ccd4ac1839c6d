"""How long-running work reports its progress, whoever displays it (terminal, log file, QuPath)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One piece of counted work."""

    def advance(self, steps: float = 1, note: str = "") -> None:
        """Count ``steps`` as done; ``note`` (a loss, a count) replaces the previous note."""


class Reporter(Protocol):
    """Receives messages and progress. Never writes to stdout, which is for results."""

    def say(self, line: str) -> None:
        """Show the user one line that stays."""

    def warn(self, line: str) -> None:
        """Show the user one line that needs attention."""

    def track(self, what: str, total: float | None, unit: str = "") -> AbstractContextManager[Task]:
        """Start a counted task, for a ``with`` block. ``total`` is in ``unit``; None if unknown."""


class _SilentTask:
    def advance(self, steps: float = 1, note: str = "") -> None:
        return None


class Silent:
    """A reporter that discards everything."""

    def say(self, line: str) -> None:
        return None

    def warn(self, line: str) -> None:
        return None

    @contextmanager
    def _task(self) -> Iterator[Task]:
        yield _SilentTask()

    def track(self, what: str, total: float | None, unit: str = "") -> AbstractContextManager[Task]:
        return self._task()


SILENT: Reporter = Silent()


class Logging(Silent):
    """A reporter that writes messages to Python's own logging, and no progress."""

    _logger = logging.getLogger("cellgennet_qupath")

    def say(self, line: str) -> None:
        self._logger.info(line)

    def warn(self, line: str) -> None:
        self._logger.warning(line)


LOG: Reporter = Logging()


class Remembering:
    """A reporter that passes everything on to another one and keeps the warnings for a page or a log."""

    def __init__(self, other: Reporter) -> None:
        self._other = other
        self.warnings: list[str] = []

    def say(self, line: str) -> None:
        self._other.say(line)

    def warn(self, line: str) -> None:
        self.warnings.append(line)
        self._other.warn(line)

    def track(self, what: str, total: float | None, unit: str = "") -> AbstractContextManager[Task]:
        return self._other.track(what, total, unit)
