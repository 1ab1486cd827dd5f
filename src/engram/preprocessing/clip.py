"""Outliers are pulled in to bounds, so that one absurd value cannot decide a scale or an answer.

It comes before imputing and leaves gaps alone: the bounds are those of values that were really there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from engram.graphs.build import Builder
from engram.preprocessing._moments import columns, quantile

__all__ = ["MAIN", "Fitted", "Options", "fit", "names", "nodes", "transform", "wrong"]

MAIN = "bounds"


@dataclass(frozen=True, slots=True)
class Options:
    """Options of ``clip``.

    Attributes:
        bounds: lowest and highest value, in the column's unit; found from the quantiles when left out.
        quantiles: shares of the training rows below the lowest and below the highest value, each from 0 to 1.
    """

    bounds: tuple[float, float] | None = None
    quantiles: tuple[float, float] = (0.001, 0.999)


@dataclass(frozen=True, slots=True)
class Fitted:
    """The lowest and the highest value of each column."""

    lowest: tuple[float, ...]
    highest: tuple[float, ...]


def wrong(options: Options) -> str:
    """What contradicts itself in these options, as the end of a sentence; empty if nothing does."""
    if options.bounds is not None and options.bounds[0] > options.bounds[1]:
        return f"bounds {list(options.bounds)} run from high to low; write the lower one first"
    low, high = options.quantiles
    return "" if 0 <= low <= high <= 1 else f"quantiles {[low, high]} must rise within 0 to 1"


def fit(values: ndarray, options: Options) -> Fitted:
    """The bounds of each column of float64 (rows, columns), NaN for a gap."""
    present = columns(values)
    if options.bounds is not None:
        return Fitted((options.bounds[0],) * len(present), (options.bounds[1],) * len(present))
    low, high = options.quantiles
    return Fitted(tuple(quantile(c, low) for c in present), tuple(quantile(c, high) for c in present))


def transform(values: ndarray, fitted: Fitted) -> ndarray:
    """(rows, columns) inside the bounds; gaps stay gaps."""
    clipped: ndarray = np.minimum(np.maximum(values, np.array(fitted.lowest)), np.array(fitted.highest))
    return clipped


def nodes(fitted: Fitted, builder: Builder, value: str) -> str:
    """The same as nodes: float64 (batch, columns) → float64 (batch, columns)."""
    raised = builder.node("Max", value, builder.constant(np.array(fitted.lowest), dtype="float64"))
    return builder.node("Min", raised, builder.constant(np.array(fitted.highest), dtype="float64"))


def names(fitted: Fitted, names: Sequence[str]) -> list[str]:  # noqa: ARG001 - the contract of the shelf
    """The columns' names, unchanged."""
    return list(names)
