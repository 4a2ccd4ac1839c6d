"""The command line: parse, print, exit. The work itself is done by the rooms below.

A command is imported when it is called, so that ``cellgennet --help`` answers at once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from importlib import import_module
from typing import Any

import click

from .. import __version__
from ..core.environment import environment_error, in_one_line
from ..core.errors import CellGenNetError, Interrupted
from ..core.parallel import still_at_work
from .hinting import HintingGroup
from .interrupt import Interrupts
from .terminal import printable, safe_output

COMMANDS = {
    "doctor": "Check this installation and say what each command still needs.",
    "inspect": "Show a project's images, annotations and training material.",
    "train": "Train a model on a project's annotations.",
    "segment": "Segment every nucleus of every image of a project.",
    "project": "Make a QuPath project of a folder of slides.",
    "restore": "Put back the detections that the last run replaced.",
    "export": "Write the measurements of a project to one table.",
    "suggest": "Suggest the windows whose outlines would teach a model most.",
    "evaluate": "Score models against expert annotations and write an HTML report.",
    "models": "List the model bundles that ship with the package or are found here.",
    "groovy": "Install the scripts that run these commands from within QuPath.",
    "demo": "Run the whole workflow on a small project that ships with the package.",
}


COMPLETE = "_CELLGENNET_COMPLETE"
"""The variable with which a shell asks for completions."""


class _Commands(HintingGroup):
    """A group that knows its commands by name and imports each on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"{__name__}.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="cellgennet")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cellgennet(debug: bool) -> None:
    """Nucleus segmentation for QuPath projects, learned from a few annotated rectangles."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    if COMPLETE in os.environ:
        # The shell asks for completions: click answers in bytes, and ends the process.
        cellgennet.main(prog_name="cellgennet")
    # In force until the process has ended: a second Ctrl-C may come while Python cleans up.
    Interrupts().__enter__()
    try:
        code = run(sys.argv[1:] if arguments is None else arguments)
    finally:
        _flush()
    if still_at_work():
        os._exit(code)
    sys.exit(code)


def _flush() -> None:
    """Write out what is buffered; a reader that has gone is no fault, and Python would report it at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def run(arguments: list[str]) -> int:
    """Run the command line; returns 0 done, 1 error, 2 wrong usage, 3 some images failed, 130 interrupted."""
    with Interrupts(), safe_output():
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    debug = "--debug" in arguments
    # Accepted anywhere: users append it to the command that just failed.
    arguments = [argument for argument in arguments if argument != "--debug"]
    if debug:
        logging.basicConfig(stream=sys.stderr)
        logging.getLogger("cellgennet_qupath").setLevel(logging.DEBUG)
    try:
        result: Any = cellgennet.main(arguments, prog_name="cellgennet", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except CellGenNetError as error:
        return _failed(str(error), error.exit_code, debug)
    except (KeyboardInterrupt, click.Abort):
        return _failed("interrupted.", Interrupted.exit_code, debug)
    except Exception as error:
        known = environment_error(error)
        if known is not None:
            return _failed(str(known), known.exit_code, debug)
        what = f"internal error ({in_one_line(error).rstrip('.')})"
        return _failed(f"{what}. This is a bug: please report it with the output of --debug.", 1, debug)
    return result if isinstance(result, int) else 0


def _failed(line: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    line = printable(line)
    click.echo(f"Error: {line}" if code != Interrupted.exit_code else line, err=True)
    return code
