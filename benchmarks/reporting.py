"""What long benchmarks tell while they run."""

from __future__ import annotations

from typing import Any

import click


class Printed:
    """Messages on the terminal; progress is in the checkpoints."""

    def say(self, line: str) -> None:
        click.echo(line, err=True)

    warn = say

    def track(self, what: str, total: float | None, unit: str = "") -> Any:
        from cellgennet_qupath.cli.reporter import reporter

        return reporter().track(what, total, unit)
