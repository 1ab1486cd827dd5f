"""``explain``: what a kept version goes by, on rows that somebody gives.

The version is asked itself, through its session, some thousand times; the rows are therefore a sample of those given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy import ndarray

from engram.data._target import encode
from engram.errors import UsageError
from engram.evaluation.explanation import Columns, Dependence, Effect, dependence, shapley
from engram.lifecycle.evaluate import Asked, asked
from engram.lifecycle.needed import importance, sampled, tabular
from engram.lifecycle.shown import readable
from engram.lifecycle.whole import write
from engram.records import Importance, Prediction, Progress, Task, Watch
from engram.runtime import onnxruntime
from engram.store.store import Store

__all__ = ["Explained", "explain", "picture"]

_FOLLOWED = 3
_ERRORS = {True: "share of wrong answers", False: "mean absolute error"}


@dataclass(frozen=True, slots=True)
class Explained:
    """What a version goes by.

    Attributes:
        version: its reference.
        rows: that it was asked for, a sample of those given.
        errors: what importances count, in words.
        answer: what effects and dependences are of, in words (``chance of 'yes'``).
        importances: of every column, the most important first.
        dependences: how the mean answer follows the most important columns.
        row: the row whose values were explained, from 1; 0 where none was asked for.
        output: the answer for this row.
        average: the mean answer over the rows that it was compared with.
        effects: of its values, the largest first; they add up to ``output - average``.
    """

    version: str
    rows: int
    errors: str
    answer: str
    importances: tuple[Importance, ...]
    dependences: tuple[Dependence, ...]
    row: int = 0
    output: float = float("nan")
    average: float = float("nan")
    effects: tuple[Effect, ...] = ()


def explain(
    reference: str,
    data: str | Path,
    *,
    store: Store,
    row: int = 0,
    names: tuple[str, ...] = (),
    watch: Watch,
) -> Explained:
    """What a version goes by, for all rows and for one.

    Args:
        reference: of the version.
        data: rows with the target.
        store: where the version is.
        row: number of the row to explain, from 1, among those that have a true value; 0 for none.
        names: of the columns, where the file has no header and the version does not know them.
        watch: told about the progress.

    Raises:
        DataError: the rows cannot be read or lack the target.
        UsageError: the version takes images, or there is no such row.
    """
    found = asked(reference, data, store=store, names=names, watch=watch)
    columns = found.rows.columns
    if not tabular(columns):
        raise UsageError(
            f"{reference} takes images, and explain tells columns apart; give a version that takes columns"
        )
    if not 0 <= row <= len(found.rows):
        raise UsageError(f"{data} has no row {row:,} with a true value; give --row 1 to {len(found.rows):,}")
    watch(Progress("judging"))
    session = onnxruntime.open(found.model, threads=2)
    rows = sampled(len(found.rows))
    few = {name: values[rows] for name, values in columns.items()}
    needed = importance(found.task, encode(found.task, found.truth)[rows], few, session.predict)
    place = _class(found, row)
    output = _output(session.predict, found.task, place)
    chosen = [each.column for each in needed[:_FOLLOWED]]
    followed = dependence(output, few, chosen)
    answer = f"chance of '{found.task.labels[place]}'" if found.task.classifies else found.task.target
    made = Explained(
        found.version.reference, len(rows), _ERRORS[found.task.classifies], answer, needed, followed
    )  # fmt: skip
    return _with_row(made, found, output, few, row) if row else made


def picture(found: Explained, place: Path) -> None:
    """Write the explanation as an SVG picture.

    Raises:
        UsageError: the place does not end in .svg, or cannot be written.
    """
    from engram.evaluation.pictures.explained import explained

    if place.suffix.lower() != ".svg":
        raise UsageError(f"{place} does not end in .svg, and the picture is one; give it this ending")
    content = explained(found.importances, found.effects, found.dependences, errors=found.errors, answer=found.answer)
    write(place, content, "give another place with -o")


def _with_row(made: Explained, found: Asked, output: Callable[[Columns], ndarray], few: Columns, row: int) -> Explained:
    own = {name: values[row - 1 : row] for name, values in found.rows.columns.items()}
    effects = shapley(output, own, few)
    dates = {spec.name for spec in found.model.signature.inputs if spec.kind == "date"}
    shown = readable(lambda _: own, dates)(np.zeros(1, np.int64))
    effects = tuple(replace(e, value=str(shown[e.column][0])) if e.column in dates else e for e in effects)
    value = float(output(own)[0])
    return replace(made, row=row, output=value, average=value - sum(each.effect for each in effects), effects=effects)


def _class(found: Asked, row: int) -> int:
    """The class whose chance is explained: the answer to the row, else the second of two, or the most frequent."""
    labels = found.prediction.labels
    if labels is None:
        return 0
    order = found.task.labels
    if row:
        return order.index(str(labels[row - 1]))
    return 1 if len(order) == 2 else max(range(len(order)), key=lambda i: int((labels == order[i]).sum()))


def _output(predict: Callable[[Columns], Prediction], task: Task, place: int) -> Callable[[Columns], ndarray]:
    def ask(columns: Columns) -> ndarray:
        said = predict(columns)
        if said.probabilities is not None:
            return said.probabilities[:, said.classes.index(task.labels[place])]
        assert said.values is not None
        return said.values.reshape(len(said))

    return ask
