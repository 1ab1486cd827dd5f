"""What two versions differ in, as tables for the terminal; what does not differ is not shown."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engram.cli.terminal import pairs, say, table, when

if TYPE_CHECKING:
    from engram.records import Version
    from engram.store.relations.diff import Diff, Pair
    from engram.store.relations.shifts import Shift

__all__ = ["show_diff"]

_MOST = 20
_LONGEST = 60
_DIGEST = re.compile(r"\b(sha256:[0-9a-f]{12})[0-9a-f]{52}\b")


def show_diff(found: Diff) -> None:
    """Everything that differs, the scores first."""
    a, b = found.before.reference, found.after.reference
    pairs({a: _kept(found.before), b: _kept(found.after)})
    _scores(found, (a, b))
    _weights(found)
    sections = (
        ("layer", found.layers),
        ("operator", found.operators),
        ("input or output", found.signature),
        ("label", found.labels),
        ("fact", found.facts),
        ("file", found.files),
        ("library", found.environment),
        ("key of the lock file", found.lock),
    )
    for title, differing in sections:
        _section(title, differing, (a, b))
    if found.pipeline:
        _text(found.pipeline)


def _kept(version: Version) -> str:
    return f"{version.digest[7:15]}  kept {when(version.kept)}"


def _scores(found: Diff, names: tuple[str, str]) -> None:
    if not found.metrics:
        return
    rows = [(p.name, _number(p.before), _number(p.after), _difference(p)) for p in found.metrics]
    say()
    table(("metric", *names, "difference"), rows, right=(*names, "difference"), whole=("metric",))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _difference(pair: Pair) -> str:
    if pair.before is None or pair.after is None:
        return ""
    return f"{pair.after - pair.before:+.4g}" if pair.after != pair.before else "0"


def _weights(found: Diff) -> None:
    if not found.weights and not found.unchanged:
        return
    total = len(found.weights) + found.unchanged
    if not found.weights:
        say(f"\nall {total:,} weights are the same")
        return
    say(f"\n{len(found.weights):,} of {total:,} weights are not the same")
    farthest = sorted(found.weights, key=_farness)[:_MOST]
    rows = [(s.name, _forms(s), *_moved(s)) for s in farthest]
    table(("weight", "type and shape", "moved by", "largest"), rows, right=("moved by", "largest"), whole=("weight",))
    _more(len(found.weights))


def _farness(shift: Shift) -> tuple[int, float, str]:
    """What is no number any more first, then what moved farthest, then what cannot be compared."""
    broken = math.isnan(shift.relative)
    return (2 if broken and not _comparable(shift) else 0 if broken else 1), -shift.relative, shift.name


def _comparable(shift: Shift) -> bool:
    return shift.before.rpartition(" ")[2] == shift.after.rpartition(" ")[2]


def _forms(shift: Shift) -> str:
    if shift.before == shift.after:
        return shift.after
    return f"{shift.before or 'not there'} → {shift.after or 'not there'}"


def _moved(shift: Shift) -> tuple[str, str]:
    if not _comparable(shift):
        return "–", "–"
    return f"{shift.relative:.2%}", f"{shift.largest:.3g}"


def _section(title: str, differing: Sequence[Pair], names: tuple[str, str]) -> None:
    if not differing:
        return
    say()
    rows = [(pair.name, _shown(pair.before), _shown(pair.after)) for pair in differing[:_MOST]]
    table((title, *names), rows, whole=(title,))
    _more(len(differing))


def _shown(value: Any) -> str:  # noqa: ANN401 - whatever a fact or a key may hold
    words = "–" if value is None else ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    line = _DIGEST.sub(r"\1…", " ".join(words.split()))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _more(count: int) -> None:
    if count > _MOST:
        say(f"[dim]and {count - _MOST:,} more; --json shows them[/]")


def _text(unified: str) -> None:
    from rich.markup import escape

    say()
    for line in unified.splitlines():
        color = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "default")
        say(f"[{color}]{escape(line)}[/]")
