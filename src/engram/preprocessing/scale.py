"""Numbers are brought to a common size, which is what gradient descent needs of them.

Every method is one subtraction and one division, so that a reader of the graph sees the two learned rows; ``log`` has
the logarithm in front. All of it is in float64: a year in seconds loses its days in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy import ndarray

from engram.graphs.build import Builder
from engram.preprocessing._moments import columns, mean, quantile, standard_deviation

__all__ = ["MAIN", "Fitted", "Options", "fit", "names", "nodes", "signed_log", "transform"]

MAIN = "method"
# A standard deviation below this share of the largest value is rounding: sums in float64 err by about 1e-15, and the
# last digit of a logarithm differs between libraries.
_NOISE = {"standard": 1e-13, "log": 1e-10}


@dataclass(frozen=True, slots=True)
class Options:
    """Options of ``scale``.

    Attributes:
        method: ``standard`` (mean 0, standard deviation 1), ``minmax`` (from 0 to 1), ``robust`` (median 0, distance of
            the quartiles 1), ``log`` (the logarithm of one more than the size, with the sign, then standard) or
            ``none``.
    """

    method: Literal["standard", "minmax", "robust", "log", "none"] = "standard"


@dataclass(frozen=True, slots=True)
class Fitted:
    """What is taken off each column and what it is then divided by."""

    method: str
    offset: tuple[float, ...]
    spread: tuple[float, ...]


def fit(values: ndarray, options: Options) -> Fitted:
    """Offset and spread of each column of float64 (rows, columns), NaN for a gap.

    A column that does not vary gets the spread 1, so that it becomes 0 and stays finite.
    """
    present = columns(signed_log(values) if options.method == "log" else values)
    learned = [_offset_and_spread(column, options.method) for column in present]
    return Fitted(options.method, tuple(offset for offset, _ in learned), tuple(spread for _, spread in learned))


def transform(values: ndarray, fitted: Fitted) -> ndarray:
    """(rows, columns) scaled; gaps stay gaps. A value of absurd size may become infinite, never NaN."""
    if fitted.method == "none":
        return values
    sized = signed_log(values) if fitted.method == "log" else values
    with np.errstate(over="ignore"):
        scaled: ndarray = (sized - np.array(fitted.offset)) / np.array(fitted.spread)
    return scaled


def nodes(fitted: Fitted, builder: Builder, value: str) -> str:
    """The same as nodes: float64 (batch, columns) → float64 (batch, columns)."""
    if fitted.method == "none":
        return value
    if fitted.method == "log":
        size = builder.node("Log", builder.node("Add", builder.node("Abs", value), builder.constant(np.float64(1))))
        value = builder.node("Mul", builder.node("Sign", value), size)
    offset = builder.constant(np.array(fitted.offset), dtype="float64")
    return builder.node(
        "Div", builder.node("Sub", value, offset), builder.constant(np.array(fitted.spread), dtype="float64")
    )


def names(fitted: Fitted, names: Sequence[str]) -> list[str]:  # noqa: ARG001 - the contract of the shelf
    """The columns' names, unchanged."""
    return list(names)


def signed_log(values: ndarray) -> ndarray:
    """sign(x) · log(1 + |x|): tames long tails on both sides and keeps 0 where it is.

    Not ``log1p``: ONNX has no such operator, and what is fitted must be what is served.
    """
    logarithm: ndarray = np.sign(values) * np.log(1 + np.abs(values))
    return logarithm


def _offset_and_spread(present: ndarray, method: str) -> tuple[float, float]:
    if not len(present) or method == "none":
        return 0.0, 1.0
    if method == "minmax":
        low, high = float(present.min()), float(present.max())
        return low, _usable(high - low, 0.0)
    if method == "robust":
        return quantile(present, 0.5), _usable(quantile(present, 0.75) - quantile(present, 0.25), 0.0)
    noise = _NOISE[method] * float(np.abs(present).max())
    return mean(present), _usable(standard_deviation(present), noise)


def _usable(spread: float, noise: float) -> float:
    """The spread, or 1 where it is nothing but rounding."""
    return min(spread, float(np.finfo(np.float64).max)) if spread > noise else 1.0
