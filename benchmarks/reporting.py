"""Messages of long benchmarks."""

from __future__ import annotations

from typing import Any

import click


class Printed:
    """A reporter that prints messages to the terminal."""

    def say(self, line: str) -> None:
        click.echo(line, err=True)

    warn = say

    def track(self, what: str, total: float | None, unit: str = "") -> Any:
        from cellgennet_qupath.cli.reporter import reporter

        return reporter().track(what, total, unit)
