"""Rows as people hold them, as the arrays a model takes.

One door for the facade, the server and the command line, so that a row is refused with the same sentence wherever it
comes in. Data frames are known by what they can do, not by their library, and none of those is imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import ShapeError
from engram.plugins import nearest
from engram.records import TensorSpec
from engram.runtime._dates import parse_date
from engram.runtime._values import FALSE_WORDS, TRUE_WORDS, array

__all__ = ["FALSE_WORDS", "TRUE_WORDS", "decode", "parse_date"]


def decode(rows: Any, inputs: tuple[TensorSpec, ...]) -> dict[str, ndarray]:  # noqa: ANN401 - many libraries' tables
    """Rows as one array an input, ready for a session.

    Args:
        rows: a list of dictionaries (one a row), a dictionary of columns, one dictionary of values (one row), a data
            frame of polars or pandas, or, for a model with a single input, its values as an array or nested lists. An
            input without axes takes one value for all rows.
        inputs: of the model's signature.

    Raises:
        ShapeError: a column is missing or unknown, columns differ in length, or a value is of the wrong type or
            infinite; the message names the row (from 1) and the column.
    """
    columns = _columns(rows, inputs)
    known = [spec.name for spec in inputs]
    for name in columns:
        if name not in known:
            raise ShapeError(f"the model has no column {name!r}; {nearest(str(name), known)}")
    for name in known:
        if name not in columns:
            raise ShapeError(f"column {name!r} is missing; {_closest(name, list(columns))}")
    many = [spec.name for spec in inputs if not _is_single(spec)]
    lengths = {name: len(columns[name]) for name in many}
    for name, length in lengths.items():
        if length != lengths[many[0]]:
            raise ShapeError(f"column {name!r} has {length} rows, but {many[0]!r} has {lengths[many[0]]}")
    return {s.name: array(columns[s.name], s) if s.name in lengths else _one(columns[s.name], s) for s in inputs}


def _is_bare(value: object) -> bool:
    """Whether an array is one value without an axis."""
    return isinstance(value, ndarray) and not value.ndim


def _is_single(spec: TensorSpec) -> bool:
    return spec.kind == "tensor" and not spec.shape


def _one(column: Sequence[Any] | ndarray, spec: TensorSpec) -> ndarray:
    """The one value of an input without axes."""
    if len(column) != 1:
        raise ShapeError(f"input {spec.name!r} takes one value for all rows, but has {len(column)}; give one")
    return array(column, spec).reshape(())


def _columns(rows: Any, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Sequence[Any] | ndarray]:  # noqa: ANN401
    if isinstance(rows, Mapping):
        alone = {spec.name for spec in inputs if _is_single(spec)}
        single = {name: [value] for name, value in rows.items() if name in alone and np.ndim(value) == 0}
        return {**_from_mapping({n: v for n, v in rows.items() if n not in single}), **single}
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):
        return _from_frame(rows)
    if isinstance(rows, Sequence) and not isinstance(rows, (str, bytes)) and all(isinstance(r, Mapping) for r in rows):
        return _from_records(rows, inputs)
    if len(inputs) == 1 and _is_single(inputs[0]) and np.ndim(rows) == 0:
        return {inputs[0].name: [rows]}
    if isinstance(rows, (str, bytes)) or not hasattr(rows, "__len__") or _is_bare(rows):
        raise ShapeError(f"rows must be a list of dictionaries, a table or an array, not {type(rows).__name__}")
    if len(inputs) != 1:
        names = ", ".join(spec.name for spec in inputs)
        raise ShapeError(f"the model has {len(inputs)} columns ({names}); name them: give dictionaries or a table")
    return {inputs[0].name: rows}


def _from_mapping(rows: Mapping[str, Any]) -> Mapping[str, Sequence[Any] | ndarray]:
    columns = {name: column.to_list() if _is_series(column) else column for name, column in rows.items()}
    columns = {
        name: column[()] if isinstance(column, ndarray) and not column.ndim else column
        for name, column in columns.items()
    }
    scalar = [not isinstance(column, (list, tuple, ndarray)) for column in columns.values()]
    if scalar and all(scalar):
        return {name: [value] for name, value in columns.items()}
    if any(scalar):
        name = list(columns)[scalar.index(True)]
        raise ShapeError(f"column {name!r} holds one value where other columns hold lists; give a list")
    return columns


def _from_frame(frame: Any) -> Mapping[str, Sequence[Any] | ndarray]:  # noqa: ANN401 - polars or pandas
    if hasattr(frame, "get_columns"):
        return {column.name: _plain(column.to_numpy()) for column in frame.get_columns()}
    if len(set(frame.columns)) != len(frame.columns):
        twice = next(name for name in frame.columns if list(frame.columns).count(name) > 1)
        raise ShapeError(f"column {twice!r} is there twice; rename one")
    return {str(name): _plain(frame[name].to_numpy()) for name in frame.columns}


def _from_records(rows: Sequence[Mapping[str, Any]], inputs: tuple[TensorSpec, ...]) -> dict[str, list[Any]]:
    known = {spec.name for spec in inputs}
    for number, row in enumerate(rows, start=1):
        if row.keys() != known:
            for name in row:
                if name not in known:
                    raise ShapeError(f"row {number}: the model has no column {name!r}; {nearest(str(name), known)}")
            name = next(spec.name for spec in inputs if spec.name not in row)
            raise ShapeError(f"row {number}: column {name!r} is missing; give null for a gap")
    return {spec.name: [row[spec.name] for row in rows] for spec in inputs}


def _plain(column: ndarray) -> Sequence[Any] | ndarray:
    """Numbers stay an array; times, texts and mixtures become a list of Python's own values."""
    if column.dtype.kind in "iuf":
        return column
    return list(column) if column.dtype.kind == "M" else _nothing_as_none(column.tolist())


def _nothing_as_none(values: list[Any]) -> list[Any]:
    """Turn gaps to None: pandas has gaps of its own (``NA``, ``NaT``), not equal even to themselves."""
    return [None if type(value).__name__ in {"NAType", "NaTType"} else value for value in values]


def _is_series(column: Any) -> bool:  # noqa: ANN401 - any library's column
    return hasattr(column, "to_list") and not isinstance(column, (ndarray, np.generic))


def _closest(name: str, given: list[str]) -> str:
    close = nearest(name, given)
    return f"is it {close.removeprefix('did you mean ')}" if close.startswith("did you") else "add it (null is a gap)"
