"""Commands about what is kept: list, log, show, alias, history."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from engram.cli.terminal import JSON, STORE, say, show_json, size, table, when

if TYPE_CHECKING:
    from engram.store.store import Store

__all__ = ["COMMANDS"]

REFERENCE = typer.Argument(
    ..., help="A version: income, income:7, income@prod, income@prod@2026-05-03, sha256:9f….", metavar="REF"
)


def list_(store: str = STORE, json: bool = JSON) -> None:
    """List the networks in the store, newest version first."""
    opened = _opened(store)
    newest = [opened.versions(name)[0] for name in opened.names()]
    if json:
        show_json([asdict(version) for version in newest])
        return
    if not newest:
        say("the store is empty; keep a first version with: engram run FILE")
        return
    rows = [
        (v.name, v.number, when(v.kept), ", ".join(opened.aliases(v.name)), *_metric(v.metrics), size(v.size))
        for v in newest
    ]
    table(
        ("network", "versions", "last kept", "aliases", "metric", "score", "size"),
        rows,
        right=("versions", "score", "size"),
    )


def log(
    name: str = typer.Argument(..., help="The network, or a run.", metavar="NAME"),
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Show the versions and runs of a network, newest first."""
    opened = _opened(store)
    runs = [run for run in opened.runs() if name in {run.name, run.id}]
    versions = opened.versions(name) if not any(run.id == name for run in runs) else []
    if json:
        show_json({"versions": [asdict(v) for v in versions], "runs": [_run(run) for run in map(asdict, runs)]})
        return
    if versions:
        rows = [
            (v.reference, when(v.kept), v.digest[7:19], *_metric(v.metrics), v.facts.get("run", "")) for v in versions
        ]
        table(("version", "kept", "digest", "metric", "score", "run"), rows, right=("score",))
    open_runs = [run for run in runs if run.status != "kept" or run.id == name]
    if open_runs:
        say()
        table(
            ("run", "started", "status", "step"),
            [(r.id, when(r.started), r.status, r.step) for r in open_runs],
            right=("step",),
        )
    if not versions and not runs:
        opened.versions(opened.version(name).name)


def show(reference: str = REFERENCE, store: str = STORE, json: bool = JSON) -> None:
    """Show what a version is and holds."""
    opened = _opened(store)
    version = opened.version(reference)
    model = opened.load(reference)
    if json:
        show_json({**asdict(version), "signature": model.signature.as_json(), "labels": model.labels})
        return
    say(f"[bold]{version.reference}[/]  {version.digest}")
    facts = {
        "kept": when(version.kept),
        "size": size(version.size),
        "holds": ", ".join(version.holds),
        "data": version.data,
    }
    facts |= {key: value for key, value in version.facts.items() if not isinstance(value, dict)}
    table(("", ""), [(key, str(value)) for key, value in facts.items() if value])
    say("\n[bold]inputs and outputs[/]")
    sides = (("in", model.signature.inputs), ("out", model.signature.outputs))
    specs = [(side, s.name, s.kind, s.dtype, str(list(s.shape)), s.unit) for side, specs in sides for s in specs]
    table(("", "name", "kind", "type", "shape", "unit"), specs)
    if model.labels:
        say(f"labels: {', '.join(model.labels[:20])}")
    if version.metrics:
        say("\n[bold]scores[/]")
        report = opened.report(reference)
        scores = [(s.name, s.value, f"{s.low:.4g} – {s.high:.4g}") for s in report.scores]
        table(("metric", "score", "95 % interval"), scores, right=("score",))
        for sentence in report.diagnosis:
            say(f"[yellow]•[/] {sentence}")
        from engram.lifecycle.places import report_page

        say(f"\nreport: {report_page(version.reference, opened)}")


def alias(
    name: str = typer.Argument(..., help="The name to move, as NAME@ALIAS.", metavar="NAME@ALIAS"),
    reference: str = REFERENCE,
    why: str = typer.Option("", "--why", help="Why; written into the history."),
    store: str = STORE,
) -> None:
    """Let a name point at a version; the history remembers who, when and why."""
    from engram.errors import UsageError

    network, at, chosen = name.partition("@")
    if not at or not chosen:
        raise UsageError(f"{name!r} is no alias; write NAME@ALIAS, such as income@prod")
    move = _opened(store).alias(network, chosen, reference, why=why)
    say(f"[green]✓[/] {network}@{chosen} is now {move.target[:19]}… (before: {move.origin[:19] or 'nothing'})")


def history(
    name: str = typer.Argument(..., help="The alias, as NAME@ALIAS.", metavar="NAME@ALIAS"),
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Show every move of an alias, newest first."""
    network, _, chosen = name.partition("@")
    moves = _opened(store).history(network, chosen)
    if json:
        show_json([asdict(move) for move in moves])
        return
    table(
        ("when", "who", "from", "to", "why"),
        [(when(m.when), m.who, m.origin[7:19], m.target[7:19], m.why) for m in moves],
    )


def _opened(store: str) -> Store:
    from engram import settings
    from engram.lifecycle.places import open_store

    return open_store(store, settings.read())


def _metric(metrics: object) -> tuple[str, object]:
    first = next(iter(metrics.items()), ("", "")) if isinstance(metrics, dict) else ("", "")
    return str(first[0]), first[1]


def _run(run: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in run.items() if key not in {"pipeline", "lock"}}


COMMANDS = (list_, log, show, alias, history)
