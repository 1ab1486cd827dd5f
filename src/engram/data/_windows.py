"""Windows over rows that follow each other: which rows each one looks back on, and which one it leads to.

The latest windows of a series lead beyond its end. They are kept, because they are what is to be predicted; training
leaves out what has no target, as it does with any row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy import ndarray

from engram.data import _frame
from engram.data._moments import Run, shown
from engram.errors import DataError

__all__ = ["Cut", "Shape", "columns", "cut", "moments", "named", "sentence", "target"]


@dataclass(frozen=True, slots=True)
class Shape:
    """Rows that a window looks back, rows from its latest to its target, and rows from one window to the next."""

    steps: int
    horizon: int
    stride: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Windows by numbers of rows of the table.

    Attributes:
        back: what each looks at, the latest first, int64 (windows, steps).
        leads: the row of its target, -1 beyond the end, int64 (windows,).
    """

    back: ndarray
    leads: ndarray

    @property
    def latest(self) -> ndarray:
        """The latest row of each, int64 (windows,)."""
        found: ndarray = self.back[:, 0]
        return found


def cut(runs: list[Run], shape: Shape) -> Cut:
    """All windows that lie in one stretch.

    Raises:
        DataError: none fits.
    """
    back, leads = [], []
    for run in runs:
        ends = np.arange(shape.steps - 1, len(run.rows), shape.stride)
        goals = ends + shape.horizon
        inside = goals < len(run.rows)
        ends = ends if run.last else ends[inside]
        goals, inside = goals[: len(ends)], inside[: len(ends)]
        back.append(run.rows[ends[:, None] - np.arange(shape.steps)[None, :]])
        leads.append(np.where(inside, run.rows[np.minimum(goals, len(run.rows) - 1)], -1))
    found = Cut(np.concatenate(back), np.concatenate(leads))
    if not len(found.leads):
        longest = max(len(run.rows) for run in runs)
        raise DataError(
            f"no window of steps = {shape.steps} fits: the longest stretch without a gap has {longest:,} rows; lower"
            " steps, or fill the gaps"
        )
    return found


def named(name: str, step: int) -> str:
    """The column of a window for a column of the table, so many rows before the latest."""
    return f"{name}_t-{step}"


def columns(name: str, values: ndarray, kind: str, found: Cut) -> list[pl.Series]:
    """A column of the table as one for every step of the windows.

    Args:
        name: of the column.
        values: as a part gives them, (rows,).
        kind: of the column.
        found: the windows.
    """
    steps = found.back.shape[1]
    return [_frame.series(named(name, step), values[found.back[:, step]], kind) for step in range(steps)]


def target(name: str, values: ndarray, kind: str, found: Cut) -> pl.Series:
    """The target of every window, null where it lies beyond the end."""
    series = _frame.series(name, values[np.maximum(found.leads, 0)], kind)
    return series.set(pl.Series(found.leads < 0), None)


def moments(seconds: ndarray, found: Cut, ahead: float) -> pl.Series:
    """The moment that every window leads to, where it lies beyond the end by the usual distance [s]."""
    there = found.leads >= 0
    predicted = np.where(there, seconds[np.maximum(found.leads, 0)], seconds[found.latest] + ahead)
    return _frame.series("time", predicted, "date")


def sentence(predicted: pl.Series, shape: Shape) -> str:
    """How many windows there are, and the moments that they lead to."""
    seconds = predicted.dt.timestamp("us") / 1e6
    count = f"{len(predicted):,} windows of {shape.steps} rows, horizon {shape.horizon}"
    return f"{count}, for {shown(seconds[0])} (row 1) to {shown(seconds[-1])} (row {len(predicted):,})"
