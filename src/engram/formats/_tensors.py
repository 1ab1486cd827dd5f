"""Arrays as JSON, exactly: every float is written with the fewest digits that lead back to the same bits.

JSON has no word for what is not a number, so ``NaN``, ``Infinity`` and ``-Infinity`` stand there as text.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError, FormatError
from engram.records import Limits
from engram.records.tensors import DTYPES

__all__ = ["array", "as_json", "from_json", "values"]

_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def as_json(given: ndarray) -> dict[str, Any]:
    """An array with its type and shape, for ``_document.text``; ``from_json`` brings it back."""
    return {"dtype": given.dtype.name, "shape": list(given.shape), "values": values(given)}


def from_json(found: Any, where: str, limits: Limits) -> ndarray:  # noqa: ANN401 - of a stranger's file
    """The array that ``as_json`` wrote.

    Raises:
        FormatError: it is none, or values, type and shape do not fit together.
    """
    if not isinstance(found, dict) or found.keys() != {"dtype", "shape", "values"}:
        raise FormatError(f"{where} must have exactly the keys dtype, shape and values")
    dtype, shape = found["dtype"], found["shape"]
    if not isinstance(dtype, str) or dtype not in DTYPES - {"string"}:
        raise FormatError(f"{where} has the type {dtype!r}, which is no type of a tensor")
    if not isinstance(shape, list) or not all(type(axis) is int and 0 <= axis <= limits.dimension for axis in shape):
        raise FormatError(f"{where} has the shape {shape!r}, which is no list of lengths")
    made = array(found["values"], where, dtype=dtype)
    if made.size != math.prod(shape) or (made.size and list(made.shape) != shape):
        raise FormatError(f"{where} says its shape is {shape}, but its values have the shape {list(made.shape)}")
    return made.reshape(shape)


def values(given: ndarray) -> Any:  # noqa: ANN401 - an array or nested lists
    """What ``_document.text`` writes as nested lists of numbers.

    Raises:
        ConversionError: JSON has no numbers of this type.
    """
    if given.dtype.name not in DTYPES:
        raise ConversionError(f"an array of {given.dtype} cannot be written as JSON; choose another format")
    if given.dtype.name == "bfloat16":
        given = given.astype(np.float32)
    if given.dtype.kind == "f" and not np.isfinite(given).all():
        worded = np.array([_worded(value) for value in given.ravel()], dtype=object)
        return worded.reshape(given.shape).tolist()
    return np.ascontiguousarray(given) if given.ndim else given[()]


def array(found: Any, where: str, *, dtype: str = "float32") -> ndarray:  # noqa: ANN401 - of a stranger's file
    """Nested lists of numbers as an array.

    Args:
        found: as parsed from JSON.
        where: what to call it in an error.
        dtype: numpy's name of the type wanted.

    Raises:
        FormatError: the lists are ragged, hold something else than numbers, or a number does not fit the type.
    """
    wanted = _dtype(dtype)
    if wanted.kind in "iu":
        return _integers(found, where, wanted)
    try:
        made = np.asarray(found)
    except (ValueError, OverflowError):
        raise FormatError(f"{where} has rows of different lengths") from None
    if made.dtype.kind in "UO":
        made = _without_words(found, where)
    if made.size == 0:
        return np.empty(made.shape, dtype=wanted)
    if made.dtype.kind not in "biuf" or (made.dtype.kind == "b") != (wanted.kind == "b"):
        raise FormatError(f"{where} must hold numbers of type {dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = made.astype(wanted)
    if wanted.kind != "b" and not (np.isfinite(cast) | ~np.isfinite(made)).all():
        raise FormatError(f"{where} holds a number that does not fit {dtype}")
    return cast


def _integers(found: Any, where: str, wanted: np.dtype[Any]) -> ndarray:  # noqa: ANN401 - of a stranger's file
    """Whole numbers by way of Python's own, because numpy makes floats of a mixture of large ones."""
    try:
        cells = np.array(found, dtype=object)
        if all(type(cell) is int for cell in cells.ravel()):
            return cells.astype(wanted)
    except (ValueError, OverflowError):
        pass
    raise FormatError(f"{where} must hold whole numbers of type {wanted} in rows of one length")


def _dtype(name: str) -> np.dtype[Any]:
    if name == "bfloat16":
        import ml_dtypes  # a dependency of onnx, for the types numpy does not have

        name = ml_dtypes.bfloat16
    return np.dtype(name)


def _worded(value: np.floating[Any]) -> Any:  # noqa: ANN401 - a number or a word
    if np.isfinite(value):
        return value
    return "NaN" if np.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _without_words(found: Any, where: str) -> ndarray:  # noqa: ANN401 - of a stranger's file
    cells = np.array(found, dtype=object)
    numbers = [_WORDS.get(cell, cell) if isinstance(cell, str) else cell for cell in cells.ravel()]
    for number in numbers:
        if isinstance(number, list):
            raise FormatError(f"{where} has rows of different lengths")
        if not isinstance(number, (int, float)) or isinstance(number, bool):
            raise FormatError(f"{where} holds {str(number)[:40]!r}, which is not a number")
    try:
        return np.asarray(numbers, dtype=np.float64).reshape(cells.shape)
    except OverflowError:
        raise FormatError(f"{where} holds a number that is too large") from None
