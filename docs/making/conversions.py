"""The page that says of every network and format how far answers lie apart, what is lost, and how long it takes.

What is said is kept in ``docs/examples/conversions.json``, which a test compares with what the code does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from making.markdown import code, fragment, page, table

__all__ = ["write"]

Row = Mapping[str, Mapping[str, Any]]
INTRODUCTION = """\
Nine networks, each written in PyTorch and in Keras, go into every format that is written, and come back. A cell is the
largest difference of any answer, between the network and the file in its format's own runtime, and between the network
and what is read from the file; more than 1e-05 is refused. A number in brackets leads to the reason why there is no
file. PyTorch networks are asked in PyTorch itself, those of Keras as they were read from their `.keras` files, whose
reading is proven against Keras when they are imported."""


def write() -> dict[str, str]:
    """``conversions.md``."""
    kept: Mapping[str, Mapping[str, Row]] = json.loads(fragment("conversions.json"))
    blocks = [INTRODUCTION]
    for source, rows in kept.items():
        blocks += [f"## From {source}", *_source(rows)]
    return {"conversions.md": page("Conversions", *blocks)}


def _source(rows: Mapping[str, Row]) -> Iterator[str]:
    names, formats = list(rows), sorted(next(iter(rows.values())))
    reasons: list[str] = []
    lines = [
        [f"[`{target}`](formats/{target}.md)", *(_cell(rows[name][target], reasons) for name in names)]
        for target in formats
    ]
    yield table(["", *names], lines)
    yield "\n".join(f"{number}. {reason}" for number, reason in enumerate(reasons, 1))
    yield table(
        ["format", "parameters", "seconds", "what is lost"],
        [[code(target), *_back(rows, target), " ".join(_lost(rows, target)) or "nothing"] for target in formats],
    )


def _cell(cell: Mapping[str, Any], reasons: list[str]) -> str:
    if why := cell["refused"]:
        if why not in reasons:
            reasons.append(why)
        return f"[{reasons.index(why) + 1}]"
    return f"{max(cell['there'], cell['back'] or 0.0):.0e}"


def _back(rows: Mapping[str, Row], target: str) -> tuple[str, str]:
    written = [row[target] for row in rows.values() if not row[target]["refused"]]
    if not written:
        return "–", "–"
    came = {cell["unchanged"] for cell in written}
    words = {None: "not read", True: "the same bits and names", False: "other names or layouts"}
    seconds = sorted(cell["seconds"] for cell in written)
    return " or ".join(words[each] for each in (True, False, None) if each in came), f"{seconds[0]} – {seconds[-1]}"


def _lost(rows: Mapping[str, Row], target: str) -> Iterator[str]:
    where: dict[str, list[str]] = {}
    for name, row in rows.items():
        for sentence in row[target]["lost"]:
            where.setdefault(sentence, []).append(name)
    for sentence, names in where.items():
        yield f"{sentence[:1].upper()}{sentence[1:]}{_only(names, rows)}."


def _only(names: list[str], rows: Mapping[str, Row]) -> str:
    return "" if len(names) == len(rows) else f" ({', '.join(names)})"
