"""Commands about pipeline files: new, check, run, resume."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from engram.cli.terminal import JSON, STORE, halting, say, show_json, table, watching

if TYPE_CHECKING:
    from engram.records import Version
    from engram.store.store import Store

__all__ = ["COMMANDS"]

FILE = typer.Argument(..., help="The pipeline file.", metavar="FILE")


def new(
    file: Path = typer.Argument(..., help="The pipeline file to write.", metavar="FILE"),
    data: str = typer.Option(..., "--from", help="The data: a CSV file, a folder or zip of images, sklearn:NAME."),
    target: str = typer.Option("", "--target", help="The column to predict (default: found, and said)."),
    columns: str = typer.Option(
        "", "--columns", help="Column names with commas between, where the file has no header."
    ),
    test: str = typer.Option("", "--test", help="A file with the official test rows, or the share to hold out."),
    force: bool = typer.Option(False, "--force", help="Write over a file that is already there."),
) -> None:
    """Write a commented pipeline file for some data."""
    from engram import settings
    from engram.lifecycle.new import new as write

    names = tuple(name.strip() for name in columns.split(",") if name.strip())
    say(write(file, data, target=target, names=names, test=test, force=force, settings=settings.read()))
    say(f"[dim]next:[/] engram check {file}  [dim]then[/]  engram run {file}")


def check(file: Path = FILE, json: bool = JSON) -> None:
    """Validate a pipeline file against its data, without training."""
    from engram import settings
    from engram.lifecycle.check import check as validate

    with watching(quiet=json) as watch:
        checked = validate(file, settings=settings.read(), watch=watch)
    if json:
        show_json(asdict(checked))
        return
    say(f"[bold]{checked.task.kind}[/] of [bold]{checked.task.target}[/] ({checked.task.reason})")
    if checked.task.labels:
        say(f"labels: {', '.join(checked.task.labels[:20])}")
    say(f"rows: {', '.join(f'{count:,} {name}' for name, count in checked.rows.items())}")
    shown = [(c.name, c.kind, c.missing, c.distinct, checked.steps.get(c.name, c.reason)) for c in checked.columns]
    table(("column", "kind", "missing", "distinct", "what happens to it"), shown, right=("missing", "distinct"))
    say(f"\n{checked.network}\n{checked.parameters:,} parameters")
    for finding in checked.findings:
        say(f"[yellow]•[/] {finding}")
    say(f"[green]✓[/] {file} is good to run")


def run(file: Path = FILE, store: str = STORE, json: bool = JSON) -> None:
    """Train, judge and keep what a pipeline file describes."""
    from engram import settings
    from engram.lifecycle.places import open_store
    from engram.lifecycle.run import run as train

    known = settings.read()
    opened = open_store(store, known)
    with watching(quiet=json) as watch, halting() as halt:
        version = train(file, store=opened, settings=known, watch=watch, halt=halt)
    _kept(version, opened, json=json)


def resume(
    run: str = typer.Argument(..., help="The run, as it was shown when it started (see engram log).", metavar="RUN"),
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Go on with a run that was stopped or killed."""
    from engram import settings
    from engram.lifecycle.places import open_store
    from engram.lifecycle.run import resume as go_on

    known = settings.read()
    opened = open_store(store, known)
    with watching(quiet=json) as watch, halting() as halt:
        version = go_on(run, store=opened, settings=known, watch=watch, halt=halt)
    _kept(version, opened, json=json)


def _kept(version: Version, opened: Store, *, json: bool) -> None:
    from engram.lifecycle.places import report_page

    page = report_page(version.reference, opened)
    if json:
        show_json({**asdict(version), "report": str(page)})
        return
    scores = "  ".join(f"{name} [bold]{value:.4g}[/]" for name, value in list(version.metrics.items())[:4])
    say(f"[green]✓[/] kept [bold]{version.reference}[/]  {scores}")
    say(f"  report: {page}")
    say(f"[dim]next:[/] engram show {version.name}  [dim]·[/]  engram serve {version.name}")


COMMANDS = (new, check, run, resume)
