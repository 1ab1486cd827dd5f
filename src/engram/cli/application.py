"""The commands, gathered, and what happens when one of them refuses.

Exit codes: 0 done, 1 refused with a reason, 2 misused. Nothing heavy is imported here or by the files of commands at
their top, so that ``engram --help`` answers at once.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

import typer

from engram import settings
from engram.cli import care, history, inspection, installation, judging, models, pipelines, server, signatures, versions
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


for group in (pipelines, versions, history, models, judging, inspection, signatures, server, care, installation):
    for command in group.COMMANDS:
        application.command(name=command.__name__.rstrip("_"))(command)


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run one command and leave with its exit code.

    Args:
        words: of the command line; None takes those of this process.
    """
    try:
        application(None if words is None else list(words), standalone_mode=True)
    except Exception as refused:  # noqa: BLE001 - the last door: whatever comes through becomes one sentence
        if settings.read().debug:
            traceback.print_exception(refused)
        complain(_sentence(refused))
    sys.exit(1)


def _sentence(refused: Exception) -> str:
    if isinstance(refused, EngramError):
        return str(refused)
    if isinstance(refused, OSError):
        reason = (refused.strerror or str(refused)).lower()
        return f"{refused.filename or 'the system'}: {reason}; free space or fix permissions, then try again"
    if isinstance(refused, MemoryError):
        return "there is not enough memory; give fewer rows at once, or a smaller batch in [train]"
    first = (str(refused).splitlines() or [""])[0]
    return (
        f"this is a fault of engram and not yours ({type(refused).__name__}: {first}); the same with ENGRAM_DEBUG=1 "
        "shows where, please report it"
    )
