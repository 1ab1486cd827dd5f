"""Words and numbers that stand for classes: one yes or no a category, or the place of the category."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError, FormatError
from engram.formats._sklearn.columns import Columns
from engram.formats._sklearn.estimator import Estimator
from engram.graphs.build import Builder, element_type

__all__ = ["ENCODERS", "is_of_words"]

_DOUBLE = element_type("float64")


def is_of_words(estimator: Estimator, count: int) -> tuple[bool, ...]:
    """Which of its columns a step reads as words."""
    if estimator.kind == "SimpleImputer":
        found = estimator.get("statistics_")
        return (isinstance(found, ndarray) and found.dtype.kind in "OSU",) * count
    if estimator.kind in ENCODERS:
        return tuple(_worded(one) for one in _categories(estimator, count))
    return (False,) * count


def _categories(estimator: Estimator, count: int) -> list[ndarray]:
    found = estimator.get("categories_")
    if not isinstance(found, list) or len(found) != count or not all(isinstance(one, ndarray) for one in found):
        raise FormatError(f"{estimator} has no categories_ for {count} columns")
    return found


def _worded(categories: ndarray) -> bool:
    return categories.dtype.kind in "OSU" and any(isinstance(one, str) for one in categories.tolist())


def _one_hot(builder: Builder, estimator: Estimator, columns: Columns) -> Columns:
    estimator.demand("_infrequent_enabled", (False,))
    dropped = estimator.get("drop_idx_")
    wholes, width = [], 0
    for place, categories in enumerate(_categories(estimator, columns.count)):
        held = _held(builder, estimator, columns.column(builder, place), categories)
        kept = list(range(len(categories)))
        if isinstance(dropped, ndarray) and dropped[place] is not None:
            del kept[int(dropped[place])]
            held = builder.node("Gather", held, builder.constant(kept, dtype="int64"), axis=1)
        wholes.append(held)
        width += len(kept)
    return Columns(width, whole=wholes[0] if len(wholes) == 1 else builder.node("Concat", *wholes, axis=1))


def _ordinal(builder: Builder, estimator: Estimator, columns: Columns) -> Columns:
    """The place of the category; what is unknown gets the value that was set for it, or the one before the first."""
    unknown = estimator.get("unknown_value")
    rest = -1.0 if unknown is None else float(unknown)
    wholes, axis = [], builder.constant([1], dtype="int64")
    for place, categories in enumerate(_categories(estimator, columns.count)):
        held = _held(builder, estimator, columns.column(builder, place), categories)
        # counted from the value of what is unknown, which holds none of them
        places = builder.constant(np.arange(len(categories), dtype=np.float64) - (0.0 if np.isnan(rest) else rest))
        found = builder.node("ReduceSum", builder.node("Mul", held, places), axis, keepdims=1)
        if np.isnan(rest):
            known = builder.node("ReduceMax", held, axis, keepdims=1)
            wanted = builder.node("Cast", known, to=element_type("bool"))
            wholes.append(builder.node("Where", wanted, found, builder.constant(np.float64(np.nan))))
        else:
            wholes.append(builder.node("Add", found, builder.constant(np.float64(rest))))
    return Columns(columns.count, whole=wholes[0] if len(wholes) == 1 else builder.node("Concat", *wholes, axis=1))


def _held(builder: Builder, estimator: Estimator, column: str, categories: ndarray) -> str:
    """A yes or no for each category, float64 (batch, categories)."""
    values = categories.tolist()
    if _worded(categories):
        if not all(isinstance(one, str) or one is None for one in values):
            raise ConversionError(f"{estimator} has categories that are words and others that are not")
        table = builder.constant(["" if one is None else one for one in values])
    else:
        table = builder.constant(np.asarray(values, dtype=np.float64))
        column = builder.node("Cast", column, to=_DOUBLE)
    axis = builder.constant([1], dtype="int64")
    same = builder.node("Equal", builder.node("Unsqueeze", column, axis), table)
    return builder.node("Cast", same, to=_DOUBLE)


ENCODERS: Mapping[str, Callable[[Builder, Estimator, Columns], Columns]] = {
    "OneHotEncoder": _one_hot,
    "OrdinalEncoder": _ordinal,
}
