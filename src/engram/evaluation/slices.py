"""The score of parts of the rows, because a good average can hide a group that is served badly.

Parts of fewer than 30 rows are left out: their score says more about chance than about the model.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy import ndarray

from engram.errors import UnknownName
from engram.evaluation.answers import Answers
from engram.evaluation.intervals import intervals
from engram.plugins import nearest

__all__ = ["SMALLEST", "Slice", "coded", "judged", "slices"]

SMALLEST = 30
_MOST = 12
_GAP = "(missing)"


@dataclass(frozen=True, slots=True)
class Slice:
    """The rows in which a column has one value."""

    column: str
    value: str
    rows: ndarray

    @property
    def name(self) -> str:
        """The key of a report: ``COLUMN=VALUE``."""
        return f"{self.column}={self.value}"


def slices(columns: Mapping[str, ndarray], chosen: Sequence[str] = ()) -> tuple[Slice, ...]:
    """The parts to be judged one by one.

    Args:
        columns: column → values, (rows,): text with ``""`` for a gap, or float64 with NaN for a gap.
        chosen: columns to divide by; a column of more than twelve numbers is cut at its quartiles. Empty means found:
            columns of text with 2 to 12 values, and columns of nothing but 0 and 1.

    Raises:
        UnknownName: a chosen column is not there.
    """
    for name in chosen:
        if name not in columns:
            raise UnknownName(f"slices names column {name!r}, which does not exist; {nearest(name, columns)}")
    made: list[Slice] = []
    for name in chosen or columns:
        values = np.asarray(columns[name])
        if values.ndim == 1 and (chosen or _divides(values)):
            made += _parts(name, values)
    return tuple(part for part in made if len(part.rows) >= SMALLEST)


def judged(
    parts: Sequence[Slice], answers: Answers, metrics: Mapping[str, ModuleType], *, samples: int, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Slice → ``rows``, and for each metric its score and the bounds ``METRIC.low`` and ``METRIC.high``."""
    result: dict[str, dict[str, float]] = {}
    for part in parts:
        own = answers.take(part.rows)
        scores: dict[str, float] = {"rows": float(len(own))}
        bounds = intervals(list(metrics.values()), own, samples=samples, seed=seed)
        for (name, metric), (low, high) in zip(metrics.items(), bounds, strict=True):
            value = float(metric.score(own.truth, own.wanted(metric.NEEDS)))
            scores |= {name: value, f"{name}.low": low, f"{name}.high": high}
        result[part.name] = scores
    return result


def coded(values: ndarray) -> tuple[ndarray, tuple[str, ...]]:
    """The value of each row as the number of a label, int64 (rows,), −1 for none of them, and the labels.

    Numbers of more than twelve values are cut at their quartiles; of more than twelve texts, the most frequent have
    labels. What is neither numbers nor text has none.
    """
    array = np.asarray(values)
    textual = array.dtype.kind in "OUT" and array.ndim == 1 and all(isinstance(v, str) for v in array)
    if array.ndim != 1 or not (textual or array.dtype.kind in "fiub"):
        return np.full(len(array), -1, np.int64), ()
    names, place, counts = np.unique(_texts(array).astype(str), return_inverse=True, return_counts=True)
    kept = np.sort(np.argsort(-counts, kind="stable")[:_MOST])
    number = np.full(len(names), -1, np.int64)
    number[kept] = np.arange(len(kept))
    return number[place], tuple(str(names[i]) or _GAP for i in kept)


def _divides(values: ndarray) -> bool:
    if values.dtype.kind in "fiub":
        return set(np.unique(values[~np.isnan(values.astype(np.float64))])) == {0.0, 1.0}
    return values.dtype.kind in "OUT" and all(isinstance(v, str) for v in values) and 2 <= len(set(values)) <= _MOST


def _parts(name: str, values: ndarray) -> list[Slice]:
    texts = _texts(values)
    order = dict.fromkeys(texts[np.argsort(values, kind="stable")] if values.dtype.kind in "fiub" else sorted(texts))
    common = sorted(order, key=lambda text: -np.count_nonzero(texts == text))[:_MOST]
    return [Slice(name, text or _GAP, np.flatnonzero(texts == text)) for text in order if text in common]


def _texts(values: ndarray) -> ndarray:
    """The value of each row in words, an object array (rows,), ``""`` for a gap."""
    if values.dtype.kind not in "fiub":
        return np.array([str(v) for v in values], dtype=object)
    numbers = values.astype(np.float64)
    present = numbers[~np.isnan(numbers)]
    distinct = np.unique(present)
    if set(distinct) <= {0.0, 1.0}:
        words = {0.0: "false", 1.0: "true"}
        return np.array([words.get(v, "") for v in numbers], dtype=object)
    if len(distinct) <= _MOST:
        return np.array(["" if np.isnan(v) else f"{v:g}" for v in numbers], dtype=object)
    edges = np.quantile(present, [0, 0.25, 0.5, 0.75, 1])
    names = [f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}" for low, high in itertools.pairwise(edges)]
    place = np.searchsorted(edges[1:-1], numbers, side="left")
    return np.array(["" if np.isnan(v) else names[p] for v, p in zip(numbers, place, strict=True)], dtype=object)
