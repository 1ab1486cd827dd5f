"""One column of values as people write them, as the array a model takes.

Only None, NaN and the empty string are gaps: a guess that ``?`` is one belongs to the reading of files, where it can be
reported, and not to the answering of requests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import DataError, ShapeError
from engram.records import TensorSpec
from engram.runtime._dates import parse_date, seconds

__all__ = ["FALSE_WORDS", "TRUE_WORDS", "array"]

TRUE_WORDS = frozenset({"true", "yes", "t", "y"})
FALSE_WORDS = frozenset({"false", "no", "f", "n"})


def array(values: Sequence[Any] | ndarray, spec: TensorSpec) -> ndarray:
    """A column as the array its spec asks for.

    Raises:
        ShapeError: a value is of the wrong type, infinite, or missing where none may be; the message names its row
            (from 1) and the column.
    """
    if spec.kind == "image" or (spec.kind == "tensor" and spec.dtype != "string"):
        return _images(values, spec) if spec.kind == "image" else _tensor(values, spec)
    if isinstance(values, ndarray) and values.dtype.kind in "iuf" and spec.kind in {"number", "date"}:
        return _whole(_finite(values.astype(np.float64), spec), spec)
    one = {"number": _number, "boolean": _boolean, "date": _date}.get(spec.kind, _text)
    found = [_one(one, value, row, spec) for row, value in enumerate(values, start=1)]
    if spec.dtype == "string":
        filled = np.empty(len(found), dtype=object)
        filled[:] = found
        return filled
    return _whole(np.array(found, dtype=spec.dtype), spec)


def _whole(column: ndarray, spec: TensorSpec) -> ndarray:
    """A column, which has no gap where the model takes none."""
    if not spec.takes_gaps and np.isnan(column).any():
        row = int(np.flatnonzero(np.isnan(column))[0]) + 1
        raise ShapeError(f"row {row}, column {spec.name!r} has a gap, and the model takes none; fill it")
    return column


def _one(convert: Callable[[Any], Any], value: Any, row: int, spec: TensorSpec) -> Any:  # noqa: ANN401 - any cell
    try:
        return convert(value)
    except (ValueError, TypeError, OverflowError) as refused:
        raise ShapeError(f"row {row}, column {spec.name!r}: {refused}") from None


def _is_gap(value: Any) -> bool:  # noqa: ANN401 - any cell
    return (
        value is None
        or (isinstance(value, str) and not value)
        or (isinstance(value, (float, np.floating)) and math.isnan(value))
    )


def _number(value: Any) -> float:  # noqa: ANN401 - any cell
    if _is_gap(value):
        return math.nan
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (str, int, float, np.number)):
        raise TypeError(f"{value!r} is not a number")
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"{value!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not a finite number; leave it out or give null for a gap")
    return number


def _boolean(value: Any) -> float:  # noqa: ANN401 - any cell
    if _is_gap(value):
        return math.nan
    word = str(value).strip().lower()
    if word in TRUE_WORDS or value in (1, "1"):
        return 1.0
    if word in FALSE_WORDS or value in (0, "0"):
        return 0.0
    raise ValueError(f"{value!r} is neither true nor false")


def _date(value: Any) -> float:  # noqa: ANN401 - any cell
    if _is_gap(value):
        return math.nan
    if isinstance(value, (date, np.datetime64)):
        return seconds(value)
    return parse_date(value) if isinstance(value, str) else _number(value)


def _text(value: Any) -> str:  # noqa: ANN401 - any cell
    if _is_gap(value):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, (float, np.floating)):
        # a data frame turns whole numbers with gaps into floats; the file they came from said 5, not 5.0
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    raise ValueError(f"{value!r} is not text; write it as it stood in the training data")


def _finite(column: ndarray, spec: TensorSpec) -> ndarray:
    if column.ndim != 1:
        raise ShapeError(f"column {spec.name!r} must be one value a row, but has shape {list(column.shape)}")
    infinite = np.flatnonzero(np.isinf(column))
    if infinite.size:
        row = int(infinite[0])
        raise ShapeError(f"row {row + 1}, column {spec.name!r}: {column[row]} is not a finite number")
    return column


def _tensor(values: Sequence[Any] | ndarray, spec: TensorSpec) -> ndarray:
    wanted = np.dtype(spec.dtype)
    try:
        found = np.asarray(values)
    except ValueError:
        raise ShapeError(f"input {spec.name!r}: the rows have different lengths") from None
    if found.size == 0:
        return np.zeros((len(found), *(a if isinstance(a, int) else 0 for a in spec.shape[1:])), dtype=wanted)
    if found.dtype.kind not in "biuf" or not (wanted.kind == "f" or np.can_cast(found.dtype, wanted, "same_kind")):
        raise ShapeError(f"input {spec.name!r} must hold {spec.dtype}, but {found.dtype} was given")
    if found.dtype.kind == "f" and not (np.isfinite(found) | (spec.takes_gaps & np.isnan(found))).all():
        raise ShapeError(f"input {spec.name!r} holds a number that is not finite; replace it")
    return found.astype(wanted)


def _images(values: Sequence[Any] | ndarray, spec: TensorSpec) -> ndarray:
    if isinstance(values, ndarray) and values.dtype == np.uint8 and values.ndim in {3, 4}:
        whole: ndarray = values[..., None] if values.ndim == 3 else values
        return whole
    pictures = [_one(lambda v: _image(v, spec), value, row, spec) for row, value in enumerate(values, start=1)]
    if pictures and all(picture.shape == pictures[0].shape for picture in pictures):
        return np.stack(pictures)
    if not pictures:
        return np.zeros((0, *(axis if isinstance(axis, int) else 1 for axis in spec.shape[1:])), dtype=np.uint8)
    ragged = np.empty(len(pictures), dtype=object)
    ragged[:] = pictures
    return ragged


def _image(value: Any, spec: TensorSpec) -> ndarray:  # noqa: ANN401 - an array, a picture or the bytes of a file
    channels = spec.shape[-1] if isinstance(spec.shape[-1], int) else 3
    if isinstance(value, (bytes, bytearray, memoryview)):
        value = _opened(bytes(value), channels)
    if hasattr(value, "convert") and hasattr(value, "getbands"):
        from engram.runtime._images import colored, pixels

        value = colored(pixels(value), channels)
    found = np.asarray(value)
    if found.ndim == 2:
        found = found[..., None]
    if found.dtype.kind in "iu" and found.dtype != np.uint8 and found.size and 0 <= found.min() <= found.max() <= 255:
        found = found.astype(np.uint8)
    if found.dtype != np.uint8 or found.ndim != 3 or found.shape[-1] != channels or 0 in found.shape:
        given = f"{found.dtype} {list(found.shape)}"
        raise ValueError(f"an image must be uint8 (height, width, {channels}) or the bytes of a file, not {given}")
    return found


def _opened(content: bytes, channels: int) -> ndarray:
    from engram.runtime._images import colored, decode  # Pillow, which a table does not need

    try:
        return colored(decode(content), channels)
    except DataError as wrong:
        raise ValueError(f"the image {wrong}") from None
