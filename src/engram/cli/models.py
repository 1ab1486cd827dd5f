"""Commands about models: predict, evaluate, export, convert, import, inspect."""

from __future__ import annotations

from pathlib import Path

import typer

from engram.cli.terminal import JSON, STORE, say, show_json, table, watching
from engram.cli.versions import REFERENCE

__all__ = ["COMMANDS"]

DATA = typer.Argument(..., help="The rows: a CSV file, a folder or zip of images.", metavar="DATA")
COLUMNS = typer.Option("", "--columns", help="Column names with commas between, where the file has no header.")
TOLERANCE = typer.Option(1e-5, "--tolerance", help="Largest difference of answers that is allowed.")


def predict(
    reference: str = REFERENCE,
    data: str = DATA,
    out: Path | None = typer.Option(None, "-o", "--out", help="The CSV file to write (default: standard output)."),
    columns: str = COLUMNS,
    store: str = STORE,
) -> None:
    """Answer every row of a file."""
    from engram import settings
    from engram.lifecycle.answer import described_by, predict_file
    from engram.lifecycle.places import open_store

    opened = open_store(store, settings.read())
    with watching() as watch:
        described = described_by(opened, reference, _names(columns))
        rows = predict_file(opened.load(reference), data, out, watch=watch, described=described)
    if out is not None:
        say(f"[green]✓[/] {rows:,} rows answered in {out}")


def evaluate(
    reference: str = REFERENCE,
    data: str = DATA,
    columns: str = COLUMNS,
    out: Path | None = typer.Option(None, "-o", "--out", help="Where the report goes (default: REF.report.html here)."),
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Judge a version on other data, and write the report."""
    from engram import settings
    from engram.lifecycle.evaluate import evaluate as judge
    from engram.lifecycle.places import open_store

    with watching(quiet=json) as watch:
        opened = open_store(store, settings.read())
        report, page = judge(reference, data, store=opened, out=out, names=_names(columns), watch=watch)
    if json:
        show_json({"rows": report.rows, "scores": {s.name: s.value for s in report.scores}, "report": str(page)})
        return
    scores = [(s.name, s.value, f"{s.low:.4g} – {s.high:.4g}") for s in report.scores]
    say(f"{report.rows:,} rows of {data}")
    table(("metric", "score", "95 % interval"), scores, right=("score",))
    say(f"report: {page}")


def export(
    reference: str = REFERENCE,
    to: str = typer.Option("", "--to", help="The format (default: by the suffix of the file)."),
    out: Path | None = typer.Option(None, "-o", "--out", help="The file to write (default: NAME.FORMAT here)."),
    tolerance: float = TOLERANCE,
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Write a version as a file of any format, with proof that it answers the same."""
    from engram import settings
    from engram.lifecycle.export import export as write
    from engram.lifecycle.places import open_store

    with watching(quiet=json):
        path, certificate = write(
            reference, to=to, path=out, store=open_store(store, settings.read()), tolerance=tolerance
        )
    _proved(path, certificate, json=json)


def convert(
    path: Path = typer.Argument(..., help="The file to read.", metavar="PATH"),
    to: str = typer.Option("", "--to", help="The format (default: by the suffix of the file)."),
    out: Path = typer.Option(..., "-o", "--out", help="The file to write."),
    tolerance: float = TOLERANCE,
    json: bool = JSON,
) -> None:
    """Turn a model file into another format, with proof that it answers the same."""
    from engram.formats._convert import read, write

    with watching(quiet=json):
        certificate = write(read(path), out, to=to, tolerance=tolerance)
    _proved(out, certificate, json=json)


def import_(
    path: Path = typer.Argument(..., help="The file to read; its code is never run.", metavar="PATH"),
    name: str = typer.Option(..., "--name", help="The network's name in the store."),
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Keep a model file as a version."""
    from dataclasses import asdict

    from engram import settings
    from engram.lifecycle.export import keep_file
    from engram.lifecycle.places import open_store

    with watching(quiet=json):
        version = keep_file(path, name, store=open_store(store, settings.read()))
    if json:
        show_json(asdict(version))
        return
    say(f"[green]✓[/] kept {path} as [bold]{version.reference}[/]")


def inspect(
    place: str = typer.Argument(..., help="A model file, or a version of the store.", metavar="PATH|REF"),
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Show the layers of a model, without running anything of it."""
    from engram import settings
    from engram.lifecycle.inspect import inspect as look

    seen = look(place, store=store, settings=settings.read())
    if json:
        show_json(seen.as_json())
        return
    say(f"[bold]{seen.name}[/]  {seen.kind}  {seen.parameters:,} parameters  {len(seen.layers)} layers")
    rows = [(layer.name, layer.operator, str(layer.shape), layer.parameters) for layer in seen.layers]
    table(("layer", "operator", "output", "parameters"), rows, right=("parameters",))


def _names(columns: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in columns.split(",") if name.strip())


def _proved(path: Path, certificate: object, *, json: bool) -> None:
    from engram.records import Certificate

    assert isinstance(certificate, Certificate)
    largest = max((d.absolute for d in certificate.differences), default=0.0)
    if json:
        from dataclasses import asdict

        show_json({**asdict(certificate), "path": str(path)})
        return
    say(
        f"[green]✓[/] {path}: answers as the original on {certificate.rows} probe rows, largest difference {largest:.1e} "
        f"(allowed {certificate.tolerance:.0e}), same label on {certificate.agreement:.0%}"
    )
    say(f"  certificate: {path}.certificate.json")


COMMANDS = (predict, evaluate, export, convert, import_, inspect)
