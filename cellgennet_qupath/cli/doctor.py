"""``cellgennet doctor``: which commands can run on this computer, and with what."""

from __future__ import annotations

from typing import Any

import click

from .options import json_option, print_json


@click.command("doctor")
@click.option("--report", "as_report", is_flag=True, help="Print a block to paste into a bug report.")
@json_option
def command(as_report: bool, as_json: bool) -> int:
    """Check Python, QuPath and Java, devices and versions, and say what each command still needs.

    Exit code 0 if segmenting, exporting and evaluating can run.
    """
    from .diagnosis import diagnose, report

    if as_report and as_json:
        raise click.UsageError("--report and --json exclude each other.")
    if as_report:
        click.echo(report())
        return 0
    document = diagnose()
    if as_json:
        print_json(document)
    else:
        _print(document)
    return 0 if document["ready"] else 1


def _print(document: dict[str, Any]) -> None:
    for check in document["checks"]:
        mark = {"ok": "ok  ", "note": "note", "missing": "MISS"}[check["status"]]
        click.echo(f"[{mark}] {check['what']}: {check['found']}")
        if check["remedy"]:
            click.echo(f"       {check['remedy']}")
    click.echo("\nCommands:")
    for row in document["commands"]:
        mark = "ok  " if row["ready"] else "note" if row["extra"] else "MISS"
        state = "ready" if row["ready"] else f"not installed: {', '.join(row['missing'])}"
        click.echo(f"[{mark}] {row['commands']}: {state}")
        if row["remedy"]:
            click.echo(f"       {row['remedy']}")
    if document["ready"]:
        click.echo("\nSegmenting, exporting and evaluating can run.")
    else:
        click.echo("\nSegmenting, exporting and evaluating cannot run: see MISS above.")
