"""Which columns a model needs, for its report and for ``explain``: asked of a sample of the rows, which is enough.

Five hundred rows bound the time (fourteen columns ask for 35,000 answers) and leave intervals of a few percent.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy import ndarray

from engram.errors import DataError, ShapeError
from engram.evaluation.answers import Answers, answers
from engram.evaluation.explanation import Columns, importances
from engram.evaluation.robustness import robustness
from engram.records import Curve, Importance, Prediction, Task

__all__ = ["importance", "robust", "sampled", "tabular"]

_ROWS = 500


def importance(
    task: Task, truth: ndarray, columns: Columns, predict: Callable[[Columns], Prediction]
) -> tuple[Importance, ...]:
    """How much worse a model answers these rows without each column; nothing for images.

    Args:
        task: what was learned.
        truth: of the rows, as ``answers`` takes it.
        columns: what the model takes in, raw.
        predict: the model.
    """

    def ask(changed: Columns) -> Answers:
        return answers(task, truth, predict(changed))

    return importances(ask, columns) if tabular(columns) else ()


def robust(task: Task, truth: ndarray, columns: Columns, predict: Callable[[Columns], Prediction]) -> tuple[Curve, ...]:
    """How a model's error grows while these rows get worse; a model that refuses such rows has no curve."""

    def ask(changed: Columns) -> Answers:
        return answers(task, truth, predict(changed))

    try:
        return robustness(ask, columns)
    except (DataError, ShapeError):
        return ()


def tabular(columns: Columns) -> bool:
    """Whether every column has one value a row, and values of several kinds can change places."""
    return all(
        values.ndim == 1 and not (len(values) and isinstance(values[0], np.ndarray)) for values in columns.values()
    )


def sampled(rows: int) -> ndarray:
    """Numbers of the rows that are asked for, in their order, int64 (at most 500,)."""
    if rows <= _ROWS:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).choice(rows, _ROWS, replace=False))
