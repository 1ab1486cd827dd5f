"""Commands that show what is kept and how it came about: list, log, show."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from engram.cli.runs import show_run
from engram.cli.terminal import JSON, STORE, notice, pairs, say, show_json, size, table, when

if TYPE_CHECKING:
    from engram.lifecycle.alive import Course
    from engram.records import Version
    from engram.store.store import Store

__all__ = ["COMMANDS", "REFERENCE", "opened_store"]

REFERENCE = typer.Argument(
    ..., help="A version: income, income:7, income@prod, income@prod@2026-05-03, sha256:9f….", metavar="REF"
)


def list_(store: str = STORE, json: bool = JSON) -> None:
    """List the networks in the store, each with its newest version."""
    opened = opened_store(store)
    newest = opened.newest()
    if json:
        aliases = _aliases(opened)
        show_json([{**asdict(v), "aliases": aliases.get(v.name, {})} for v in newest])
        return
    if not newest:
        say("the store is empty; keep a first version with: engram run FILE")
        return
    pointing = _pointing(opened)
    rows = [(v.name, f":{v.number}", when(v.kept), *v.deciding, size(v.size), pointing.get(v.name, "")) for v in newest]
    heads = ("network", "newest", "kept", "metric", "score", "size", "aliases")
    table(heads, rows, right=("score", "size"), whole=("network", "newest", "kept", "metric"))


def log(
    name: str = typer.Argument("", help="The network, or a run (default: all).", metavar="[NAME]", show_default=False),
    most: int = typer.Option(50, "-n", "--most", min=1, help="How many versions and runs are shown, the newest."),
    every: bool = typer.Option(False, "--all", help="Show all of them."),
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Show versions and runs, newest first, or how one run went, and how to go on with it."""
    from engram import settings
    from engram.lifecycle.account import account
    from engram.lifecycle.alive import course, resuming

    opened = opened_store(store)
    if any(run.id == name for run in opened.runs(name, most=1)):
        show_run(account(name, opened, settings.read()), json=json)
        return
    found = course(name, opened, 0 if every else most)
    if json:
        runs = [{k: v for k, v in asdict(run).items() if k not in {"pipeline", "lock"}} for run in found.runs]
        show_json({"versions": [asdict(v) for v in found.versions], "total": found.total, "runs": runs})
        return
    if not found.versions and not found.runs:
        say("nothing is kept and nothing was begun; begin with: engram run FILE")
    if found.versions:
        _versions(found)
    if found.total > len(found.versions):
        say(f"[dim]{found.total - len(found.versions):,} more, which are older: engram log --all[/]")
    if found.versions and found.unfinished:
        say()
    if found.unfinished:
        rows = [(r.id, when(r.started), r.status, r.step) for r in found.unfinished]
        table(("run", "begun", "status", "step"), rows, right=("step",), whole=("run", "begun"))
    for run in found.unfinished:
        if run.step and run.status not in {"running", "refused"}:  # without a checkpoint there is nothing to go on from
            say(f"[dim]go on with:[/] {resuming(run, opened, settings.read())}")


def _versions(found: Course) -> None:
    rows = [(v.reference, when(v.kept), *v.deciding, v.digest[7:15], v.facts.get("run", "")) for v in found.versions]
    heads = ("version", "kept", "metric", "score", "sha256", "run")
    table(heads, rows, right=("score",), whole=("version", "kept", "metric", "sha256", "run"))


def show(reference: str = REFERENCE, store: str = STORE, json: bool = JSON) -> None:
    """Show what a version is and holds."""
    from engram.lifecycle.places import report_page

    opened = opened_store(store)
    version, model = opened.version(reference), opened.load(reference)
    if json:
        signature = {"signature": model.signature.as_json(), "labels": model.labels}
        parts = [asdict(item) for item in opened.inventory(reference)]
        pointing = _aliases(opened, version.name).get(version.name, {})
        show_json({**asdict(version), **signature, "aliases": pointing, "parts": parts})
        return
    say(f"[bold]{version.reference}[/]  {version.digest}")
    pairs(_facts(version) | {"aliases": _pointing(opened, version.name).get(version.name, "none")})
    say("\n[bold]what is in it[/]")
    items = opened.inventory(reference)
    rows = [(i.part, size(i.size) if i.files else "–", i.detail if i.files else "none") for i in items]
    table(("part", "size", "detail"), rows, right=("size",), whole=("part",))
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


def opened_store(store: str) -> Store:
    """The store that a command works on."""
    from engram import settings
    from engram.lifecycle.places import open_store

    return open_store(store, settings.read())


def _line(value: object) -> object:
    """A mapping of words (the environment) in one line; anything else as it is."""
    return ", ".join(f"{name} {said}" for name, said in value.items()) if isinstance(value, dict) else value


def _facts(version: Version) -> dict[str, object]:
    facts = {
        "kept": when(version.kept),
        "size": size(version.size),
        "data": version.data,
        "parents": ", ".join(version.parents),
        **{key: _line(value) for key, value in version.facts.items()},
    }
    facts |= {key: f"{value:,}" for key, value in facts.items() if isinstance(value, int)}
    return {key: value for key, value in facts.items() if value not in ("", None)}


def _aliases(opened: Store, network: str = "") -> dict[str, dict[str, str]]:
    """Network → alias → digest, of one network or all."""
    found: dict[str, dict[str, str]] = {}
    for path, digest in opened.aliases(network).items():
        name, _, alias = path.partition("@")
        found.setdefault(name, {})[alias] = digest
    return found


def _pointing(opened: Store, network: str = "") -> dict[str, str]:
    """Network → ``prod → :7, canary → :8``; a protected alias says that it is."""
    aliases, gates = _aliases(opened, network), opened.protected(network)
    numbers = opened.named([digest for found in aliases.values() for digest in found.values()])
    shown: dict[str, list[str]] = {}
    for name, found in aliases.items():
        for alias, digest in found.items():
            note = " (protected)" if f"{name}@{alias}" in gates else ""
            shown.setdefault(name, []).append(f"{alias} → {numbers.get(digest, digest[:15]).removeprefix(name)}{note}")
    return {name: ", ".join(words) for name, words in shown.items()}


COMMANDS = (list_, log, show)
