"""The view of one run: its curve, its checkpoints, what it became and how to go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from engram.cli.chart import chart
from engram.cli.terminal import pairs, say, show_json, size, table, when

if TYPE_CHECKING:
    from engram.lifecycle.account import Account
    from engram.store.training.runs import Saved

__all__ = ["show_run"]

_HIDDEN = frozenset({"epoch", "step", "lr", "seconds"})
_ROWS = 10  # of the history that are shown
_WIDEST, _HEIGHT = 72, 10


def show_run(found: Account, *, json: bool) -> None:
    """Show a run, to a reader or to a machine."""
    if json:
        show_json(_plain(found))
        return
    say(f"[bold]{found.run.id}[/]  {found.run.status}")
    pairs(_facts(found))
    _curves(found)
    _epochs(found)
    if found.checkpoints:
        say("\n[bold]checkpoints[/]")
        heads = ("step", "epoch", "saved", "best", *_metrics(found.checkpoints), "size", "stored")
        rows = [_row(saved, found) for saved in found.checkpoints]
        table(heads, rows, right=("step", "epoch", *_metrics(found.checkpoints), "size"), whole=("saved", "stored"))
    if found.command:
        say(f"\n[dim]go on with:[/] {found.command}")
    if found.checkpoints and found.run.lock:
        say(f"[dim]from an earlier one:[/] engram resume {found.run.id} --at STEP")


def _facts(found: Account) -> dict[str, object]:
    facts = {
        "begun": when(found.run.started),
        "network": found.run.name,
        "from": found.run.origin,
        "became": f"{found.became} ({found.run.version[7:15]})" if found.became else "",
        "step": f"{found.run.step:,}",
        "holds": found.run.hold,
        "folder": found.run.folder,
    }
    return {name: value for name, value in facts.items() if value}


def _curves(found: Account) -> None:
    """The losses, or, where there are none, the first number that there is."""
    from rich.console import Console

    series = {name: values for name, values in found.series().items() if name not in _HIDDEN}
    losses = {name: values for name, values in series.items() if "loss" in name.lower()}
    shown = losses or dict(list(series.items())[:1])
    console = Console()
    width = max(min(_WIDEST, console.width - 14 - max(map(len, shown), default=0)), 16)
    dots = console.is_terminal and not console.is_dumb_terminal and console.encoding.startswith("utf")
    drawn = chart(shown, width=width, height=_HEIGHT, mark=found.best, dots=dots)
    if drawn:
        typer.echo("\n" + "\n".join(drawn))


def _epochs(found: Account) -> None:
    """The last records of the history, and the best."""
    if not found.history:
        return
    counted = "epoch" if any(record.get("epoch") for record in found.history) else "step"
    names = [name for name in found.series() if name not in _HIDDEN]
    first = max(len(found.history) - _ROWS, 0)
    places = [*([found.best] if 0 <= found.best < first else []), *range(first, len(found.history))]
    say(f"\n[bold]{'epochs' if counted == 'epoch' else 'steps'}[/]")
    rows = [
        (
            found.history[place].get(counted, ""),
            *(found.history[place].get(name, "") for name in names),
            _star(place, found),
        )
        for place in places
    ]
    table((counted, *names, ""), rows, right=(counted, *names))
    if first:
        say(f"[dim]{first:,} earlier ones: engram log {found.run.id} --json[/]")


def _star(place: int, found: Account) -> str:
    return "best" if place == found.best else ""


def _metrics(checkpoints: tuple[Saved, ...]) -> list[str]:
    """The name of the one number by which checkpoints are told apart: the loss of the validation where there is one."""
    names = dict.fromkeys(name for saved in checkpoints for name in saved.metrics if name not in _HIDDEN)
    return sorted(names, key=lambda name: (not name.startswith("val"), "loss" not in name))[:1]


def _row(saved: Saved, found: Account) -> tuple[object, ...]:
    numbers = (saved.metrics.get(name, "") for name in _metrics(found.checkpoints))
    stored = "delta" if saved.digest in found.differences else "plain"
    best = "best" if saved.best else ""
    return (saved.step, saved.epoch, when(saved.saved), best, *numbers, size(saved.size), stored)


def _plain(found: Account) -> Mapping[str, Any]:
    run = {name: value for name, value in asdict(found.run).items() if name not in {"pipeline", "lock"}}
    held = [{**asdict(saved), "stored": _row(saved, found)[-1]} for saved in found.checkpoints]
    rest = {"became": found.became, "history": found.history, "best": found.best, "go_on": found.command}
    return {"run": run, "checkpoints": held, **rest}
