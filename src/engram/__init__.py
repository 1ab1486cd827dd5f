"""Engram keeps what a neural network has learned, and looks after it for its whole life.

    import engram

    version = engram.run("income.toml")            # train, judge, keep
    store = engram.open()                          # what is kept
    model = store.load("income")                   # by name, number, alias or digest
    model.predict([{"age": 39, "education": "Bachelors", …}])
    engram.write(model, "income.onnx")             # any format, with its certificate

Every verb of the command line is a function here, with the same words. Importing this loads no framework.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engram import errors

if TYPE_CHECKING:
    from engram.lifecycle.alive import Course
    from engram.lifecycle.check import Checked
    from engram.lifecycle.compare import Compared
    from engram.lifecycle.explain import Explained
    from engram.lifecycle.inspect import Inspected
    from engram.records import (
        Certificate,
        Dataset,
        Gate,
        Model,
        Move,
        Pipeline,
        Prediction,
        Progress,
        Report,
        Version,
    )
    from engram.store.relations.diff import Diff
    from engram.store.relations.lineage import Lineage
    from engram.store.store import Store

__all__ = [
    "Certificate",
    "Dataset",
    "Model",
    "Pipeline",
    "Prediction",
    "Progress",
    "Report",
    "Version",
    "alias",
    "check",
    "compare",
    "convert",
    "diff",
    "errors",
    "evaluate",
    "explain",
    "export",
    "history",
    "inspect",
    "keep",
    "lineage",
    "list",
    "log",
    "new",
    "open",
    "predict",
    "protect",
    "read",
    "resume",
    "rollback",
    "run",
    "serve",
    "show",
    "write",
]

_RECORDS = frozenset({"Certificate", "Dataset", "Model", "Pipeline", "Prediction", "Progress", "Report", "Version"})


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any of the records
    """Records load numpy, so they come when they are asked for."""
    if name in _RECORDS:
        from engram import records

        return getattr(records, name)
    raise AttributeError(f"module 'engram' has no attribute {name!r}")


def __dir__() -> builtins.list[str]:
    return sorted(__all__)


def _ignore(_progress: Progress) -> None:
    """Nobody is watching."""


def new(
    path: str | Path, data: str, *, target: str = "", columns: Sequence[str] = (), test: str = "", force: bool = False
) -> str:
    """Write a commented pipeline file for some data.

    Args:
        path: the file to write.
        data: a CSV file, a folder or zip of images, or ``sklearn:NAME``.
        target: the column to predict; found where it is not given.
        columns: names, where the file has no header.
        test: the official test file, or the share to hold out.
        force: write over a file that is already there.

    Returns:
        What was found, in a sentence.
    """
    from engram import settings
    from engram.lifecycle.new import new as write_new

    return write_new(
        Path(path), data, target=target, names=tuple(columns), test=test, force=force, settings=settings.read()
    ).sentence


def check(pipeline: str | Path | Pipeline) -> Checked:
    """Validate a pipeline against its data, without training.

    Raises:
        errors.UsageError: the file is wrong or does not fit the data.
        errors.DataError: the data cannot be used.
    """
    from engram import settings
    from engram.lifecycle.check import check as validate

    return validate(pipeline, settings=settings.read(), watch=_ignore)


def run(
    pipeline: str | Path | Pipeline, *, store: str | Path = "", watch: Callable[[Progress], None] = _ignore
) -> Version:
    """Train, judge and keep what a pipeline describes.

    Args:
        pipeline: the file, or a ``Pipeline``.
        store: where it is kept; ``ENGRAM_STORE`` or ``./engrams`` if empty.
        watch: called with the progress.

    Raises:
        errors.UsageError: the file is wrong or does not fit the data.
        errors.DataError: the data cannot be used.
        errors.ConditionNotMet: ``[keep] if`` is not met.
        errors.Interrupted: Ctrl-C was pressed; a checkpoint is kept and the message says how to go on.
    """
    from engram import settings
    from engram.lifecycle.places import open_store
    from engram.lifecycle.run import run as train
    from engram.lifecycle.stopping import halting

    known = settings.read()
    with halting() as halt:
        return train(pipeline, store=open_store(store, known), settings=known, watch=watch, halt=halt)


def resume(
    run: str,
    *,
    at: int | None = None,
    folder: str | Path = "",
    store: str | Path = "",
    watch: Callable[[Progress], None] = _ignore,
) -> Version:
    """Go on with a run that was stopped or killed; it ends in the same bits as one that was not.

    Args:
        run: its id.
        at: the step of a checkpoint that is held; a new run begins there. None goes on from the last.
        folder: where relative paths start, where that is not where they started when the run began.
        store: that holds it; ``ENGRAM_STORE`` or ``./engrams`` if empty.
        watch: called with the progress.

    Raises:
        errors.VersionNotFound: the store has no such run or checkpoint.
        errors.DataError: the data have changed since.
    """
    from engram import settings
    from engram.lifecycle.places import open_store
    from engram.lifecycle.resume import resume as go_on
    from engram.lifecycle.stopping import halting

    known = settings.read()
    with halting() as halt:
        opened = open_store(store, known)
        return go_on(run, store=opened, settings=known, watch=watch, halt=halt, at=at, folder=str(folder))


def open(place: str | Path = "", *, trust: Sequence[str | Path] = ()) -> Store:  # noqa: A001 - it reads as it should
    """The store at this place.

    Args:
        place: a folder or URL; ``ENGRAM_STORE`` or ``./engrams`` if empty.
        trust: files of public keys; a version is then only loaded if one of them has signed it. ``ENGRAM_TRUST`` if
            empty, and where that is not set either, the keys that ``engram trust`` has put into the store.
    """
    from engram import settings
    from engram.lifecycle.places import open_store

    return open_store(place, settings.read(), trust)


def list(store: str | Path = "") -> builtins.list[Version]:  # noqa: A001 - the word of the command line
    """The newest version of every network in the store."""
    return open(store).newest()


def log(name: str = "", *, most: int = 0, store: str | Path = "") -> Course:
    """The versions and runs of a network, or of all, newest first.

    Args:
        name: of the network, or id of one run; empty for all.
        most: how many versions and runs, the newest; 0 for all.
        store: that holds them; ``ENGRAM_STORE`` or ``./engrams`` if empty.

    Raises:
        errors.VersionNotFound: there is neither a version nor a run of this name.
    """
    from engram.lifecycle.alive import course

    return course(name, open(store), most)


def show(reference: str, *, store: str | Path = "") -> Version:
    """What a version is and holds; a notebook shows it as a table.

    Raises:
        errors.VersionNotFound: no such version.
    """
    return open(store).version(reference)


def alias(name: str, reference: str, *, why: str = "", force: bool = False, store: str | Path = "") -> Move:
    """Let a name point at a version; the history remembers who, when and why.

    Args:
        name: as ``income@prod``.
        reference: of the version.
        why: written into the history.
        force: also where the alias is protected and its conditions are not met; needs a reason.
        store: that holds it; ``ENGRAM_STORE`` or ``./engrams`` if empty.

    Raises:
        errors.VersionNotFound: no such version.
        errors.ConditionNotMet: the alias is protected, and the version does not meet its conditions.
    """
    return open(store).alias(name, reference, why=why, force=force)


def rollback(name: str, *, to: str = "", undo: bool = False, why: str = "", store: str | Path = "") -> Move:
    """Let a name point where it pointed before; once more goes one further back.

    Args:
        name: as ``income@prod``; protected ones go back, too, and the history says where conditions are not met.
        to: a version where it once pointed, instead of the one before.
        undo: take the last rollback back instead.
        why: written into the history.
        store: that holds it; ``ENGRAM_STORE`` or ``./engrams`` if empty.

    Raises:
        errors.UsageError: there is nothing further back, or no rollback to undo.
    """
    return open(store).rollback(name, to=to, undo=undo, why=why)


def protect(name: str, conditions: Mapping[str, str], *, why: str = "", store: str | Path = "") -> Gate:
    """Let a name only move to versions that meet conditions, such as ``{"accuracy": ">= 0.86"}``; none set it free.

    Raises:
        errors.UsageError: a condition is none, or there is no such metric.
    """
    return open(store).protect(name, conditions, why=why)


def history(name: str, *, store: str | Path = "") -> builtins.list[Move]:
    """Every move of an alias (``income@prod``), the newest first.

    Raises:
        errors.VersionNotFound: it was never set.
    """
    return open(store).history(name)


def diff(before: str, after: str, *, store: str | Path = "") -> Diff:
    """What two versions differ in; a notebook shows it as tables.

    Raises:
        errors.VersionNotFound: no such version.
    """
    return open(store).diff(before, after)


def lineage(reference: str, *, store: str | Path = "") -> Lineage:
    """What a version was made from, and what was made from it; a notebook shows it as a picture.

    Raises:
        errors.VersionNotFound: no such version.
    """
    return open(store).lineage(reference)


def keep(path: str | Path, name: str, *, graph: str = "", store: str | Path = "") -> Version:
    """Keep a model file as a version (``engram import``), with its training state; its code is never run.

    Args:
        path: of the file or folder.
        name: of the network.
        graph: whose graph weights that come alone belong to: a version, a model file or a pipeline file.
        store: where it is kept.

    Raises:
        errors.FormatError: the file is damaged, hostile or of no known format.
        errors.ConversionError: what was read answers differently from the file.
        errors.UsageError: the file holds weights alone, and no graph is given or one that they do not fit.
    """
    from engram import settings
    from engram.lifecycle.adopt import graph_of
    from engram.lifecycle.export import keep_file

    opened = open(store)
    other = graph_of(graph, store=opened, settings=settings.read(), watch=_ignore) if graph else None
    return keep_file(path, name, store=opened, graph=graph, other=other)


def convert(
    path: str | Path, out: str | Path, *, to: str = "", tolerance: float = 1e-5, shard_size: int = 0
) -> Certificate:
    """Turn a model file into another format, with proof that it answers the same.

    Args:
        path: of the file or folder that is read.
        out: of the one that is written.
        to: its format; by the suffix of the path if empty.
        tolerance: largest difference of answers that is allowed.
        shard_size: the most bytes of weights in one file, where the format divides them; 0 is the format's own choice.

    Raises:
        errors.FormatError: the file is damaged, hostile or of no known format.
        errors.ConversionError: the file would answer differently; none is written.
        errors.UsageError: the format is one file, and shards were asked for.
    """
    from engram.formats._convert import Target
    from engram.lifecycle.convert import convert as convert_file

    return convert_file(path, out, to=Target(to, shard_size), tolerance=tolerance)


def read(path: str | Path) -> Model:
    """The model in a file of any format; its code is never run.

    Raises:
        errors.FormatError: the file is damaged, hostile or of no known format.
    """
    from engram.formats._convert import read as read_file
    from engram.lifecycle.answer import answering

    return answering(read_file(path))


def write(model: Model, path: str | Path, *, to: str = "", tolerance: float = 1e-5, shard_size: int = 0) -> Certificate:
    """Write a model to a file, with proof that it answers the same.

    Args:
        model: to be written.
        path: where.
        to: the format; by the suffix of the path if empty.
        tolerance: largest difference of answers that is allowed.
        shard_size: the most bytes of weights in one file, where the format divides them; 0 is the format's own choice.

    Raises:
        errors.ConversionError: the file would answer differently; none is written.
        errors.UsageError: the format is one file, and shards were asked for.
    """
    from engram.formats._convert import Target
    from engram.formats._convert import write as write_file

    return write_file(model, path, to=Target(to, shard_size), tolerance=tolerance)


def export(
    reference: str,
    *,
    to: str = "",
    path: str | Path | None = None,
    store: str | Path = "",
    tolerance: float = 1e-5,
    shard_size: int = 0,
) -> Certificate:
    """Write a kept version to a file, with proof that it answers the same.

    Args:
        reference: of the version.
        to: the format; by the suffix of the path if empty.
        path: where; NAME.FORMAT in the current folder if None.
        store: where the version is.
        tolerance: largest difference of answers that is allowed.
        shard_size: the most bytes of weights in one file, where the format divides them; 0 is the format's own choice.

    Raises:
        errors.VersionNotFound: no such version.
        errors.ConversionError: the file would answer differently; none is written.
        errors.UsageError: the format is one file, and shards were asked for.
    """
    from engram.formats._convert import Target
    from engram.lifecycle.export import export as write_version

    target = Target(to, shard_size)
    return write_version(reference, to=target, path=path, store=open(store), tolerance=tolerance)[1]


def predict(reference: str, rows: Any, *, store: str | Path = "") -> Prediction:  # noqa: ANN401 - as Model.predict
    """What a kept version answers for rows of any kind, or for the rows of a file, read as the training data were.

    Raises:
        errors.VersionNotFound: no such version.
        errors.ShapeError: a column is missing or a value is of the wrong type.
        errors.DataError: the file cannot be read.
    """
    from engram import settings
    from engram.lifecycle.answer import predicted
    from engram.lifecycle.places import data_place

    if isinstance(rows, (str, Path)):
        rows = data_place(rows, settings.read())
    return predicted(reference, rows, store=open(store))


def evaluate(reference: str, data: str | Path, *, columns: Sequence[str] = (), store: str | Path = "") -> Report:
    """How well a kept version does on other data.

    Raises:
        errors.DataError: the data cannot be read or lack the target.
    """
    from engram import settings
    from engram.lifecycle.evaluate import judged
    from engram.lifecycle.places import data_place

    place = data_place(data, settings.read())
    return judged(reference, place, store=open(store), names=tuple(columns), watch=_ignore)


def explain(
    reference: str, data: str | Path, *, row: int = 0, columns: Sequence[str] = (), store: str | Path = ""
) -> Explained:
    """What a kept version goes by: which columns it needs, how answers follow them, what the values of one row did.

    Args:
        reference: of the version.
        data: rows with the target.
        row: to be explained, from 1, among the rows that have a true value; 0 for none.
        columns: names, where the file has no header and the version does not know them.
        store: where the version is.

    Raises:
        errors.UsageError: the version takes images, or there is no such row.
        errors.DataError: the data cannot be read or lack the target.
    """
    from engram import settings
    from engram.lifecycle.explain import explain as ask
    from engram.lifecycle.places import data_place

    place = data_place(data, settings.read())
    return ask(reference, place, store=open(store), row=row, names=tuple(columns), watch=_ignore)


def compare(*references: str, data: str | Path, columns: Sequence[str] = (), store: str | Path = "") -> Compared:
    """Which of several kept versions is best on the same rows; each is compared with the first.

    Args:
        references: of two or more versions that learned the same.
        data: rows with the target.
        columns: names, where the file has no header and the versions do not know them.
        store: where the versions are.

    Raises:
        errors.UsageError: fewer than two versions, or versions that learned different things.
        errors.DataError: the data cannot be read, lack the target or are not read alike.
    """
    from engram import settings
    from engram.lifecycle.compare import compare as judge
    from engram.lifecycle.places import data_place

    place = data_place(data, settings.read())
    return judge(references, place, store=open(store), names=tuple(columns), watch=_ignore)


def inspect(place: str, *, store: str = "") -> Inspected:
    """What a model file or a kept version is made of; nothing of it is run."""
    from engram import settings
    from engram.lifecycle.inspect import inspect as look

    return look(place, store=store, settings=settings.read())


def serve(*references: str, store: str | Path = "", host: str = "127.0.0.1", port: int = 8080) -> None:
    """Answer requests for kept versions over HTTP until the process is told to stop."""
    from engram.lifecycle.serve import serve as answer

    answer(references, store=open(store), host=host, port=port, ready=lambda _url: None)
