"""Commands that ask models, and carry them between formats and the store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from engram.cli.bars import watching
from engram.cli.certificates import proved
from engram.cli.terminal import JSON, STORE, in_bytes, names, notice, say, show_json
from engram.cli.versions import REFERENCE
from engram.formats import SHELF

if TYPE_CHECKING:
    from engram.formats._convert import Target
    from engram.records import Prediction

__all__ = ["COLUMNS", "COMMANDS", "DATA"]

DATA = typer.Argument(
    ..., help="The rows: a file, a folder, the URL of a database or a service, sklearn:NAME.", metavar="DATA"
)
COLUMNS = typer.Option(
    "", "--columns", help="Column names with commas between (default: as in training).", show_default=False
)
TO = typer.Option(
    "", "--to", help=f"The format: {', '.join(SHELF.names())} (default: by the suffix of the file).", show_default=False
)
BARE = typer.Option(
    False, "--without-training", help="Leave the training state out, also where the format has a place for it."
)
SHARDS = typer.Option(
    "",
    "--shard-size",
    help="The most weights in one file, as in 5GB, where a format divides them (default: the format's own).",
    metavar="SIZE",
    show_default=False,
)
TOLERANCE = typer.Option(1e-5, "--tolerance", help="Largest difference of answers that is allowed.")


def predict(
    reference: str = REFERENCE,
    data: str = DATA,
    out: Path | None = typer.Option(
        None, "-o", "--out", help="The CSV file to write (default: standard output).", show_default=False
    ),
    columns: str = COLUMNS,
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Answer every row of a file."""
    from engram import settings
    from engram.lifecycle.answer import described_by, predict_file, table_writer
    from engram.lifecycle.places import data_place, open_store
    from engram.lifecycle.whole import whole

    known = settings.read()
    opened, place = open_store(store, known), data_place(data, known)
    model, described = opened.load(reference), described_by(opened, reference, names(columns))
    answered: list[dict[str, object]] = []

    def gather(first: int, answer: Prediction) -> None:
        answered.extend({"row": number, **row} for number, row in enumerate(answer.rows(), start=first))

    with watching(quiet=json) as watch:
        if out is not None:
            with whole(out, "choose another place with -o") as file:
                rows = predict_file(model, place, table_writer(file), watch=watch, described=described)
        else:
            write = gather if json else table_writer(sys.stdout)
            rows = predict_file(model, place, write, watch=watch, described=described)
    if json:
        show_json({"rows": rows, "out": str(out)} if out is not None else answered)
    elif out is not None:
        say(f"[green]✓[/] {rows:,} rows answered in {out}")


def export(  # noqa: PLR0913, PLR0917 - the options of a command
    reference: str = REFERENCE,
    to: str = TO,
    out: Path | None = typer.Option(
        None, "-o", "--out", help="The file to write (default: NAME.FORMAT here).", show_default=False
    ),
    tolerance: float = TOLERANCE,
    bare: bool = BARE,
    shards: str = SHARDS,
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Write a version as a file of any format, with proof that it answers the same."""
    from engram import settings
    from engram.lifecycle.export import export as write
    from engram.lifecycle.places import open_store

    opened = open_store(store, settings.read())
    with watching(quiet=json) as watch:
        path, certificate = write(
            reference,
            to=_target(to, shards),
            path=out,
            store=opened,
            tolerance=tolerance,
            training=not bare,
            watch=watch,
        )
    proved(path, certificate, json=json)


def convert(
    path: Path = typer.Argument(..., help="The file or folder to read.", metavar="PATH"),
    to: str = TO,
    out: Path = typer.Option(..., "-o", "--out", help="The file to write."),
    tolerance: float = TOLERANCE,
    bare: bool = BARE,
    shards: str = SHARDS,
    json: bool = JSON,
) -> None:
    """Turn a model file into another format, with proof that it answers the same."""
    from engram.lifecycle.convert import convert as write

    with watching(quiet=json) as watch:
        certificate = write(path, out, to=_target(to, shards), tolerance=tolerance, training=not bare, watch=watch)
    proved(out, certificate, json=json)


def import_(
    path: Path = typer.Argument(..., help="The file or folder to read; its code is never run.", metavar="PATH"),
    name: str = typer.Option(..., "--name", help="The network's name in the store."),
    graph: str = typer.Option(
        "",
        "--graph",
        help="Whose graph weights that come alone belong to: a version, a model file or a pipeline file.",
        metavar="REF|PATH",
        show_default=False,
    ),
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Keep a model file as a version."""
    from dataclasses import asdict

    from rich.markup import escape

    from engram import settings
    from engram.lifecycle.adopt import graph_of
    from engram.lifecycle.export import keep_file
    from engram.lifecycle.places import open_store

    known = settings.read()
    opened = open_store(store, known)
    with watching(quiet=json) as watch:
        other = graph_of(graph, store=opened, settings=known, watch=watch) if graph else None
        version = keep_file(path, name, store=opened, graph=graph, other=other, watch=watch)
    if json:
        show_json(asdict(version))
        return
    with_state = ", with its training state" if "training" in version.holds else ""
    say(f"[green]✓[/] kept {escape(str(path))} as [bold]{version.reference}[/]{with_state}")
    for sentence in opened.certificate(version.reference).lost:
        notice(sentence)


def _target(to: str, shards: str) -> Target:
    from engram.formats._convert import Target

    return Target(to, in_bytes(shards) if shards else 0)


COMMANDS = (predict, export, convert, import_)
