"""Commands about what is kept: list, log, show, alias, history."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from engram.cli.bars import watching
from engram.cli.terminal import JSON, STORE, notice, pairs, say, show_json, size, table, when

if TYPE_CHECKING:
    from engram.lifecycle.alive import Course
    from engram.records import Version
    from engram.store.store import Store

__all__ = ["COMMANDS", "REFERENCE"]

REFERENCE = typer.Argument(
    ..., help="A version: income, income:7, income@prod, income@prod@2026-05-03, sha256:9f….", metavar="REF"
)
ALIAS = typer.Argument(..., help="The alias, as NAME@ALIAS.", metavar="NAME@ALIAS")


def list_(store: str = STORE, json: bool = JSON) -> None:
    """List the networks in the store, each with its newest version."""
    opened = _opened(store)
    newest = [opened.versions(name)[0] for name in opened.names()]
    if json:
        show_json([{**asdict(v), "aliases": _aliases(opened, v.name)} for v in newest])
        return
    if not newest:
        say("the store is empty; keep a first version with: engram run FILE")
        return
    rows = [
        (v.name, f":{v.number}", when(v.kept), *v.deciding, size(v.size), ", ".join(_pointing(opened, v.name)))
        for v in newest
    ]
    heads = ("network", "newest", "kept", "metric", "score", "size", "aliases")
    table(heads, rows, right=("score", "size"), whole=("network", "newest", "kept", "metric"))


def log(
    name: str = typer.Argument("", help="The network, or a run (default: all).", metavar="[NAME]", show_default=False),
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Show versions and runs, newest first, and how to go on with a run that was stopped or killed."""
    from engram import settings
    from engram.lifecycle.alive import course, resuming

    opened = _opened(store)
    found = course(name, opened)
    if json:
        runs = [{k: v for k, v in asdict(run).items() if k not in {"pipeline", "lock"}} for run in found.runs]
        show_json({"versions": [asdict(version) for version in found.versions], "runs": runs})
        return
    if not found.versions and not found.runs:
        say("nothing is kept and nothing was begun; begin with: engram run FILE")
    if found.versions:
        _versions(found)
    if found.versions and found.unfinished:
        say()
    if found.unfinished:
        rows = [(r.id, when(r.started), r.status, r.step) for r in found.unfinished]
        table(("run", "begun", "status", "step"), rows, right=("step",), whole=("run", "begun"))
    for run in found.unfinished:
        if run.status not in {"running", "refused"}:
            say(f"[dim]go on with:[/] {resuming(run.id, opened, settings.read())}")


def _versions(found: Course) -> None:
    rows = [(v.reference, when(v.kept), *v.deciding, v.digest[7:15], v.facts.get("run", "")) for v in found.versions]
    heads = ("version", "kept", "metric", "score", "sha256", "run")
    table(heads, rows, right=("score",), whole=("version", "kept", "metric", "sha256", "run"))


def show(reference: str = REFERENCE, store: str = STORE, json: bool = JSON) -> None:
    """Show what a version is and holds."""
    from engram.lifecycle.places import report_page

    opened = _opened(store)
    version, model = opened.version(reference), opened.load(reference)
    if json:
        signature = {"signature": model.signature.as_json(), "labels": model.labels}
        show_json({**asdict(version), **signature, "aliases": _aliases(opened, version.name)})
        return
    say(f"[bold]{version.reference}[/]  {version.digest}")
    pairs(_facts(version) | {"aliases": ", ".join(_pointing(opened, version.name)) or "none"})
    say("\n[bold]inputs and outputs[/]")
    sides = (("in", model.signature.inputs), ("out", model.signature.outputs))
    specs = [(side, s.name, s.kind, s.dtype, "×".join(map(str, s.shape)), s.unit) for side, ss in sides for s in ss]
    table(("", "name", "kind", "type", "shape", "unit"), specs, whole=("name", "kind", "type"))
    if model.labels:
        more = f" and {len(model.labels) - 20} more" if len(model.labels) > 20 else ""
        typer.echo(f"labels: {', '.join(model.labels[:20])}{more}")
    if "report" in version.holds:
        say("\n[bold]scores[/]")
        report = opened.report(reference)
        scores = [(s.name, s.value, f"{s.low:.4g} – {s.high:.4g}") for s in report.scores]
        table(("metric", "score", "95 % interval"), scores, right=("score",))
        for sentence in (*report.findings, *report.diagnosis):
            notice(sentence)
        say(f"\nreport: {report_page(version.reference, opened)}")


def alias(
    name: str = ALIAS,
    reference: str = REFERENCE,
    why: str = typer.Option("", "--why", help="Why; written into the history.", show_default=False),
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Let a name point at a version; the history remembers who, when and why."""
    network, chosen = _parted(name)
    opened = _opened(store)
    move = opened.alias(network, chosen, reference, why=why)
    if json:
        show_json(asdict(move))
        return
    numbers = _numbers(opened, network)
    before = f"was {numbers.get(move.origin, move.origin[:15])}" if move.origin else "is new"
    say(f"[green]✓[/] {network}@{chosen} is now [bold]{numbers.get(move.target, move.target)}[/] ({before})")


def history(name: str = ALIAS, store: str = STORE, json: bool = JSON) -> None:
    """Show every move of an alias, newest first."""
    opened = _opened(store)
    network, chosen = _parted(name)
    moves = opened.history(network, chosen)
    if json:
        show_json([asdict(move) for move in moves])
        return
    numbers = _numbers(opened, network)
    rows = [
        (when(m.when), m.who, numbers.get(m.origin, m.origin[:15]) or "–", numbers.get(m.target, m.target[:15]), m.why)
        for m in moves
    ]
    table(("when", "who", "from", "to", "why"), rows, whole=("when", "from", "to"))


def verify(store: str = STORE, json: bool = JSON) -> None:
    """Hash every blob again, and name what is damaged and what that hurts."""
    from engram.errors import StoreError
    from engram.records import Progress

    with watching(quiet=json) as watch:
        damaged = _opened(store).verify(lambda done, total: watch(Progress("hashing", done, total)))
    if json:
        show_json([asdict(damage) for damage in damaged])
    for damage in damaged if not json else ():
        say(f"[red]✗[/] {damage.digest}: {damage.fault}; hurts {', '.join(damage.hurts)}")
    if damaged:
        raise StoreError(f"{len(damaged)} blobs are damaged; bring them back from a copy of the store")
    if not json:
        say("[green]✓[/] every blob is what its digest says")


def _opened(store: str) -> Store:
    from engram import settings
    from engram.lifecycle.places import open_store

    return open_store(store, settings.read())


def _facts(version: Version) -> dict[str, object]:
    facts = {
        "kept": when(version.kept),
        "size": size(version.size),
        "holds": ", ".join(version.holds),
        "data": version.data,
        "parents": ", ".join(version.parents),
        **{key: value for key, value in version.facts.items() if not isinstance(value, dict)},
    }
    facts |= {key: f"{value:,}" for key, value in facts.items() if isinstance(value, int)}
    return {key: value for key, value in facts.items() if value not in ("", None)}


def _parted(name: str) -> tuple[str, str]:
    """NAME and ALIAS of NAME@ALIAS."""
    from engram.errors import UsageError

    network, _, chosen = name.partition("@")
    if not network or not chosen:
        raise UsageError(f"{name!r} is no alias; write NAME@ALIAS, such as {network or 'income'}@prod")
    return network, chosen


def _numbers(opened: Store, network: str) -> dict[str, str]:
    """Digest → ``income:7``."""
    return {version.digest: version.reference for version in opened.versions(network)}


def _aliases(opened: Store, network: str) -> dict[str, str]:
    """Alias → digest, of one network."""
    return {name.partition("@")[2]: digest for name, digest in opened.aliases(network).items()}


def _pointing(opened: Store, network: str) -> list[str]:
    """``prod → :7`` for each alias of a network."""
    numbers = _numbers(opened, network)
    return [f"{alias} → :{numbers[to].rpartition(':')[2]}" for alias, to in _aliases(opened, network).items()]


COMMANDS = (list_, log, show, alias, history, verify)
