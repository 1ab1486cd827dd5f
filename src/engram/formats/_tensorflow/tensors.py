"""TensorFlow's types, shapes and small tensors, as numpy has them and back."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
from numpy import ndarray

from engram.errors import ConversionError, FormatError
from engram.formats._tensorflow.messages import DATA_TYPES, message
from engram.records import Limits

__all__ = ["RESOURCE", "STRING", "VARIANT", "array", "dtype_of", "number_of", "shape_message", "shape_of", "tensor"]

STRING, RESOURCE, VARIANT = DATA_TYPES["DT_STRING"], DATA_TYPES["DT_RESOURCE"], DATA_TYPES["DT_VARIANT"]

_NAMES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 8: "complex64", 9: "int64", 10: "bool",
    17: "uint16", 18: "complex128", 19: "float16", 22: "uint32", 23: "uint64",
}  # fmt: skip
_DTYPES: dict[int, np.dtype[Any]] = {number: np.dtype(name) for number, name in _NAMES.items()}
_DTYPES[14] = np.dtype(ml_dtypes.bfloat16)
_NUMBERS = {dtype.name: number for number, dtype in _DTYPES.items()}
_FIELDS = {
    1: "float_val", 2: "double_val", 3: "int_val", 4: "int_val", 5: "int_val", 6: "int_val", 9: "int64_val",
    10: "bool_val", 14: "half_val", 17: "int_val", 19: "half_val", 22: "uint32_val", 23: "uint64_val",
}  # fmt: skip
_HALVES = {14, 19}
_LARGEST = 2**28
"""Bytes that a constant inside a graph may grow to: a single number may stand for all of its places."""


def dtype_of(number: int) -> np.dtype[Any] | None:
    """Numpy's type for TensorFlow's number; None for texts, handles and unknown ones."""
    return _DTYPES.get(number)


def number_of(dtype: np.dtype[Any] | str) -> int | None:
    """TensorFlow's number for numpy's type; None where TensorFlow does not have it."""
    kind = np.dtype(dtype) if not isinstance(dtype, np.dtype) else dtype
    return STRING if kind.kind in "OUS" else _NUMBERS.get(kind.name)


def shape_of(found: Any) -> tuple[int | None, ...] | None:  # noqa: ANN401 - a generated class
    """The axes of a TensorShape, None for free ones; None where even their number is unknown."""
    if found.unknown_rank:
        return None
    return tuple(int(axis.size) if axis.size >= 0 else None for axis in found.dim)


def shape_message(shape: tuple[int | str | None, ...]) -> Any:  # noqa: ANN401 - a generated class
    """A TensorShape; names and None become free axes."""
    made = message("TensorShape")
    made.SetInParent()
    for axis in shape:
        made.dim.add(size=axis if isinstance(axis, int) else -1)
    return made


def array(found: Any, where: str, limits: Limits) -> ndarray:  # noqa: ANN401 - a generated class
    """The numbers or texts of a TensorProto.

    Raises:
        FormatError: it holds other than it declares, or is over a limit.
    """
    shape = shape_of(found.tensor_shape)
    if shape is None or any(axis is None or axis > limits.dimension for axis in shape) or len(shape) > limits.rank:
        raise FormatError(f"the constant of {where} has the shape {shape}, which is none or over the limits")
    lengths = tuple(axis or 0 for axis in shape)
    count = math.prod(lengths)
    if found.dtype == STRING:
        return _texts(list(found.string_val), lengths, where)
    kind = dtype_of(found.dtype)
    if kind is None or count * kind.itemsize > _LARGEST:
        raise FormatError(f"the constant of {where} is of type {found.dtype} with {count:,} numbers; neither is read")
    if found.tensor_content:
        if len(found.tensor_content) != count * kind.itemsize:
            held = f"{len(found.tensor_content):,} bytes for {kind.name} {list(lengths)}"
            raise FormatError(f"the constant of {where} holds {held}; it is damaged")
        return np.frombuffer(found.tensor_content, kind).reshape(lengths)
    return _listed(found, kind, lengths, where)


def tensor(value: ndarray) -> Any:  # noqa: ANN401 - a generated class
    """A TensorProto that holds an array.

    Raises:
        ConversionError: its type is none that TensorFlow has.
    """
    value = np.asarray(value)
    number = number_of(value.dtype)
    if number is None:
        raise ConversionError(f"a constant is {value.dtype}, which TensorFlow does not have")
    made = message("Tensor", dtype=number, tensor_shape=shape_message(value.shape))
    if number == STRING:
        texts = value.reshape(-1).tolist()
        made.string_val.extend(text if isinstance(text, bytes) else str(text).encode() for text in texts)
    else:
        made.tensor_content = np.ascontiguousarray(value, value.dtype.newbyteorder("<")).tobytes()
    return made


def _texts(given: list[bytes], shape: tuple[int, ...], where: str) -> ndarray:
    count = math.prod(shape)
    if count > max(1, len(given)) * 1024 or (count and not given) or len(given) > max(count, 1):
        raise FormatError(f"the constant of {where} holds {len(given):,} texts for {count:,} places; it is damaged")
    made = np.empty(count, dtype=object)
    made[:] = (given + given[-1:] * (count - len(given)))[:count]
    return made.reshape(shape)


def _listed(found: Any, kind: np.dtype[Any], shape: tuple[int, ...], where: str) -> ndarray:  # noqa: ANN401
    """Numbers one by one; the last stands for all that follow, and none at all for zeros."""
    field = _FIELDS.get(found.dtype)
    if field is None:
        raise FormatError(f"the constant of {where} is of type {kind.name}, which is not read number by number")
    given = np.array(getattr(found, field))
    count = math.prod(shape)
    if len(given) > count:
        raise FormatError(f"the constant of {where} holds {len(given):,} numbers for {count:,} places; it is damaged")
    if not len(given):
        return np.zeros(shape, kind)
    values = given.astype(np.uint16).view(kind) if found.dtype in _HALVES else given.astype(kind)
    made = np.full(count, values[-1], kind)
    made[: len(values)] = values
    return made.reshape(shape)
