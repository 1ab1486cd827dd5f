"""Nested JSON lists as arrays, checked value by value before numpy sees them.

numpy guesses: a text among numbers makes it allocate that text's length for every number, a list too long becomes an
object array, 300 wraps to 44 in uint8. So the shape is measured and the types are counted here, and only then is an
array made.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import ShapeError

__all__ = ["array", "measured", "shaped"]

_TYPES: dict[str, frozenset[type]] = {
    "f": frozenset({int, float, type(None)}),
    "i": frozenset({int}),
    "u": frozenset({int}),
    "b": frozenset({bool}),
    "O": frozenset({str}),
}
_WORDS = {"f": "numbers", "i": "whole numbers", "u": "whole numbers", "b": "true or false", "O": "strings"}
_JSON_WORDS = {bool: "true or false", str: "a string", dict: "an object", list: "a list", float: "a decimal number"}


def measured(data: Sequence[Any], name: str) -> tuple[list[Any], tuple[int, ...]]:
    """The values of nested lists in row-major order, and the shape of the nest.

    Args:
        data: a list of values, or of lists of one length, and so on.
        name: of the input, for an error.

    Raises:
        ShapeError: lists of one level differ in length, or values and lists are mixed.
    """
    level, shape = list(data), [len(data)]
    while level and isinstance(level[0], list):
        if not all(isinstance(item, list) for item in level):
            raise ShapeError(f"input {name!r} mixes lists and values on one level; nest all of them alike")
        lengths = set(map(len, level))
        if len(lengths) > 1:
            raise ShapeError(f"input {name!r} has lists of {min(lengths)} and {max(lengths)} values on one level")
        shape.append(lengths.pop())
        level = [value for item in level for value in item]
    return level, tuple(shape)


def shaped(data: Sequence[Any], shape: tuple[int, ...], name: str) -> list[Any]:
    """The values of flat or nested data in row-major order, once they are known to fill the shape exactly.

    Raises:
        ShapeError: there are more or fewer values than the shape has, or they are nested otherwise.
    """
    values, found = measured(data, name)
    if len(found) > 1 and found != shape:
        raise ShapeError(f"input {name!r} declares shape {list(shape)}, but its data are nested as {list(found)}")
    if len(values) != prod(shape):
        wanted = prod(shape)
        raise ShapeError(f"input {name!r} has {len(values):,} values, but declares {list(shape)}, which is {wanted:,}")
    return values


def array(values: list[Any], shape: tuple[int, ...], dtype: str, name: str) -> ndarray:
    """Values in row-major order as an array of exactly this type; null is NaN where the type has one.

    Args:
        values: as many as the shape has.
        shape: of the result.
        dtype: numpy's name, or ``string`` for an object array of str.
        name: of the input, for an error.

    Raises:
        ShapeError: a value is of another type, or outside the range of this one.
    """
    wanted = np.dtype(object if dtype == "string" else dtype)
    for wrong in set(map(type, values)) - _TYPES[wanted.kind]:
        word = _JSON_WORDS.get(wrong, "null" if wrong is type(None) else "a number")
        place = next(i for i, value in enumerate(values) if type(value) is wrong)
        raise ShapeError(f"input {name!r} is {dtype} and takes {_WORDS[wanted.kind]}, but value {place + 1} is {word}")
    if wanted.kind in "iu" and values:
        bounds = np.iinfo(dtype)
        for value in (min(values), max(values)):
            if not bounds.min <= value <= bounds.max:
                raise ShapeError(
                    f"input {name!r} is {dtype}, which cannot hold {value}; send {bounds.min} to {bounds.max}"
                )
    made = np.empty(len(values), dtype=wanted)
    if wanted.kind == "f":
        exact = np.array(values, dtype=np.float64)
        with np.errstate(over="ignore"):
            made[:] = exact
        if bool(np.isinf(made).any()):
            raise ShapeError(
                f"input {name!r} is {dtype}, which cannot hold {exact[np.isinf(made)][0]:g}; send it smaller"
            )
    else:
        made[:] = values
    return made.reshape(shape)
