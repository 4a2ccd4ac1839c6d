"""``cellgennet doctor``: can the main job run here, and with what."""

from __future__ import annotations

import click

from .options import json_option, print_json


@click.command("doctor")
@json_option
def command(as_json: bool) -> int:
    """Check Python, QuPath and Java, devices, threads and versions; exit 0 if the main job can run."""
    from .diagnosis import diagnose

    document = diagnose()
    if as_json:
        print_json(document)
        return 0 if document["ready"] else 1
    for check in document["checks"]:
        mark = {"ok": "ok  ", "note": "note", "missing": "MISS"}[check["status"]]
        click.echo(f"[{mark}] {check['what']}: {check['found']}")
        if check["remedy"]:
            click.echo(f"       {check['remedy']}")
    click.echo("The main job can run." if document["ready"] else "The main job cannot run: see MISS above.")
    return 0 if document["ready"] else 1
