"""``predict``: rows of any kind in, answers out.

This is what stands behind ``model.predict`` too: whoever opens a model hands it an ``Answer``, which opens a session
once and keeps it.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any, TextIO

from engram.data._rows import open_rows
from engram.errors import UsageError
from engram.lifecycle.whole import whole
from engram.pipelines.parse import parse
from engram.records import Model, Pipeline, Prediction, Progress, Watch
from engram.runtime import onnxruntime
from engram.runtime._rows import decode
from engram.store.store import Store

__all__ = ["Answer", "answering", "described_by", "predict_file", "reading"]

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
            rows = open_rows(rows, model.signature.inputs).columns
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


def predict_file(
    model: Model, data: str | Path, out: str | Path | None, *, watch: Watch, described: Pipeline | None = None
) -> int:
    """Write what the model answers for every row of a file to a CSV file.

    Args:
        model: with raw columns.
        data: CSV, a folder or zip of images, or whatever the data shelf reads.
        out: the CSV to write; it is there whole or not at all.
        watch: told about the rows done.
        described: the pipeline that the model was trained by, which knows how the files are written.

    Returns:
        Rows written.

    Raises:
        DataError: the file cannot be read.
        ShapeError: a column that the model needs is missing.
    """
    if not model.preprocessing:
        raise UsageError("this model takes tensors and not rows; call model.predict with an array in Python")
    rows = open_rows(data, model.signature.inputs, **reading(described))
    session = onnxruntime.open(model, threads=2)

    def answers() -> Iterator[Prediction]:
        for start in range(0, len(rows), _CHUNK):
            watch(Progress("predicting", start, len(rows)))
            yield session.predict({name: values[start : start + _CHUNK] for name, values in rows.columns.items()})

    with whole(Path(out), "choose another place with -o") if out is not None else nullcontext(sys.stdout) as file:
        _write(file, answers())
    return len(rows)


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
    return {"names": section.names, "options": section.options, "target": section.target}


def _write(file: TextIO, answers: Iterator[Prediction]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    number = 0
    for answer in answers:
        if number == 0:
            writer.writerow(["row", *_header(answer)])
        for row in _lines(answer):
            number += 1
            writer.writerow([number, *row])


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
