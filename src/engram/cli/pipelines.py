"""Commands that begin at a pipeline file: new, check, run, resume."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from engram.cli.bars import halting, watching
from engram.cli.terminal import JSON, STORE, names, notice, say, show_json, stated, table

if TYPE_CHECKING:
    from engram.records import Version
    from engram.store.store import Store

__all__ = ["COMMANDS"]

_STOPPING = "stopping after this step, with a checkpoint; press Ctrl-C again to stop at once"
FILE = typer.Argument(..., help="The pipeline file.", metavar="FILE")


def new(  # noqa: PLR0913, PLR0917 - the options of a command
    file: Path = typer.Argument(..., help="The pipeline file to write.", metavar="FILE"),
    data: str = typer.Option(
        ..., "--from", help="The data: a file, a folder, the URL of a database or a service, sklearn:NAME."
    ),
    target: str = typer.Option(
        "", "--target", help="The column to predict (default: found, and said).", show_default=False
    ),
    columns: str = typer.Option(
        "", "--columns", help="Column names with commas between, where the file has no header.", show_default=False
    ),
    test: str = typer.Option(
        "", "--test", help="A file with the official test rows, or the share to hold out.", show_default=False
    ),
    kind: str = typer.Option("", "--kind", help="The kind of source (default: found).", show_default=False),
    options: list[str] = typer.Option(
        [], "--with", help="An option of the source, as in [data]; may be repeated.", metavar="KEY=VALUE"
    ),
    force: bool = typer.Option(False, "--force", help="Write over a file that is already there."),
    json: bool = JSON,
) -> None:
    """Write a commented pipeline file for some data."""
    from engram import settings
    from engram.lifecycle.new import new as write

    known = settings.read()
    given = {**({"kind": kind} if kind else {}), **stated(options)}
    made = write(file, data, target=target, names=names(columns), test=test, force=force, settings=known, given=given)
    if json:
        show_json({**asdict(made), "file": str(file)})
        return
    for sentence in made.findings:
        notice(sentence)
    say(f"[green]✓[/] {made.sentence}")
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
    typer.echo(f"{checked.task.kind} of {checked.task.target} ({checked.task.reason})")
    if checked.task.labels:
        more = f" and {len(checked.task.labels) - 20} more" if len(checked.task.labels) > 20 else ""
        typer.echo(f"labels: {', '.join(checked.task.labels[:20])}{more}")
    say(f"rows: {', '.join(f'{count:,} {name}' for name, count in checked.rows.items())}\n")
    shown = [(c.name, c.kind, c.missing, c.distinct, checked.steps.get(c.name, c.reason)) for c in checked.columns]
    table(("column", "kind", "missing", "distinct", "what happens to it"), shown, right=("missing", "distinct"))
    typer.echo(f"\n{checked.network}\n{checked.parameters:,} parameters")
    for finding in checked.findings:
        notice(finding)
    say(f"[green]✓[/] {file} is good to run")


def run(file: Path = FILE, store: str = STORE, json: bool = JSON) -> None:
    """Train, judge and keep what a pipeline file describes."""
    from engram import settings
    from engram.lifecycle.places import open_store
    from engram.lifecycle.run import run as train

    known = settings.read()
    opened = open_store(store, known)
    with watching(quiet=json) as watch, halting(watch, _STOPPING) as halt:
        version = train(file, store=opened, settings=known, watch=watch, halt=halt)
    _kept(version, opened, json=json)


def resume(
    run: str = typer.Argument(..., help="The run, as it was shown when it started (see engram log).", metavar="RUN"),
    at: int | None = typer.Option(
        None, "--at", help="Begin a new run at the checkpoint of this step (default: the last).", show_default=False
    ),
    folder: str = typer.Option(
        "", "--folder", help="Where relative paths of the pipeline start, if they have moved.", show_default=False
    ),
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Go on with a run that was stopped or killed, or begin another at any of its checkpoints."""
    from engram import settings
    from engram.lifecycle.places import open_store
    from engram.lifecycle.resume import resume as go_on

    known = settings.read()
    opened = open_store(store, known)
    with watching(quiet=json) as watch, halting(watch, _STOPPING) as halt:
        version = go_on(run, store=opened, settings=known, watch=watch, halt=halt, at=at, folder=folder)
    _kept(version, opened, json=json)


def _kept(version: Version, opened: Store, *, json: bool) -> None:
    from engram.lifecycle.places import report_page

    page, report = report_page(version.reference, opened), opened.report(version.reference)
    if json:
        show_json({**asdict(version), "report": str(page), "findings": report.findings, "diagnosis": report.diagnosis})
        return
    scores = "  ".join(f"{score.name} [bold]{score.value:.4g}[/]" for score in report.scores[:4])
    say(f"[green]✓[/] kept [bold]{version.reference}[/]  {scores}")
    for sentence in report.diagnosis:
        notice(sentence)
    say(f"  report: {page}")
    say(f"[dim]next:[/] engram show {version.name}  [dim]·[/]  engram serve {version.name}")


COMMANDS = (new, check, run, resume)
