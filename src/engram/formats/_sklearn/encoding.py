"""Words and numbers that stand for classes: one yes or no a category, or the place of the category."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError, FormatError
from engram.formats._sklearn.columns import Columns
from engram.formats._sklearn.estimator import Estimator
from engram.graphs.build import Builder, element_type

__all__ = ["ENCODERS", "is_gap", "is_of_words"]

_DOUBLE, _TRUTH = element_type("float64"), element_type("bool")
_DROPPED = ("_drop_idx_after_grouping", "drop_idx_")
"""Which category has no column: from 1.2 on by the columns, where some share one."""


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
    dropped = next((one for one in map(estimator.get, _DROPPED) if isinstance(one, ndarray)), None)
    wholes, width = [], 0
    for place, categories in enumerate(_categories(estimator, columns.count)):
        found = _held(builder, estimator, columns, place)
        seldom = _grouped(estimator, place, len(categories))
        kept = list(range(len(categories) if seldom is None else int(seldom.max()) + 1))
        if seldom is not None:
            found = _with_seldom(builder, estimator, found, seldom)
        if dropped is not None and dropped[place] is not None:
            del kept[int(dropped[place])]
            found = builder.node("Gather", found, builder.constant(kept, dtype="int64"), axis=1)
        wholes.append(found)
        width += len(kept)
    return Columns(width, whole=wholes[0] if len(wholes) == 1 else builder.node("Concat", *wholes, axis=1))


def _grouped(estimator: Estimator, place: int, count: int) -> ndarray | None:
    """The column that each category of a feature goes to, where those seen seldom share the last one."""
    found = estimator.get("_default_to_infrequent_mappings")
    if not estimator.get("_infrequent_enabled") or found is None:
        return None
    mapping = found[place] if isinstance(found, list) and place < len(found) else ...
    if mapping is None:
        return None
    if isinstance(mapping, ndarray) and mapping.shape == (count - 1,):  # gaps, which come last, are not counted
        mapping = np.append(mapping, 0)
    if not isinstance(mapping, ndarray) or mapping.shape != (count,) or mapping.dtype.kind not in "iu":
        raise FormatError(f"{estimator} does not say which of the categories of feature {place} were seen seldom")
    if not 0 <= mapping.min() <= mapping.max() < count:
        raise FormatError(f"{estimator} puts categories of feature {place} where there are none")
    return mapping.astype(np.int64)


def _with_seldom(builder: Builder, estimator: Estimator, found: str, seldom: ndarray) -> str:
    """Categories in the columns that they share; what is unknown counts as seen seldom, where that was asked for."""
    into = np.zeros((len(seldom), int(seldom.max()) + 1))
    into[np.arange(len(seldom)), seldom] = 1
    made = builder.node("MatMul", found, builder.constant(into))
    if estimator.get("handle_unknown") not in {"infrequent_if_exist", "warn"}:
        return made
    axis = builder.constant([1], dtype="int64")
    known = builder.node("ReduceSum", found, axis, keepdims=1)
    unknown = builder.node("Sub", builder.constant(np.float64(1)), known)
    last = builder.constant(np.eye(into.shape[1])[-1:])
    return builder.node("Add", made, builder.node("Mul", unknown, last))


def _ordinal(builder: Builder, estimator: Estimator, columns: Columns) -> Columns:
    """The place of the category; a gap and what is unknown get the values that were set for them."""
    unknown = estimator.get("unknown_value")
    rest = -1.0 if unknown is None else float(unknown)
    wholes = []
    for place, categories in enumerate(_categories(estimator, columns.count)):
        found = _held(builder, estimator, columns, place)
        seldom = _grouped(estimator, place, len(categories))
        codes = (np.arange(len(categories)) if seldom is None else seldom).astype(np.float64)
        codes[[is_gap(one) for one in categories.tolist()]] = estimator.number("encoded_missing_value", np.nan)
        # what is unknown is seen seldom, where some categories were
        fallback = rest if seldom is None or unknown is not None else float(seldom.max())
        wholes.append(_coded(builder, found, codes, fallback))
    return Columns(columns.count, whole=wholes[0] if len(wholes) == 1 else builder.node("Concat", *wholes, axis=1))


def _coded(builder: Builder, found: str, codes: ndarray, rest: float) -> str:
    """The code of the category that is held, (batch, 1), or the rest where none is; each may be NaN."""
    axis, nothing = builder.constant([1], dtype="int64"), builder.constant(np.float64(np.nan))
    start = 0.0 if np.isnan(rest) else rest
    # counted from the value of what is unknown, which holds none of them
    shifted = builder.constant(np.where(np.isnan(codes), 0.0, codes - start))
    value = builder.node("ReduceSum", builder.node("Mul", found, shifted), axis, keepdims=1)
    value = builder.node("Add", value, builder.constant(np.float64(start)))
    if np.isnan(codes).any():
        gaps = builder.node("Mul", found, builder.constant(np.isnan(codes).astype(np.float64)))
        is_gap = builder.node("Cast", builder.node("ReduceMax", gaps, axis, keepdims=1), to=_TRUTH)
        value = builder.node("Where", is_gap, nothing, value)
    if np.isnan(rest):
        known = builder.node("Cast", builder.node("ReduceMax", found, axis, keepdims=1), to=_TRUTH)
        value = builder.node("Where", known, value, nothing)
    return value


def _held(builder: Builder, estimator: Estimator, columns: Columns, place: int) -> str:
    """A yes or no for each category of a column, float64 (batch, categories)."""
    categories = _categories(estimator, columns.count)[place]
    column, values = columns.column(builder, place), categories.tolist()
    if _worded(categories) and not columns.text(place):
        raise ConversionError(f"{estimator} reads words, which is read only in front of all estimators")
    axis = builder.constant([1], dtype="int64")
    gaps = np.array([is_gap(one) for one in values])
    if _worded(categories):
        if not all(isinstance(one, str) or is_gap(one) for one in values):
            raise ConversionError(f"{estimator} has categories that are words and others that are not")
        table = builder.constant(["" if is_gap(one) else one for one in values])
        same = builder.node("Equal", builder.node("Unsqueeze", column, axis), table)
        return builder.node("Cast", same, to=_DOUBLE)
    try:
        numbers = np.asarray([np.nan if one is None else one for one in values], dtype=np.float64)
    except (ValueError, TypeError) as wrong:
        raise ConversionError(f"{estimator} has categories that are neither words nor numbers") from wrong
    single = builder.node("Unsqueeze", builder.node("Cast", column, to=_DOUBLE), axis)
    same = builder.node("Equal", single, builder.constant(numbers))
    if gaps.any():
        missing = builder.node("And", builder.node("IsNaN", single), builder.constant(gaps))
        same = builder.node("Or", same, missing)
    return builder.node("Cast", same, to=_DOUBLE)


def is_gap(value: object) -> bool:
    """Whether a value stands for one that is missing: None or NaN."""
    return value is None or (isinstance(value, float) and bool(np.isnan(value)))


ENCODERS: Mapping[str, Callable[[Builder, Estimator, Columns], Columns]] = {
    "OneHotEncoder": _one_hot,
    "OrdinalEncoder": _ordinal,
}
