"""``predict``: rows of any kind in, answers out.

This is what stands behind ``model.predict`` too: whoever opens a model hands it an ``Answer``, which opens a session
once and keeps it.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any, TextIO

from engram.data._rows import Opened, open_rows
from engram.errors import UsageError
from engram.pipelines.parse import parse
from engram.records import Model, Pipeline, Prediction, Progress, Watch
from engram.runtime import onnxruntime
from engram.runtime._rows import decode
from engram.store.store import Store

__all__ = ["Answer", "answering", "described_by", "predict_file", "predicted", "reading", "table_writer"]

_CHUNK = 4096


class Answer:
    """The runtime behind ``model.predict``; it opens a session at the first question and keeps the latest few."""

    def __init__(self, threads: int = 1, most: int = 4) -> None:
        self._threads, self._most = threads, most
        self._lock = Lock()
        self._open: list[tuple[Model, onnxruntime.Session]] = []

    def __call__(self, model: Model, rows: Any) -> Prediction:  # noqa: ANN401 - tables of several libraries are welcome
        """See ``Model.predict``."""
        if isinstance(rows, (str, Path)):
            return self._session(model).predict(_from_file(model, rows).columns)
        return self._session(model).predict(decode(rows, model.signature.inputs))

    def _session(self, model: Model) -> onnxruntime.Session:
        with self._lock:
            for known, session in self._open:
                if known is model:
                    return session
            made = onnxruntime.open(model, self._threads)
            self._open = [(model, made), *self._open[: self._most - 1]]
            return made


def answering(model: Model, threads: int = 1) -> Model:
    """The model with a runtime of its own to answer with."""
    return replace(model, answer=Answer(threads))


def predicted(reference: str, rows: Any, *, store: Store) -> Prediction:  # noqa: ANN401 - as ``Model.predict``
    """What a kept version answers; a file is read as the training data were, with the same names and separator.

    Raises:
        VersionNotFound: no such version.
        DataError: the file cannot be read.
        ShapeError: a column is missing or a value is of the wrong type.
    """
    model = store.load(reference)
    if isinstance(rows, (str, Path)):
        rows = dict(_from_file(model, rows, described_by(store, reference)).columns)
    return model.predict(rows)


def predict_file(
    model: Model,
    data: str | Path,
    write: Callable[[int, Prediction], None],
    *,
    watch: Watch,
    described: Pipeline | None = None,
) -> int:
    """Hand over what the model answers for every row of a file, a few thousand rows at a time.

    Args:
        model: with raw columns.
        data: CSV, a folder or zip of images, or whatever the data shelf reads.
        write: called with the number of the first row, from 1, and the answers from there on.
        watch: told about the rows done, and about rows that were left out.
        described: the pipeline that the model was trained by, which knows how the files are written.

    Returns:
        Rows answered.

    Raises:
        DataError: the file cannot be read.
        ShapeError: a column that the model needs is missing.
    """
    rows = _from_file(model, data, described)
    for sentence in rows.notes:
        watch(Progress("noticed", note=sentence))
    session = onnxruntime.open(model, threads=2)
    for start in range(0, len(rows), _CHUNK):
        watch(Progress("predicting", start, len(rows)))
        columns = {name: values[start : start + _CHUNK] for name, values in rows.columns.items()}
        write(start + 1, session.predict(columns))
    return len(rows)


def table_writer(file: TextIO) -> Callable[[int, Prediction], None]:
    """Writes answers as CSV: the number of the row, then the label and every chance, or the value."""
    writer = csv.writer(file, lineterminator="\n")

    def write(first: int, answer: Prediction) -> None:
        if first == 1:
            writer.writerow(["row", *_header(answer)])
        for number, row in enumerate(_lines(answer), start=first):
            writer.writerow([number, *row])

    return write


def described_by(store: Store, reference: str, names: tuple[str, ...] = ()) -> Pipeline | None:
    """The pipeline that a version was trained by, everything found made explicit; None for an imported file.

    Args:
        store: where the version is.
        reference: of the version.
        names: of the columns, when the user says them anew.
    """
    if "lock" not in store.version(reference).holds:
        return None
    described = parse(store.text(reference, "lock"))
    return replace(described, data=replace(described.data, names=names)) if names else described


def reading(described: Pipeline | None) -> dict[str, Any]:
    """How a file is to be read: as the training data were."""
    if described is None:
        return {}
    section = described.data
    return {"names": section.names, "options": section.options, "kind": section.kind, "target": section.target}


def _from_file(model: Model, data: str | Path, described: Pipeline | None = None) -> Opened:
    if not model.preprocessing:
        raise UsageError("this model takes tensors and not rows; call model.predict with an array in Python")
    return open_rows(data, model.signature.inputs, whole=True, **reading(described))


def _header(answer: Prediction) -> list[str]:
    if answer.labels is not None:
        return ["label", *(f"probability {label}" for label in answer.classes)]
    return ["value"]


def _lines(answer: Prediction) -> Iterator[list[object]]:
    if answer.labels is not None and answer.probabilities is not None:
        for label, chances in zip(answer.labels, answer.probabilities, strict=True):
            yield [label, *(f"{chance:.6g}" for chance in chances.tolist())]
    elif answer.values is not None:
        for value in answer.values.tolist():
            yield [f"{value:.7g}"]
