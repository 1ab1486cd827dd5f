"""What the terminal shows: sentences, tables and progress bars. Bars are silent where nobody is looking."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from engram.records import Progress, Watch

__all__ = ["JSON", "STORE", "complain", "halting", "say", "show_json", "size", "table", "watching", "when"]

JSON = typer.Option(False, "--json", help="Answer in JSON, for machines.")
STORE = typer.Option(
    "", "--store", help="The store to use (default: ENGRAM_STORE, else ./engrams).", show_default=False
)


def say(text: str = "") -> None:
    """A line for the reader, with rich markup."""
    from rich.console import Console

    Console(highlight=False, soft_wrap=True).print(text)


def complain(sentence: str) -> None:
    """Why something was refused, on standard error."""
    typer.secho("engram: ", fg=typer.colors.RED, bold=True, nl=False, err=True)
    typer.echo(sentence, err=True)


def show_json(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """A value for machines, on standard output; numbers that JSON does not know become null."""
    typer.echo(json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """A table without lines; columns named in ``right`` are numbers."""
    from rich.console import Console
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(_cell(cell) for cell in row))
    Console(highlight=False).print(made)


def when(moment: datetime) -> str:
    """A moment in the reader's time zone."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def size(count: int) -> str:
    """Bytes in the unit that reads best."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


@contextmanager
def watching(quiet: bool = False) -> Iterator[Watch]:
    """Show the progress of what is done inside; silent when asked or when standard error is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield _ignore
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    bars = Progress(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description:<13}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[numbers]}"),
        console=Console(stderr=True, highlight=False),
    )
    with bars:
        stages = _Stages(bars, {})
        yield stages.see
        stages.end()


@dataclass(slots=True)
class _Stages:
    """One bar a stage; a stage ends when the next begins."""

    bars: Any
    known: dict[str, Any]

    def see(self, progress: Progress) -> None:
        """Move the bar of a stage."""
        if progress.stage == "started":
            self.bars.console.print(f"[dim]run {progress.note}")
            return
        if progress.stage not in self.known:
            self.end()
            self.known[progress.stage] = self.bars.add_task(progress.stage, total=None, numbers="")
        words = "  ".join(f"{k} {v:.4g}" for k, v in progress.numbers.items() if k not in {"seconds", "lr"})
        self.bars.update(
            self.known[progress.stage],
            completed=progress.done,
            total=progress.total or None,
            numbers=progress.note or words,
        )

    def end(self) -> None:
        """Finish every bar."""
        for bar in self.known.values():
            total = self.bars.tasks[self.bars.task_ids.index(bar)].total or 1
            self.bars.update(bar, completed=total, total=total)


@contextmanager
def halting() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed: once stops at the next step with a checkpoint, twice at once."""
    pressed = False

    def press(_number: int, _frame: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        complain("stopping after this step; press Ctrl-C again to stop at once")

    before = {number: signal.signal(number, press) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: pressed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore(_progress: Progress) -> None:
    """Nobody is looking."""


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
