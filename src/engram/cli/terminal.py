"""What the terminal shows: sentences, tables and JSON.

Where nobody is looking (a pipe, a file) tables are as wide as they need to be, so that no digest or run is cut in two.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import tomlkit
import typer
from tomlkit.exceptions import TOMLKitError

from engram.errors import UsageError

__all__ = [
    "JSON",
    "STORE",
    "complain",
    "in_bytes",
    "names",
    "notice",
    "pairs",
    "say",
    "show_json",
    "size",
    "stated",
    "table",
    "when",
]

JSON = typer.Option(False, "--json", help="Answer in JSON, for machines.")
STORE = typer.Option(
    "", "--store", help="The store to use (default: ENGRAM_STORE, else ./engrams).", show_default=False
)
_WIDEST = 10_000
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([kmgt]?b)?", re.IGNORECASE)


def say(text: str = "") -> None:
    """A line for the reader, with rich markup."""
    from rich.console import Console

    Console(highlight=False, soft_wrap=True).print(text)


def notice(sentence: str) -> None:
    """Something odd that a reader should know, on standard error; markup in it is text."""
    typer.secho("• ", fg=typer.colors.YELLOW, nl=False, err=True)
    typer.echo(sentence, err=True)


def complain(sentence: str) -> None:
    """Why something was refused, on standard error."""
    typer.secho("engram: ", fg=typer.colors.RED, bold=True, nl=False, err=True)
    typer.echo(sentence, err=True)


def show_json(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """A value for machines, on standard output; numbers that JSON does not know become null."""
    typer.echo(json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = (), whole: Sequence[str] = ()
) -> None:
    """A table without lines.

    Args:
        columns: their headings.
        rows: as many cells each.
        right: headings of columns that are numbers.
        whole: headings of columns whose cells are never broken; a terminal too narrow for them breaks the lines.
    """
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        unbroken = column in right or column in whole
        made.add_column(column, justify="right" if column in right else "left", overflow="fold", no_wrap=unbroken)
    for row in rows:
        made.add_row(*(_cell(cell) for cell in row))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDEST)
    if Measurement.get(console, console.options, made).minimum > console.width:
        console = Console(highlight=False, width=_WIDEST)
    with console.capture() as drawn:
        console.print(made)
    console.file.write("".join(f"{line.rstrip()}\n" for line in drawn.get().splitlines()))


def pairs(facts: Mapping[str, object]) -> None:
    """One line a fact, which only the terminal itself breaks."""
    from rich.markup import escape

    width = max(map(len, facts), default=0)
    for key, value in facts.items():
        say(f"[dim]{key:<{width}}[/]  {escape(str(value))}")


def names(columns: str) -> tuple[str, ...]:
    """Column names as they are written after ``--columns``."""
    return tuple(name.strip() for name in columns.split(",") if name.strip())


def stated(options: Sequence[str]) -> dict[str, Any]:
    """Options as they are written after ``--with``: ``KEY=VALUE``, where a value that is no TOML is text.

    Raises:
        UsageError: there is no ``=`` in one.
    """
    found: dict[str, Any] = {}
    for option in options:
        key, divided, value = option.partition("=")
        if not divided or not key.strip():
            raise UsageError(f"--with {option} is refused: write KEY=VALUE")
        try:
            found[key.strip()] = tomlkit.value(value).unwrap()
        except (TOMLKitError, AttributeError):
            found[key.strip()] = value
    return found


def when(moment: datetime, unit: str = "minutes") -> str:
    """A moment in the reader's time zone, as a reference takes it; with its offset where the clock shows it twice.

    Args:
        moment: with its zone.
        unit: the smallest that is shown, ``minutes``, ``seconds`` or ``microseconds``.
    """
    local = moment.astimezone()
    bare = local.replace(tzinfo=None, fold=0)
    twice = bare.astimezone().utcoffset() != bare.replace(fold=1).astimezone().utcoffset()
    return (local if twice else bare).isoformat(" ", timespec=unit)


def size(count: float) -> str:
    """Bytes in the unit that reads best."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def in_bytes(text: str) -> int:
    """Bytes that somebody wrote with a unit (``5GB``, ``500 MB``); thousands, as Hugging Face counts them.

    Raises:
        UsageError: it is no such size, or less than one byte.
    """
    found = _SIZE.fullmatch(text.strip())
    count = round(float(found[1]) * 1000 ** "bkmgt".index((found[2] or "b")[0].lower())) if found else 0
    if count < 1:
        raise UsageError(f"{text!r} is no size; write bytes with a unit, as in 5GB or 500MB")
    return count


def _cell(value: object) -> str:
    from rich.markup import escape

    if isinstance(value, float):
        return f"{value:.4g}"
    return escape(f"{value:,}" if isinstance(value, int) else str(value))


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and (value != value or value in {float("inf"), float("-inf")}):  # noqa: PLR0124 - NaN
        return None
    return value
