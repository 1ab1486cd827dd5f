"""Commands that judge versions on data: one with its report, several against each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from engram.cli.bars import watching
from engram.cli.models import COLUMNS, DATA
from engram.cli.terminal import JSON, STORE, names, notice, say, show_json, table

if TYPE_CHECKING:
    from engram.evaluation.comparison import Comparison
    from engram.lifecycle.compare import Compared
    from engram.records import Report

__all__ = ["COMMANDS"]

REFERENCES = typer.Argument(
    ..., help="A version: NAME, NAME:3, NAME@prod, a digest; several are compared with the first.", metavar="REF..."
)


def evaluate(
    references: list[str] = REFERENCES,
    data: str = DATA,
    columns: str = COLUMNS,
    out: Path | None = typer.Option(
        None,
        "-o",
        "--out",
        help="Where the report of one version goes (default: NAME-NUMBER.report.html here).",
        show_default=False,
    ),
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Judge a version on other data and write the report, or compare several."""
    from engram import settings
    from engram.errors import UsageError
    from engram.evaluation.report import as_json
    from engram.lifecycle.compare import compare
    from engram.lifecycle.evaluate import evaluate as judge
    from engram.lifecycle.places import data_place, open_store

    known = settings.read()
    opened, place = open_store(store, known), data_place(data, known)
    with watching(quiet=json) as watch:
        if len(references) > 1:
            if out is not None:
                raise UsageError("-o names the report of one version, and several were given; leave it out")
            compared = compare(references, place, store=opened, names=names(columns), watch=watch)
        else:
            report, page = judge(references[0], place, store=opened, out=out, names=names(columns), watch=watch)
    if len(references) > 1:
        _show_several(compared, data, json=json)
    elif json:
        show_json({**as_json(report), "report": str(page)})
    else:
        _show_one(report, data, page)


def _show_one(report: Report, data: str, page: Path) -> None:
    scores = [(s.name, s.value, f"{s.low:.4g} – {s.high:.4g}") for s in report.scores]
    say(f"{report.rows:,} rows of {data}")
    table(("metric", "score", "95 % interval"), scores, right=("score",))
    for sentence in (*report.findings, *report.diagnosis):
        notice(sentence)
    say(f"report: {page}")


def _show_several(found: Compared, data: str, *, json: bool) -> None:
    from dataclasses import asdict

    if json:
        show_json({**asdict(found), "data": found.data})
        return
    say(f"{found.rows:,} rows of {data}, each score with its 95 % interval")
    rows = [
        (line[0].name, *(f"{s.value:.4g} ({s.low:.4g} – {s.high:.4g})" for s in line))
        for line in zip(*found.scores.values(), strict=True)
    ]
    table(("metric", *found.scores), rows, right=tuple(found.scores), whole=("metric",))
    for one in found.comparisons:
        _show_pair(one)
    for sentence in found.findings:
        notice(sentence)


def _show_pair(found: Comparison) -> None:
    from rich.markup import escape

    interval = f"{100 * (1 - found.level):.4g} % interval"
    say(f"\n[bold]{escape(found.verdict)}[/]")
    rows = [
        (
            d.metric,
            f"{d.second - d.first:+.4g}",
            f"{d.low:+.4g} – {d.high:+.4g}",
            d.verdict,
            f"{d.needed:,}" if d.needed else "",
        )
        for d in found.differences
    ]
    table(("metric", "difference", interval, "verdict", "rows needed"), rows, right=("difference", "rows needed"))


COMMANDS = (evaluate,)
