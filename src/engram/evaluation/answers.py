"""Truth and prediction side by side, in the forms that metrics ask for.

A prediction may list its classes in another order than the task, or hold labels and no probabilities; both are
settled here once, so that nothing behind this line looks at a ``Prediction`` again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from engram.errors import DataError, ShapeError
from engram.records import Prediction, Task

__all__ = ["Answers", "answers"]

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Answers:
    """The truth, and what was answered.

    Attributes:
        truth: class index, int64 (rows,), or the number, float64 (rows,).
        labels: class index answered, int64 (rows,); None for regression.
        probabilities: float (rows, classes); None for regression and where the model gives none.
        values: number answered, float64 (rows,); None for classification.
    """

    truth: ndarray
    labels: ndarray | None = None
    probabilities: ndarray | None = None
    values: ndarray | None = None

    def __len__(self) -> int:
        return len(self.truth)

    def wanted(self, needs: str) -> ndarray | None:
        """The array that a metric with these ``NEEDS`` is given; None if the model does not answer so."""
        return {"labels": self.labels, "probabilities": self.probabilities, "values": self.values}[needs]

    def errors(self) -> ndarray:
        """1 for each wrong answer and 0 for each right one, or how far each number is off, float64 (rows,)."""
        if self.labels is not None:
            return np.asarray(self.labels != self.truth, dtype=np.float64)
        assert self.values is not None
        return np.asarray(np.abs(self.values - self.truth), dtype=np.float64)

    def take(self, rows: ndarray) -> Answers:
        """The answers for these rows only, int64 (rows,)."""
        return Answers(self.truth[rows], *(_rows(a, rows) for a in (self.labels, self.probabilities, self.values)))


def answers(task: Task, truth: ndarray, prediction: Prediction) -> Answers:
    """Check truth and prediction against the task and put them side by side.

    Args:
        task: says what the classes are.
        truth: class index (rows,), or numbers (rows,).
        prediction: of the same rows in the same order.

    Raises:
        DataError: there is no row, or the truth has gaps or classes that the task does not have.
        ShapeError: the prediction has another number of rows or other classes.
    """
    if truth.ndim != 1 or len(truth) == 0:
        raise DataError(f"the truth has shape {truth.shape}; a model is judged on one or more rows of shape (rows,)")
    return _classified(task, truth, prediction) if task.classifies else _valued(task, truth, prediction)


def _valued(task: Task, truth: ndarray, prediction: Prediction) -> Answers:
    if prediction.values is None or prediction.values.size != len(truth):
        shape = "no values" if prediction.values is None else f"values of shape {prediction.values.shape}"
        raise ShapeError(f"the prediction of {task.target!r} has {shape} for {len(truth):,} rows; one a row is needed")
    numbers = truth.astype(np.float64)
    _refuse(~np.isfinite(numbers), f"column {task.target!r} has no finite number", "leave these rows out")
    return Answers(numbers, values=prediction.values.reshape(len(truth)).astype(np.float64))


def _classified(task: Task, truth: ndarray, prediction: Prediction) -> Answers:
    classes = len(task.labels)
    if truth.dtype.kind not in "iub":
        raise ShapeError(f"the truth has dtype {truth.dtype}; class numbers (int64) are needed, as the task lists them")
    outside = (truth < 0) | (truth >= classes)
    _refuse(outside, f"column {task.target!r} has a class that is none of the {classes}", "leave these rows out")
    chances = _chances(task, prediction)
    labels = chances.argmax(axis=1) if prediction.labels is None and chances is not None else _indexed(task, prediction)
    for name, array in (("labels", labels), ("probabilities", chances)):
        if array is not None and len(array) != len(truth):
            raise ShapeError(f"the prediction has {len(array):,} {name} for {len(truth):,} rows; one a row is needed")
    return Answers(truth.astype(np.int64), labels=labels, probabilities=chances)


def _chances(task: Task, prediction: Prediction) -> ndarray | None:
    chances = prediction.probabilities
    if chances is None:
        return None
    order = prediction.classes or task.labels
    if sorted(order) != sorted(task.labels) or chances.ndim != 2 or chances.shape[1] != len(order):
        raise ShapeError(
            f"the prediction has classes {_some(order)} in an array of shape {chances.shape}, but the task has "
            f"{_some(task.labels)}; judge it on data with its own classes"
        )
    return chances if order == task.labels else chances[:, [order.index(label) for label in task.labels]]


def _indexed(task: Task, prediction: Prediction) -> ndarray:
    if prediction.labels is None:
        raise ShapeError(f"the prediction of {task.target!r} has neither labels nor probabilities; one is needed")
    number = {label: i for i, label in enumerate(task.labels)}
    unknown = sorted({str(label) for label in prediction.labels} - set(number))
    if unknown:
        raise ShapeError(
            f"the prediction answers {_some(unknown)}, which the task does not have; it has {_some(number)}"
        )
    return np.fromiter((number[str(label)] for label in prediction.labels), np.int64, len(prediction.labels))


def _refuse(wrong: ndarray, what: str, remedy: str) -> None:
    rows = np.flatnonzero(wrong)
    if len(rows):
        raise DataError(f"{what} in {len(rows):,} rows (rows {_some(map(str, rows[:_SHOWN] + 1))}); {remedy}")


def _some(names: Sequence[str] | dict[str, int] | map[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_SHOWN]) + (", …" if len(listed) > _SHOWN else "")


def _rows(array: ndarray | None, rows: ndarray) -> ndarray | None:
    return None if array is None else array[rows]
