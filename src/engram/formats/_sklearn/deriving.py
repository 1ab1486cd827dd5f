"""Columns made of columns: which were missing, products, bins, and numbers bent into another shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, combinations, combinations_with_replacement

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError, FormatError
from engram.formats._pickle import Reference
from engram.formats._sklearn.columns import Columns
from engram.formats._sklearn.estimator import Estimator
from engram.graphs.build import Builder, element_type

__all__ = ["FUNCTIONS", "bent", "best", "binned", "called", "missing", "multiplied"]

_DOUBLE = element_type("float64")
_MOST = 100_000
_NEARLY = float(np.finfo(np.float64).eps)


def missing(builder: Builder, estimator: Estimator, columns: Columns) -> Columns:
    """Which of the columns are missing, for those that had gaps in training or for all."""
    places = estimator.array("features_", 1).astype(np.int64)
    if len(places) and not 0 <= places.min() <= places.max() < columns.count:
        raise FormatError(f"{estimator} looks at columns that it was not fitted on")
    gap = estimator.get("missing_values", np.nan)
    numeric = isinstance(gap, float) and bool(np.isnan(gap))
    made, axis = [], builder.constant([1], dtype="int64")
    for place in places.tolist():
        column = columns.column(builder, place)
        if columns.text(place):
            found = builder.node("Equal", column, builder.constant([""]))
        elif numeric:
            found = builder.node("IsNaN", builder.node("Cast", column, to=_DOUBLE))
        else:
            found = builder.node("Equal", column, builder.constant(np.float64(estimator.number("missing_values"))))
        made.append(builder.node("Unsqueeze", builder.node("Cast", found, to=_DOUBLE), axis))
    if not made:
        raise ConversionError(f"{estimator} saw no gaps and makes no columns")
    return Columns(len(made), whole=made[0] if len(made) == 1 else builder.node("Concat", *made, axis=1))


def multiplied(builder: Builder, estimator: Estimator, columns: Columns) -> Columns:
    """Products of columns up to a degree."""
    terms = list(_terms(estimator, columns.count))
    value = columns.numbers(builder, estimator)
    first = builder.node("Gather", value, builder.constant([0], dtype="int64"), axis=1)
    ones = builder.node("Cast", builder.node("Equal", first, first), to=_DOUBLE)
    value = builder.node("Concat", value, ones, axis=1)
    made = ""
    for power in range(max((len(term) for term in terms), default=1) or 1):
        places = [term[power] if power < len(term) else columns.count for term in terms]
        factor = builder.node("Gather", value, builder.constant(places, dtype="int64"), axis=1)
        made = builder.node("Mul", made, factor) if made else factor
    return Columns(len(terms), whole=made)


def _terms(estimator: Estimator, count: int) -> Iterator[tuple[int, ...]]:
    """The columns of each product, in the order of scikit-learn."""
    degree = estimator.get("degree", 2)
    low, high = degree if isinstance(degree, (tuple, list)) and len(degree) == 2 else (1, degree)
    if not isinstance(low, int) or not isinstance(high, int) or not 0 <= low <= high <= 10:
        raise ConversionError(f"{estimator} has the degree {str(degree)[:40]}, but only up to 10 is read")
    choose = combinations if estimator.get("interaction_only") else combinations_with_replacement
    start = [()] if estimator.get("include_bias", default=True) else []
    terms = chain(start, *(choose(range(count), power) for power in range(max(1, low), high + 1)))
    for number, term in enumerate(terms):
        if number > _MOST:
            raise ConversionError(f"{estimator} makes more than the {_MOST:,} columns that are read")
        yield term


def binned(builder: Builder, estimator: Estimator, columns: Columns) -> Columns:
    """The number of the bin that a value falls into, or a yes or no a bin."""
    found = estimator.get("bin_edges_")
    edges = [np.asarray(one, np.float64) for one in found] if isinstance(found, ndarray) else []
    if len(edges) != columns.count or any(one.ndim != 1 or len(one) < 2 for one in edges):
        raise FormatError(f"{estimator} has no bin_edges_ for {columns.count} columns")
    table = np.full((1, len(edges), max(max(len(one) for one in edges) - 2, 1)), np.inf)
    for place, one in enumerate(edges):
        table[0, place, : len(one) - 2] = one[1:-1]
    axis = builder.constant([2], dtype="int64")
    value = builder.node("Unsqueeze", columns.numbers(builder, estimator), axis)
    above = builder.node("Cast", builder.node("GreaterOrEqual", value, builder.constant(table)), to=_DOUBLE)
    numbers = builder.node("ReduceSum", above, axis, keepdims=0)
    if estimator.demand("encode", ("onehot", "onehot-dense", "ordinal")) == "ordinal":
        return Columns(columns.count, whole=numbers)
    pairs = [(place, number) for place, one in enumerate(edges) for number in range(len(one) - 1)]
    places = builder.constant([place for place, _ in pairs], dtype="int64")
    wanted = builder.constant(np.array([float(number) for _, number in pairs]))
    same = builder.node("Equal", builder.node("Gather", numbers, places, axis=1), wanted)
    return Columns(len(pairs), whole=builder.node("Cast", same, to=_DOUBLE))


def bent(builder: Builder, estimator: Estimator, columns: Columns) -> Columns:
    """Numbers raised to a power that was learned for each column, so that they are spread more evenly.

    Source: Yeo and Johnson 2000, A new family of power transformations; Box and Cox 1964.
    """
    powers = estimator.array("lambdas_", 1).astype(np.float64)
    if len(powers) != columns.count:
        raise FormatError(f"{estimator} has {len(powers)} lambdas_ for {columns.count} columns")
    value = columns.numbers(builder, estimator)
    if estimator.demand("method", ("yeo-johnson", "box-cox")) == "box-cox":
        return Columns(columns.count, whole=_raised(builder, value, powers))
    zero, one = builder.constant(np.float64(0)), builder.constant(np.float64(1))
    negative = builder.node("Less", value, zero)
    size = builder.node("Add", builder.node("Abs", value), one)
    above = _raised(builder, size, powers)
    below = builder.node("Neg", _raised(builder, size, 2 - powers))
    return Columns(columns.count, whole=builder.node("Where", negative, below, above))


def _raised(builder: Builder, value: str, powers: ndarray) -> str:
    """(value**power - 1) / power, which is the logarithm where the power is 0."""
    none = np.abs(powers) < _NEARLY
    safe = np.where(none, 1.0, powers)
    raised = builder.node("Pow", value, builder.constant(safe))
    moved = builder.node("Sub", raised, builder.constant(np.float64(1)))
    found = builder.node("Div", moved, builder.constant(safe))
    if not none.any():
        return found
    return builder.node("Where", builder.constant(none), builder.node("Log", value), found)


def best(builder: Builder, estimator: Estimator, columns: Columns) -> Columns:
    """The columns of the best scores."""
    wanted = estimator.get("k", 10)
    if wanted == "all":
        return columns
    scores = estimator.array("scores_", 1).astype(np.float64)
    count = int(estimator.number("k", 10))
    if len(scores) != columns.count or not count > 0:
        raise FormatError(f"{estimator} has {len(scores)} scores_ for {columns.count} columns")
    order = np.argsort(np.where(np.isnan(scores), np.finfo(np.float64).min, scores), kind="mergesort")
    return columns.chosen(builder, sorted(order[-count:].tolist()))


def called(builder: Builder, estimator: Estimator, columns: Columns) -> Columns:
    """What a function of numpy makes of the numbers; only such as are known by their names."""
    function = estimator.get("func")
    if function is None:
        return columns
    name = function.name if isinstance(function, Reference) and function.module == "numpy" else ""
    if name not in FUNCTIONS or estimator.get("kw_args"):
        known = ", ".join(sorted(FUNCTIONS))
        raise ConversionError(f"{estimator} calls a function of its own; of numpy's there are {known}")
    value = columns.numbers(builder, estimator)
    for operator, number in FUNCTIONS[name]:
        value = builder.node(operator, value, *([] if number is None else [builder.constant(np.float64(number))]))
    return Columns(columns.count, whole=value)


FUNCTIONS: Mapping[str, Sequence[tuple[str, float | None]]] = {
    "absolute": (("Abs", None),),
    "cos": (("Cos", None),),
    "exp": (("Exp", None),),
    "expm1": (("Exp", None), ("Sub", 1.0)),
    "log": (("Log", None),),
    "log1p": (("Add", 1.0), ("Log", None)),
    "sin": (("Sin", None),),
    "sqrt": (("Sqrt", None),),
    "square": (("Pow", 2.0),),
    "tanh": (("Tanh", None),),
}
"""Functions of numpy by their names: the operators one after the other, each with its number."""
