"""``cellgennet demo``: all steps on the sample project."""

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
    """Train on the sample project, segment it, export it and score it against the known truth.

    Needs no QuPath and no internet connection. All results are written to FOLDER.
    """
    from ..demo import run_demo

    listener = reporter()
    outcome = run_demo(folder, threads or 0, listener)
    click.echo("\nScores against the known truth of the sample (F1 at IoU 0.5):")
    click.echo(f"{'slide':28} {'true':>6} {'found':>6} {'F1':>6} {'PQ':>6} {'Dice':>6}")
    for score in outcome.scores:
        note = "" if score.annotated else "   <- no annotations"
        click.echo(
            f"{score.name:28} {score.true:6d} {score.found:6d} {score.f1:6.3f} {score.pq:6.3f} "
            f"{score.dice:6.3f}{note}"
        )
    click.echo("\nResults:")
    for what, place in outcome.places.items():
        click.echo(f"  {what:12} {place}")
    say_next(listener, "cellgennet segment MyProject, for a project or a folder (-o RESULTS) of your own")
