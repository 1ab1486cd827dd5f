"""From a pipeline to data that are ready to be learned from: found, read, understood, checked and divided.

Kinds are found on the training file and laid over the official test file, never found there again: a test file in which
a column happens to hold only whole numbers is still the same table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy import ndarray

from engram.data import _digest, _kinds, _places, _source, _split, _target
from engram.data._describe import suggest_target
from engram.data._pictures import Pictures
from engram.data._rows import open_rows
from engram.data._table import Rows, Table, column_of
from engram.errors import DataError, UnknownName, UsageError
from engram.plugins import nearest
from engram.records import Column, Dataset, Part, Pipeline, Task

__all__ = ["load", "open_rows"]


def load(pipeline: Pipeline, search: Sequence[Path] = ()) -> tuple[Dataset, Task]:
    """The data of a pipeline, in the parts ``train``, ``validation`` and ``test``, and the task they set.

    Args:
        pipeline: its places start in its folder.
        search: further folders where places are looked for, in order.

    Returns:
        The dataset, a part left out where its share is 0, and the task.

    Raises:
        DataError: the data cannot be used; with the place, the rows and what to do.
        UsageError: the pipeline asks for something that the data do not have.
    """
    folders = (Path(pipeline.folder), *search)
    section = pipeline.data
    given = _read(section.source, pipeline, folders)
    dataset = replace(given, target=_named_target(pipeline, given), origin=", ".join(section.source))
    kinds = _kinds.said(pipeline.columns, tuple(c.name for c in dataset.columns), dataset.target)
    dataset = _kinds.settle(_kinds.apply(_kinds.apply(dataset, _worded(dataset, kinds)), kinds))
    if isinstance(section.test, str):
        dataset = _with_test(dataset, pipeline, folders)
    task = _target.find(dataset, kinds.get(dataset.target, ""))
    dataset = _as_target(_without_gaps(_matched(dataset, task)), task)
    if not dataset.inputs:
        raise DataError("no column is left to learn from: all but the target are ignored; say their kind in [columns]")
    return _divided(dataset, task, pipeline), task


def _read(source: tuple[str, ...], pipeline: Pipeline, folders: Sequence[Path]) -> Dataset:
    """The data of these places; a plug-in with an option ``target`` is told it, because it cannot read without."""
    section = pipeline.data
    places = _places.resolve(source, folders)
    named = "target" in _source.known(places, section.kind) and section.target
    given = {**section.options, **({"target": section.target} if named else {})}
    return _source.read(places, folders, kind=section.kind, names=section.names, given=given)


def _named_target(pipeline: Pipeline, dataset: Dataset) -> str:
    names = [column.name for column in dataset.columns]
    target = pipeline.data.target or dataset.target
    if not target:
        guess = suggest_target(dataset.columns)
        wrong = f'[data] has no target; say which column to predict, such as target = "{guess}"'
        raise UsageError(wrong, place="data.target")
    if target not in names:
        raise UnknownName(f"target {target!r} is no column; {nearest(target, names)}", place="data.target")
    return target


def _worded(dataset: Dataset, kinds: Mapping[str, str]) -> dict[str, str]:
    """The target as a category, where it was found to hold words and nothing is said of it."""
    column, part = dataset.column(dataset.target), dataset.parts["all"]
    if column.name in kinds or not isinstance(part, Table) or column.name in part.faults:
        return {}
    words = part.values[column.name].array.dtype != np.float64 or column.kind == "boolean"
    return {column.name: "category"} if words and column.kind != "category" else {}


def _with_test(dataset: Dataset, pipeline: Pipeline, folders: Sequence[Path]) -> Dataset:
    """The data with the official test set read beside them, each column as it is in the training data."""
    section = pipeline.data
    place = str(section.test)
    given = _read((place,), pipeline, folders)
    have = {column.name for column in given.columns}
    lacking = [column.name for column in dataset.columns if column.name not in have]
    if lacking:
        raise DataError(
            f"{place} has no column {lacking[0]!r}, which the training data have; {nearest(lacking[0], have)}"
        )
    kinds = {column.name: column.kind for column in dataset.columns}
    test = _kinds.settle(_kinds.apply(given, kinds))
    notes = tuple(note for note in given.notes if " is ignored" not in note and note not in dataset.notes)
    sources = (*dataset.sources, *given.sources)
    return replace(
        dataset,
        parts={**dataset.parts, "test": test.parts["all"]},
        digest=_together(dataset, given),
        notes=(*dataset.notes, *notes),
        sources=sources,
    )


def _together(dataset: Dataset, test: Dataset) -> str:
    """The digest of training data and test data: of their files, or of both digests where some are in none."""
    if dataset.sources and test.sources:
        return _digest.files((*dataset.sources, *test.sources))
    return _digest.parts([dataset.digest.encode(), test.digest.encode()])


def _matched(dataset: Dataset, task: Task) -> Dataset:
    """The data with labels of the test set that differ by a full stop at their end written as in training.

    Raises:
        DataError: a label of the test or validation set is in no training row.
    """
    if not task.classifies:
        return dataset
    parts, notes = dict(dataset.parts), []
    for name in parts.keys() & {"test", "validation"}:
        change = _target.renames(column_of(parts[name], task.target), task.labels)
        if change:
            parts[name] = _renamed(parts[name], task.target, change)
            some = ", ".join(f"{a!r} as {b!r}" for a, b in list(change.items())[:3])
            notes.append(f"the {name} set writes labels with a full stop; {some} and so on were taken as one")
        present = _target.texts(column_of(parts[name], task.target))
        try:
            _target.encode(task, present[present != ""])
        except DataError as wrong:
            raise DataError(f"the {name} set: {wrong}") from None
    return replace(dataset, parts=parts, notes=(*dataset.notes, *notes))


def _renamed(part: Part, name: str, change: Mapping[str, str]) -> Part:
    return part.renamed(name, lambda word: change.get(word, word)) if isinstance(part, (Table, Pictures)) else part


def _without_gaps(dataset: Dataset) -> Dataset:
    """The data without the rows that have no target."""
    parts, notes = {}, []
    for name, part in dataset.parts.items():
        missing = _target.gaps(column_of(part, dataset.target))
        count = int(missing.sum())
        parts[name] = Rows(part, np.flatnonzero(~missing)) if count else part
        if count:
            rows = "row has" if count == 1 else "rows have"
            notes.append(f"{count:,} {rows} no {dataset.target!r} and {'was' if count == 1 else 'were'} left out")
    return replace(dataset, parts=parts, notes=(*dataset.notes, *notes))


def _as_target(dataset: Dataset, task: Task) -> Dataset:
    """The data with the record of the target column saying what it is used for."""
    kind = "category" if task.classifies else "number"
    columns = tuple(replace(c, kind=kind, reason=task.reason) if c.name == task.target else c for c in dataset.columns)
    notes = tuple(note for note in dataset.notes if not note.startswith(f"column {task.target!r} is ignored"))
    return replace(dataset, columns=columns, notes=notes)


def _divided(dataset: Dataset, task: Task, pipeline: Pipeline) -> Dataset:
    """The data in parts to train on, to watch over training, and to test."""
    section, official = pipeline.data, dataset.parts
    test = 0.0 if "test" in official else float(section.test)
    shares = _split.Shares(test, 0.0 if "validation" in official else section.validation)
    rows, columns, notes = _rows(dataset, task, pipeline, shares)
    parts: dict[str, Part] = {name: Rows(official["all"], numbers) for name, numbers in rows.items()}
    parts |= {name: official[name] for name in ("validation", "test") if name in official}
    return replace(dataset, parts=parts, columns=columns, notes=(*dataset.notes, *notes))


def _rows(
    dataset: Dataset, task: Task, pipeline: Pipeline, shares: _split.Shares
) -> tuple[dict[str, ndarray], tuple[Column, ...], tuple[str, ...]]:
    """The rows of each part, the columns (one that names the parts is no input), and notes."""
    part, generator = dataset.parts["all"], np.random.default_rng(pipeline.train.seed)
    found = f"time:{dataset.order}" if dataset.order else "stratified" if task.classifies else "random"
    way, _, name = (pipeline.data.split or found).partition(":")
    if dataset.order and way in {"random", "stratified"}:
        wrong = f"[data] split = {pipeline.data.split!r} would put halves of one window on both sides; leave split out"
        raise UsageError(wrong, place="data.split")
    if way == "random" and not name:
        return _split.random(len(part), shares, generator), dataset.columns, ()
    if way == "stratified" and not name:
        return _stratified(dataset, task, shares, generator)
    if way not in {"column", "time"} or not name:
        raise UsageError(
            f"[data] split = {pipeline.data.split!r} is refused; say random, stratified, column:NAME or time:NAME",
            place="data.split",
        )
    column = _split_column(dataset, name)
    values = column_of(part, name)
    if way == "time":
        if values.dtype == object:
            raise UsageError(f"split by time: column {name!r} has words, no dates or numbers", place="data.split")
        return _split.by_time(values, shares, dataset.ahead), dataset.columns, ()
    hidden = tuple(
        replace(c, kind="ignore", reason="it names the parts") if c is column else c for c in dataset.columns
    )
    rows = _split.by_names(_target.texts(values), name)
    if "validation" not in rows and shares.validation:
        more = _split.random(len(rows["train"]), replace(shares, test=0.0), generator)
        rows |= {inner: rows["train"][chosen] for inner, chosen in more.items()}
    return rows, hidden, ()


def _split_column(dataset: Dataset, name: str) -> Column:
    names = [column.name for column in dataset.columns]
    if name not in names:
        raise UnknownName(f"[data] split: there is no column {name!r}; {nearest(name, names)}", place="data.split")
    return dataset.column(name)


def _stratified(
    dataset: Dataset, task: Task, shares: _split.Shares, generator: np.random.Generator
) -> tuple[dict[str, ndarray], tuple[Column, ...], tuple[str, ...]]:
    if not task.classifies:
        wrong = f"[data] split = 'stratified' needs classes and {task.target!r} has numbers; say random"
        raise UsageError(wrong, place="data.split")
    classes = _target.encode(task, column_of(dataset.parts["all"], task.target))
    single = [task.labels[i] for i in np.flatnonzero(np.bincount(classes) == 1)]
    notes = tuple(f"class {label!r} has 1 row, which is trained on and in no test; add rows of it" for label in single)
    return _split.stratified(classes, shares, generator), dataset.columns, notes
