"""The commands, gathered, and what happens when one of them refuses.

Exit codes: 0 done, 1 refused with a reason, 2 misused. Nothing heavy is imported here or by the files of commands at
their top, so that ``engram --help`` answers at once.
"""

from __future__ import annotations

import sys
import traceback
from importlib.metadata import version
from typing import NoReturn

import typer

from engram import settings
from engram.cli import models, pipelines, server, versions
from engram.cli.terminal import complain
from engram.errors import EngramError

__all__ = ["application", "main"]

application = typer.Typer(
    name="engram",
    help="Keeps what a neural network has learned, and looks after it for its whole life.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"engram {version('engram')}")
        raise typer.Exit


@application.callback()
def _options(
    _version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and stop."
    ),
) -> None:
    """Keeps what a neural network has learned, and looks after it for its whole life."""


for group in (pipelines, versions, models, server):
    for command in group.COMMANDS:
        application.command(name=command.__name__.rstrip("_"))(command)


def main() -> NoReturn:
    """Run the command line of this process and leave with its exit code."""
    try:
        application(standalone_mode=True)
    except EngramError as refused:
        _refuse(refused)
    except KeyboardInterrupt:
        complain("stopped; nothing half-done was kept")
    except BrokenPipeError:
        sys.stderr.close()
    except OSError as failed:
        if settings.read().debug:
            raise
        complain(
            f"{failed.filename or 'the system'}: {failed.strerror or failed}; free space or fix permissions, then try again"
        )
    sys.exit(1)


def _refuse(refused: EngramError) -> None:
    if settings.read().debug:
        traceback.print_exception(refused)
    complain(str(refused))
