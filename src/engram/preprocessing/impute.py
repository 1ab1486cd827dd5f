"""Gaps are filled with a value learned from the rows that have one.

Every number column gets this step, also one without a gap in training: a gap that is served must not turn into a NaN.
The indicator is a column of its own that is 1 where there was a gap, because that a value is missing often says more
than any value put in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy import ndarray

from engram.graphs.build import Builder, element_type
from engram.preprocessing._moments import columns, mean, quantile

__all__ = ["MAIN", "Fitted", "Options", "fit", "names", "nodes", "transform"]

MAIN = "strategy"


@dataclass(frozen=True, slots=True)
class Options:
    """Options of ``impute``.

    Attributes:
        strategy: what a gap is filled with: ``mean``, ``median`` or ``most_frequent`` of the column (the smallest where
            several are), or a ``constant``.
        value: the constant.
        indicator: whether a column is added that is 1 where there was a gap and 0 elsewhere.
    """

    strategy: Literal["mean", "median", "most_frequent", "constant"] = "median"
    value: float = 0.0
    indicator: bool = False


@dataclass(frozen=True, slots=True)
class Fitted:
    """What fills the gaps of each column, and whether indicators are added."""

    values: tuple[float, ...]
    indicator: bool = False


def fit(values: ndarray, options: Options) -> Fitted:
    """What fills the gaps: float64 (rows, columns), NaN for a gap. A column of nothing but gaps is filled with 0."""
    return Fitted(tuple(_filler(column, options) for column in columns(values)), options.indicator)


def transform(values: ndarray, fitted: Fitted) -> ndarray:
    """(rows, columns) without gaps, followed by as many indicators where they are wanted."""
    gaps = np.isnan(values)
    filled = np.where(gaps, np.array(fitted.values), values)
    return np.concatenate([filled, gaps.astype(np.float64)], axis=1) if fitted.indicator else filled


def nodes(fitted: Fitted, builder: Builder, value: str) -> str:
    """The same as nodes: float64 (batch, columns) → float64 (batch, columns or twice as many)."""
    gaps = builder.node("IsNaN", value)
    filled = builder.node("Where", gaps, builder.constant(np.array(fitted.values), dtype="float64"), value)
    if not fitted.indicator:
        return filled
    return builder.node("Concat", filled, builder.node("Cast", gaps, to=element_type("float64")), axis=1)


def names(fitted: Fitted, names: Sequence[str]) -> list[str]:
    """The columns' names, then those of the indicators."""
    return [*names, *(f"{name} missing" for name in names)] if fitted.indicator else list(names)


def _filler(present: ndarray, options: Options) -> float:
    if options.strategy == "constant":
        return options.value
    if options.strategy == "mean":
        return mean(present)
    if options.strategy == "median":
        return quantile(present, 0.5)
    found, counts = np.unique(present, return_counts=True)
    return float(found[np.argmax(counts)]) if len(found) else 0.0
