"""``cellgennet demo``: the loop of detecting, correcting and training on the sample project."""

from __future__ import annotations

from pathlib import Path

import click

from .next_step import say_next
from .options import threads_option
from .reporter import reporter


@click.command("demo")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default="cellgennet-demo")
@threads_option
def command(folder: Path, threads: int | None) -> None:
    """Detect nuclei in the sample project, correct two rectangles, train, and detect them again.

    Starts from the shipped model and scores before and after against the known truth. Needs no QuPath and no
    internet connection. All results are written to FOLDER.
    """
    from ..demo import run_demo

    listener = reporter()
    outcome = run_demo(folder, threads or 0, listener)
    click.echo("\nCorrected, as you would in QuPath:")
    for one in outcome.corrections:
        x, y, width, height = one.box
        click.echo(
            f"  {one.image}, {width} x {height} px at ({x}, {y}): {one.outlined} nuclei outlined, "
            f"{one.removed} detections removed"
        )
    click.echo("\nScores against the known truth, before and after (F1 and PQ at IoU 0.5):")
    click.echo(f"{'slide':26} {'true':>5} {'found':>12} {'F1':>14} {'PQ':>14}")
    for before, after in zip(outcome.before, outcome.after, strict=True):
        note = "" if after.annotated else "  <- no annotations"
        click.echo(
            f"{after.name:26} {after.true:5d} {before.found:5d} > {after.found:4d} {before.f1:6.3f} > "
            f"{after.f1:5.3f} {before.pq:6.3f} > {after.pq:5.3f}{note}"
        )
    click.echo("\nResults:")
    for what, place in outcome.places.items():
        click.echo(f"  {what:12} {place}")
    say_next(listener, "cellgennet segment MyProject, for a project or a folder (-o RESULTS) of your own")
