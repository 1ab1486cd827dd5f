"""Progress bars, one a stage, on standard error.

They are silent where nobody is looking; what a person must know later (the id of a run, rows left out) is said all the
same, because a job in the background that dies without having said its id cannot be resumed by it.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import typer

from engram.cli.terminal import notice, size

if TYPE_CHECKING:
    from engram.records import Progress, Watch

__all__ = ["halting", "watching"]

_HIDDEN = frozenset({"seconds", "lr", "epoch"})
_TAKEN = 58  # characters of a line before the words: a narrow terminal cuts these and not the bar


@contextmanager
def watching(*, quiet: bool = False) -> Iterator[Watch]:
    """Show the progress of what is done inside.

    Args:
        quiet: show nothing at all.
    """
    if quiet:
        yield _ignore
        return
    if not sys.stderr.isatty():
        yield _lines
        return
    bars = _bars()
    with bars:
        stages = _Stages(bars)
        yield stages.see
        stages.end()


@contextmanager
def halting(watch: Watch, note: str) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed, or the process told to end, while what is inside runs; twice stops at once.

    Args:
        watch: is told the note at the first time.
        note: what happens next.
    """
    from engram.lifecycle import stopping
    from engram.records import Progress

    told = Progress("noticed", note=note)
    with stopping.halting(lambda: watch(told), (signal.SIGINT, signal.SIGTERM)) as halt:
        yield halt


def _bars() -> Any:  # noqa: ANN401 - rich is imported only where something is shown
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column
    from rich.text import Text

    class Speed(ProgressColumn):
        """Of bytes; what else is counted has none."""

        def render(self, task: Any) -> Text:  # noqa: ANN401 - a task of rich
            speed = task.finished_speed or task.speed
            return Text(f"{size(speed)}/s" if speed and task.fields["unit"] == "B" else "", style="dim")

    console = Console(stderr=True, highlight=False)
    room = max(console.width - _TAKEN, 8)
    return Progress(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}", table_column=Column(min_width=13, no_wrap=True)),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[count]}", justify="right", table_column=Column(min_width=13, no_wrap=True)),
        Speed(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("[dim]{task.fields[words]}", table_column=Column(no_wrap=True, max_width=room)),
        console=console,
    )


@dataclass(slots=True)
class _Stages:
    """One bar a stage; a stage ends when the next begins."""

    bars: Any
    known: dict[str, Any] = field(default_factory=dict)
    judged: dict[str, float] = field(default_factory=dict)

    def see(self, progress: Progress) -> None:
        """Move the bar of a stage."""
        from rich.markup import escape

        if progress.stage == "started":
            self.bars.console.print(f"[dim]run {escape(progress.note)}")
        elif progress.stage == "noticed":
            self.bars.console.print(f"[yellow]•[/] {escape(progress.note)}")
        else:
            self._move(progress, escape(progress.note))

    def _move(self, progress: Progress, note: str) -> None:
        if progress.stage not in self.known:
            self.end()
            fields = {"count": "", "words": "", "unit": progress.unit}
            self.known[progress.stage] = self.bars.add_task(progress.stage, total=None, **fields)
        self.bars.update(
            self.known[progress.stage],
            completed=progress.done,
            total=progress.total or None,
            count=_count(progress.done, progress.total, progress.unit),
            words=note or self._words(progress),
        )

    def _words(self, progress: Progress) -> str:
        """The latest numbers; those of the validation rows stay until there are new ones."""
        if "epoch" not in progress.numbers:
            return ""
        self.judged |= {key: value for key, value in progress.numbers.items() if key.startswith("validation.")}
        shown = {key: value for key, value in {**progress.numbers, **self.judged}.items() if key not in _HIDDEN}
        words = [f"{key.removeprefix('train.')} {value:.4g}" for key, value in shown.items()]
        return "  ".join([f"epoch {progress.numbers['epoch']:.0f}", *words])

    def end(self) -> None:
        """Finish every bar."""
        for bar in self.known.values():
            task = self.bars.tasks[self.bars.task_ids.index(bar)]
            total = task.total or 1
            count = _count(int(total), int(total), task.fields["unit"])
            self.bars.update(bar, completed=total, total=total, count=count)


def _count(done: int, total: int, unit: str) -> str:
    """How much of how much; one of one is not worth a word."""
    if unit == "B":
        amount, _, unit = size(total).partition(" ")
        return f"{done * float(amount) / total:.1f}/{amount} {unit}" if total else ""
    return f"{done:,}/{total:,}" if total > 1 else ""


def _lines(progress: Progress) -> None:
    if progress.stage == "started":
        typer.echo(f"run {progress.note}", err=True)
    elif progress.stage == "noticed":
        notice(progress.note)


def _ignore(_progress: Progress) -> None:
    """Nobody is looking."""
