"""Numbers are spelled out over bins, so that a network can bend its answer at values that matter.

Each bin becomes a feature that is 0 below it, 1 above it, and rises in between: nothing of the order or the size is
lost, as it would be with one yes or no a bin, and the scaled number stays beside them. On the census this is worth more
than any choice of network: what a tax form has as a threshold is out of a small network's reach otherwise.

Source: Gorishniy et al. 2022, On Embeddings for Numerical Features in Tabular Deep Learning, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy import ndarray

from engram.graphs.build import Builder
from engram.preprocessing._moments import columns

__all__ = ["MAIN", "Fitted", "Options", "fit", "names", "nodes", "transform", "wrong"]

MAIN = "count"


@dataclass(frozen=True, slots=True)
class Options:
    """Options of ``bins``.

    Attributes:
        count: at most so many bins a column; fewer where there are fewer distinct values.
    """

    count: int = 32


@dataclass(frozen=True, slots=True)
class Fitted:
    """Every bin of every column, side by side: which column it is of, where it begins, and how wide it is."""

    width: int
    column: tuple[int, ...]
    start: tuple[float, ...]
    span: tuple[float, ...]


def wrong(options: Options) -> str:
    """What contradicts itself in these options, as the end of a sentence; empty if nothing does."""
    return (
        ""
        if 2 <= options.count <= 1024
        else f"count {options.count} must be from 2 to 1,024; say none to leave bins out"
    )


def fit(values: ndarray, options: Options) -> Fitted:
    """Bins of about equal mass for each column of float64 (rows, columns), NaN for a gap.

    A column of which most rows share a few values gets its bins from its distinct values instead, so that a rare large
    value has a bin of its own; one of fewer than three distinct values gets none, being bins already.
    """
    found: list[tuple[int, float, float]] = []
    for number, present in enumerate(columns(values)):
        edges = _edges(present, options.count)
        found += [(number, low, high - low) for low, high in pairwise(edges)]
    return Fitted(
        values.shape[1], tuple(c for c, _, _ in found), tuple(s for _, s, _ in found), tuple(w for _, _, w in found)
    )


def transform(values: ndarray, fitted: Fitted) -> ndarray:
    """(rows, columns) → (rows, columns + bins); a gap stays a gap."""
    if not fitted.column:
        return values
    spread = values[:, list(fitted.column)]
    with np.errstate(over="ignore"):
        filled = np.clip((spread - np.array(fitted.start)) / np.array(fitted.span), 0.0, 1.0)
    return np.concatenate([values, filled], axis=1)


def nodes(fitted: Fitted, builder: Builder, value: str) -> str:
    """The same as nodes: float64 (batch, columns) → float64 (batch, columns + bins)."""
    if not fitted.column:
        return value
    spread = builder.node("Gather", value, builder.constant(np.array(fitted.column), dtype="int64"), axis=1)
    risen = builder.node("Sub", spread, builder.constant(np.array(fitted.start), dtype="float64"))
    share = builder.node("Div", risen, builder.constant(np.array(fitted.span), dtype="float64"))
    zero, one = builder.constant(np.float64(0)), builder.constant(np.float64(1))
    return builder.node("Concat", value, builder.node("Clip", share, zero, one), axis=1)


def names(fitted: Fitted, names: Sequence[str]) -> list[str]:
    """The columns' names, then one a bin: ``age[3]``."""
    counted: dict[int, int] = {}
    made = list(names)
    for column in fitted.column:
        counted[column] = counted.get(column, 0) + 1
        made.append(f"{names[column]}[{counted[column]}]")
    return made


def _edges(present: ndarray, count: int) -> list[float]:
    """The borders of the bins, rising; empty for a column that has no use for any."""
    distinct = np.unique(present)
    if len(distinct) < 3:
        return []
    shares = np.linspace(0, 1, count + 1)
    edges = np.unique(np.quantile(present, shares))
    if len(edges) < count / 2:
        edges = np.unique(np.quantile(distinct, shares))
    # a span that is only rounding would turn the rise into a jump that another library makes elsewhere
    least = 1e-9 * max(abs(float(distinct[0])), abs(float(distinct[-1])))
    kept = [float(edges[0])]
    for edge in edges[1:].tolist():
        if edge - kept[-1] > least:
            kept.append(edge)
    return kept if len(kept) > 2 and np.isfinite(kept[-1] - kept[0]) else []
