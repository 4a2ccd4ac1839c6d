"""The command line: parse, print, exit. What a command does lies elsewhere.

Commands are imported when they are called, so that ``cellgennet --help`` answers at once.
"""

from __future__ import annotations

import logging
import sys
import traceback
from importlib import import_module
from typing import Any

import click

from .. import __version__
from ..core.errors import CellGenNetError, Interrupted

COMMANDS = {
    "doctor": "Check this computer: Python, QuPath, Java, devices, versions.",
    "inspect": "Show a project's images, annotations, and what can be trained on.",
    "train": "Train a model on a project's annotations.",
    "segment": "Find every nucleus of every image of a project.",
    "export": "Write the measurements of a project to one table.",
    "evaluate": "Tell how far to trust a model: scores, comparisons and a report to read.",
    "groovy": "Install the scripts that run this from within QuPath.",
    "demo": "Show the whole way on a small project that comes with the package.",
}


class _Commands(click.Group):
    """A group that knows its commands by name and imports one when it is asked for."""

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
@click.option("--debug", is_flag=True, help="Show where in the program an error arose.")
def cellgennet(debug: bool) -> None:
    """Nucleus segmentation for QuPath projects, learnt from a few annotated rectangles."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run the command line; returns 0 done, 1 error, 2 wrong usage, 3 some images failed, 130 interrupted."""
    debug = "--debug" in arguments
    # Wherever it stands: users add it to the end of the line that just failed.
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
        return _told(str(error), error.exit_code, debug)
    except (KeyboardInterrupt, click.Abort):
        return _told("interrupted.", Interrupted.exit_code, debug)
    except Exception as error:
        kind = type(error).__name__
        line = (
            f"internal error ({kind}: {error}). This is a bug: please report it with the output of --debug."
        )
        return _told(" ".join(line.split()), 1, debug)
    return result if isinstance(result, int) else 0


def _told(line: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    click.echo(f"Error: {line}" if code != Interrupted.exit_code else line, err=True)
    return code
