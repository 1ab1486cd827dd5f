"""Commands that judge versions on data: one with its report, several against each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from engram.cli.bars import watching
from engram.cli.models import COLUMNS, DATA
from engram.cli.terminal import JSON, STORE, names, notice, say, show_json, table
from engram.cli.versions import REFERENCE

if TYPE_CHECKING:
    from engram.evaluation.comparison import Comparison
    from engram.lifecycle.compare import Compared
    from engram.lifecycle.explain import Explained
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
    _show_parts(report)
    for sentence in (*report.findings, *report.diagnosis):
        notice(sentence)
    say(f"report: {page}")


def _show_parts(report: Report) -> None:
    """Where it is worst, and the gaps between groups that were asked for."""
    if report.weak:
        rows = [(w.name, w.rows, w.error, f"{w.low:.4g} – {w.high:.4g}") for w in report.weak]
        error = "wrong" if report.labels else "mean error"
        say(f"\nworst parts of {report.weak[0].looks:,} (over all rows {report.weak[0].overall:.4g})")
        table(("part", "rows", error, "interval"), rows, right=("rows", error), whole=("part",))
    if report.gaps:
        lines = [
            (g.column, g.rate, g.most, g.least, f"{g.difference:.4g}", f"{g.low:+.4g} – {g.high:+.4g}")
            for g in report.gaps
        ]
        say()
        table(("column", "rate", "largest in", "smallest in", "gap", "interval"), lines, right=("gap",))


def _show_several(found: Compared, data: str, *, json: bool) -> None:
    from dataclasses import asdict

    if json:
        show_json(asdict(found))
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


def explain(
    reference: str = REFERENCE,
    data: str = DATA,
    row: int = typer.Option(
        0, "--row", help="The row to explain, from 1, among those that have a true value.", show_default=False
    ),
    columns: str = COLUMNS,
    out: Path | None = typer.Option(
        None, "-o", "--out", help="The picture to write, an .svg (default: none).", show_default=False
    ),
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Say what a version goes by: which columns it needs, and what the values of one row did."""
    from dataclasses import asdict

    from engram import settings
    from engram.lifecycle.explain import explain as ask
    from engram.lifecycle.explain import picture
    from engram.lifecycle.places import data_place, open_store

    known = settings.read()
    with watching(quiet=json) as watch:
        opened, place = open_store(store, known), data_place(data, known)
        found = ask(reference, place, store=opened, row=row, names=names(columns), watch=watch)
    if out is not None:
        picture(found, out)
    if json:
        show_json({**asdict(found), "picture": str(out or "")})
        return
    _show_explained(found)
    if out is not None:
        say(f"picture: {out}")


def _show_explained(found: Explained) -> None:
    from rich.markup import escape

    say(f"{escape(found.version)} on {found.rows:,} rows: gain in {found.errors} when a column's values change places")
    rows = [(each.column, f"{each.gain:+.4g}", f"{each.low:+.4g} – {each.high:+.4g}") for each in found.importances]
    table(("column", "gain", "95 % interval"), rows, right=("gain",), whole=("column",))
    if found.row:
        answer = escape(found.answer)
        say(f"\nrow {found.row:,}: {answer} is {found.output:.4g}, on average it is {found.average:.4g}")
        lines = [(e.column, e.value, f"{e.effect:+.4g}", f"{e.low:+.4g} – {e.high:+.4g}") for e in found.effects]
        table(("column", "value", "effect", "95 % interval"), lines, right=("effect",), whole=("column",))
    for each in found.dependences:
        say(f"\nmean {escape(found.answer)} if all rows had this {escape(each.column)}")
        table((each.column, "mean"), list(zip(each.values, each.answers, strict=True)), right=("mean",))


COMMANDS = (evaluate, explain)
