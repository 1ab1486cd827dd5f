"""Commands about where versions come from and where names point: alias, rollback, protect, history, diff, lineage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from engram.cli.comparison import show_diff
from engram.cli.terminal import JSON, STORE, notice, say, show_json, table, when
from engram.cli.versions import REFERENCE, opened_store

if TYPE_CHECKING:
    from engram.records import Gate, Move, Version
    from engram.store.relations.lineage import Lineage, Node
    from engram.store.store import Store

__all__ = ["COMMANDS"]

ALIAS = typer.Argument(..., help="The alias, as NAME@ALIAS.", metavar="NAME@ALIAS")
WHY = typer.Option("", "--why", help="Why; written into the history.", show_default=False)
_WORDS = {
    "move": "moved",
    "forced": "forced",
    "rollback": "rolled back",
    "rollback-unmet": "rolled back, unmet",
    "undo": "rollback undone",
    "undo-unmet": "rollback undone, unmet",
}


def alias(
    name: str = ALIAS,
    reference: str = REFERENCE,
    why: str = WHY,
    force: bool = typer.Option(
        False, "--force", help="Also where the alias is protected and its conditions are not met; needs --why."
    ),
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Let a name point at a version; the history remembers who, when and why."""
    opened = opened_store(store)
    move = opened.alias(name, reference, why=why, force=force)
    if json:
        show_json(asdict(move))
        return
    numbers = opened.named([move.origin, move.target])
    before = f"was {numbers.get(move.origin, move.origin[:15])}" if move.origin else "new"
    say(f"[green]✓[/] {name} is now [bold]{numbers[move.target]}[/] ({before})")
    if move.kind == "forced":
        notice(f"{numbers[move.target]} does not meet what protects {name}; the history says that it was forced")


def rollback(
    name: str = ALIAS,
    to: str = typer.Option(
        "", "--to", help="A version where it once pointed (default: the one before).", metavar="REF", show_default=False
    ),
    undo: bool = typer.Option(False, "--undo", help="Take the last rollback back instead."),
    why: str = WHY,
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Let a name point where it pointed before; once more goes one further back."""
    from engram.store.moves.history import parted

    path = parted(name)
    opened = opened_store(store)
    move = opened.rollback(name, to=to, undo=undo, why=why)
    known = opened.named([move.origin, move.target])
    sides = {side: opened.version(digest) for side, digest in _sides(move).items() if digest in known}
    if json:
        show_json({**asdict(move), **{side: asdict(version) for side, version in sides.items()}})
        return
    say(f"[green]✓[/] {name} is [bold]{known[move.target]}[/] again (was {known.get(move.origin, move.origin[:15])})")
    rows = [(side, v.reference, *v.deciding, when(v.kept)) for side, v in sides.items()]
    table(("", "version", "metric", "score", "kept"), rows, right=("score",), whole=("version", "metric", "kept"))
    if move.kind.endswith("-unmet"):
        _tell_passed(opened.protected(path[0])[name], sides)
    say(f"[dim]if that was wrong:[/] engram rollback {name}{'' if undo else ' --undo'}")


def protect(
    name: str = ALIAS,
    conditions: list[str] = typer.Option(
        [],
        "--if",
        help='What versions must meet: "accuracy >= 0.86", or ">= present - 0.01"; repeatable.',
        metavar="CONDITION",
        show_default=False,
    ),
    off: bool = typer.Option(False, "--off", help="Set it free."),
    why: str = WHY,
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Let a name only move to versions that meet conditions; without any, show those that stand."""
    from engram.errors import UsageError
    from engram.store.moves.history import parted

    path = parted(name)
    opened = opened_store(store)
    if off and conditions:
        raise UsageError("--off sets the alias free and --if protects it; say one of the two")
    changed = opened.protect(name, _stated(conditions), why=why) if off or conditions else None
    gate = changed or opened.protected(path[0]).get(name)
    if json:
        show_json(asdict(gate) if gate else None)
        return
    if gate is None or not gate.conditions:
        say(f"[green]✓[/] {name} is free" if off else f"{name} is not protected; protect it with --if CONDITION")
        return
    say(f"{'[green]✓[/] ' if conditions else ''}{name} only moves to versions with {_demanded(gate)}")
    _tell_unmet(opened, name, gate)


def history(name: str = ALIAS, store: str = STORE, json: bool = JSON) -> None:
    """Show every move of an alias and every change of what protects it, newest first."""
    from engram.store.moves.history import parted

    opened = opened_store(store)
    path = parted(name)
    gates = opened.gates(name)
    moves = [] if gates and name not in opened.aliases(path[0]) else opened.history(name)
    entries = _merged(moves, gates)
    if json:
        show_json([{**asdict(entry), "kind": _kind(entry)} for entry in entries])
        return
    numbers = opened.named([digest for move in moves for digest in (move.origin, move.target) if digest])
    times = _times(entries)
    rows = [_row(entry, shown, numbers) for entry, shown in zip(entries, times, strict=True)]
    table(("when", "who", "what", "from", "to", "why"), rows, whole=("when", "what", "from", "to"))
    if moves:
        first = times[entries.index(moves[-1])].replace(" ", "T")
        say(f"[dim]what it was at a time:[/] engram show {name}@{first}")


def diff(
    before: str = typer.Argument(..., help="The one version, as for engram show.", metavar="REF"),
    after: str = typer.Argument(..., help="The other version.", metavar="REF"),
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Show what two versions differ in: scores, network, weights, data, pipeline, environment."""
    found = opened_store(store).diff(before, after)
    if json:
        show_json(found.as_json())
    else:
        show_diff(found)


def lineage(
    reference: str = REFERENCE,
    out: Path | None = typer.Option(
        None, "-o", "--out", help="The SVG picture to write (default: a tree, here).", show_default=False
    ),
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Show what a version was made from, and what was made from it."""
    found = opened_store(store).lineage(reference)
    if out is not None:
        from engram.lifecycle.whole import write

        write(out, found.svg(), "choose another place with -o")
    if json:
        show_json(found.as_json())
    elif out is not None:
        typer.echo(f"✓ {len(found.nodes):,} parts of the lineage of {reference} are drawn in {out}")
    else:
        _show_tree(found)


def _sides(move: Move) -> dict[str, str]:
    return {"now": move.target, "was": move.origin}


def _stated(conditions: Sequence[str]) -> dict[str, str]:
    """Metric → condition, from what stands after ``--if``.

    Raises:
        UsageError: one is no condition, or a metric has two.
    """
    from engram.errors import UsageError
    from engram.evaluation.conditions import stated

    found: dict[str, str] = {}
    for text in conditions:
        metric, condition = stated(text)
        if metric in found:
            raise UsageError(f"--if names {metric} twice ({found[metric]} and {condition}); say one of the two")
        found[metric] = condition
    return found


def _demanded(gate: Gate) -> str:
    return ", ".join(f"{metric} {condition}" for metric, condition in gate.conditions.items())


def _tell_unmet(opened: Store, name: str, gate: Gate) -> None:
    """Say where the version that an alias points at would not be let through today."""
    from engram.evaluation.conditions import unmet

    if name not in opened.aliases(gate.name):
        return
    version: Version = opened.version(name)
    for words in unmet(gate.conditions, version.metrics):
        notice(f"{name} stays at {version.reference}, of which {words}")


def _tell_passed(gate: Gate, sides: Mapping[str, Version]) -> None:
    """Say what a version does not meet to which a protected alias went back."""
    from engram.evaluation.conditions import unmet

    now, was = sides["now"], sides.get("was")
    for words in unmet(gate.conditions, now.metrics, was.metrics if was else {}):
        notice(f"{gate.name}@{gate.alias} is protected, and of {now.reference}, {words}; the history says: unmet")


def _merged(moves: Sequence[Move], gates: Sequence[Gate]) -> list[Move | Gate]:
    """Both, the newest first, each in the order of its own log even where a clock was set back."""
    found: list[Move | Gate] = []
    one, other = list(moves), list(gates)
    while one and other:
        found.append(one.pop(0) if one[0].when >= other[0].when else other.pop(0))
    return [*found, *one, *other]


def _kind(entry: Move | Gate) -> str:
    from engram.records import Move

    if isinstance(entry, Move):
        return entry.kind
    return "protected" if entry.conditions else "freed"


def _times(entries: Sequence[Move | Gate]) -> list[str]:
    """When each was, so exactly that no two are the same."""
    shown = [when(entry.when, "seconds") for entry in entries]
    return [
        when(entry.when, "microseconds") if shown.count(said) > 1 else said
        for entry, said in zip(entries, shown, strict=True)
    ]


def _row(entry: Move | Gate, shown: str, numbers: Mapping[str, str]) -> tuple[str, ...]:
    from engram.records import Move

    if not isinstance(entry, Move):
        return shown, entry.who, _kind(entry), "", _demanded(entry), entry.why
    ends = [numbers.get(digest, digest[:15]) or "–" for digest in (entry.origin, entry.target)]
    return shown, entry.who, _WORDS.get(entry.kind, entry.kind), *ends, entry.why


def _show_tree(found: Lineage) -> None:
    from rich.markup import escape

    nodes = {node.id: node for node in found.nodes}
    say(f"[bold]{escape(_words(nodes[found.focus]))}[/]")
    for title, around in (("made from", found.above), ("went into", found.below)):
        if around.get(found.focus):
            say(f"\n[dim]{title}[/]")
        for stem, node, again in _branches(found.focus, around):
            say(f"[dim]{stem}[/]{escape(_words(nodes[node]))}{' [dim](above)[/]' if again else ''}")


def _branches(root: str, around: Mapping[str, Sequence[str]]) -> list[tuple[str, str, bool]]:
    """The lines of a tree: what stands before a node, its id, and whether all below it was shown already."""
    lines, seen = [], {root}
    waiting = [("", root)]
    while waiting:
        stem, name = waiting.pop()
        again = name in seen and name != root
        if name != root:
            lines.append((stem, name, again and bool(around.get(name))))
        seen.add(name)
        below = () if again else around.get(name, ())
        inner = stem.replace("├─ ", "│  ").replace("└─ ", "   ")
        marks = ["├─ "] * (len(below) - 1) + ["└─ "]
        waiting += [(inner + mark, other) for mark, other in zip(marks, below, strict=False)][::-1]
    return lines


def _words(node: Node) -> str:
    """What is known of something in a lineage, on one line."""
    title = node.title[:19] if node.title.startswith("sha256:") else node.title
    if node.kind == "checkpoint":
        title = f"{title} of {node.id.partition(':')[2].rpartition('@')[0]}"
    measured = f"{node.metric} {node.value:.4g}" if node.value is not None else ""
    moment = when(node.when) if node.when else ""
    digest = node.id[7:15] if node.kind == "version" and node.known else ""
    aliases = " ".join(f"@{alias}" for alias in node.aliases)
    missing = "" if node.known else "let go" if node.kind == "checkpoint" else "not in this store"
    kind = "" if node.kind == "version" else f"{node.kind} "
    return "  ".join(filter(None, (kind + title, measured, node.status, moment, digest, aliases, missing)))


COMMANDS = (alias, rollback, protect, history, diff, lineage)
