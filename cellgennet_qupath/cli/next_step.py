"""What a command says at its end: where its page is, and the command that usually comes next."""

from __future__ import annotations

from pathlib import Path

from ..core.progress import Reporter


def quoted(path: Path | str) -> str:
    """A path as it is typed in a terminal."""
    text = str(path)
    return f'"{text}"' if set(text) & set(" &();'") else text


def say_next(reporter: Reporter, *steps: str) -> None:
    """One line for each thing that can be done next; standard output is for results."""
    for number, step in enumerate(steps):
        reporter.say(f"{'Next:' if number == 0 else '  or:'} {step}")
