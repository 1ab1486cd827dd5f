"""Where in a file the numbers of each weight lie, so that they come back under their own names, to the bit.

A weight is written as an operator wants it: turned, cut in gates, or multiplied by the scale of a BatchNormalization.
As long as nothing was computed, the tensor is a view of the weight's memory, and offset and strides of the view say
where its numbers belong. Where there was a product, the quotient is right but for the last bits; how far it is off is
kept, a byte a number before packing and a fraction of one after. Only what cannot be found back so is stored twice.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.lib.stride_tricks import as_strided

from engram.errors import FormatError
from engram.formats._tflite.draft import Scaled
from engram.formats._tflite.parts import Subgraph
from engram.formats._tflite.schema import dtype_of
from engram.records import Limits

__all__ = ["Store", "gathered", "located"]

_FURTHEST = 127
_SMALL = 256
"""Numbers of a weight up to which it is stored once more instead of being told in words."""


class Store:
    """Bytes beside the network: what cannot be found in it."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = bytearray(content)

    def put(self, data: bytes) -> list[int]:
        """Keep bytes and say where they are: start and length."""
        start = len(self.content)
        self.content += data
        return [start, len(data)]

    def filled(self) -> bytes:
        """Everything, up to a whole number of 16 bytes and at least one."""
        return bytes(self.content) + bytes(-len(self.content) % 16 or (0 if self.content else 16))

    def take(self, place: Any) -> bytes:  # noqa: ANN401 - of a stranger's file
        """The bytes at a place.

        Raises:
            FormatError: there are none.
        """
        whole = isinstance(place, list) and len(place) == 2 and all(type(one) is int and one >= 0 for one in place)
        if not whole or place[0] + place[1] > len(self.content):
            raise FormatError("the stored weights are not where the description says; the file is damaged")
        return bytes(self.content[place[0] : place[0] + place[1]])


def located(
    weights: Mapping[str, ndarray], graph: Subgraph, sources: Mapping[int, ndarray | Scaled], store: Store
) -> list[dict[str, Any]]:
    """For each weight, in order, where its numbers are.

    Args:
        weights: by name; those the network uses are the memory that the sources look into.
        graph: the subgraph.
        sources: tensor → the array it was made of.
        store: takes what is not in the network.
    """
    found = []
    for name, array in weights.items():
        about: dict[str, Any] = {"name": name, "dtype": array.dtype.name, "shape": list(array.shape)}
        parts = [] if array.size <= _SMALL else _parts(array, graph, sources, store)
        again = _assembled(array.dtype, array.shape, parts, graph, store) if parts else None
        if again is not None and again.tobytes() == array.tobytes():
            found.append(about | {"parts": parts})
        else:
            little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
            found.append(about | {"stored": store.put(little.tobytes())})
    return found


def gathered(told: Any, graph: Subgraph, store: Store, limits: Limits) -> dict[str, ndarray]:  # noqa: ANN401 - a stranger's
    """The weights, from what ``located`` said.

    Raises:
        FormatError: it says something that is not so.
    """
    if not isinstance(told, list) or len(told) > limits.tensors or not all(isinstance(one, dict) for one in told):
        raise FormatError("the description must list the weights")
    found: dict[str, ndarray] = {}
    for one in told:
        name, shape = one.get("name"), one.get("shape")
        dtype = dtype_of(str(one.get("dtype", "")).upper())
        lengths = isinstance(shape, list) and all(type(axis) is int and 0 <= axis <= limits.dimension for axis in shape)
        if not isinstance(name, str) or name in found or not lengths or dtype is None or len(shape) > limits.rank:
            raise FormatError(f"the description of weight {name!r} is not whole")
        array = _stored(one, dtype, shape, store) if "stored" in one else None
        if array is None:
            array = _assembled(dtype, tuple(shape), one.get("parts"), graph, store)
        if array is None:
            raise FormatError(f"weight {name!r} is not where the description says; the file is damaged")
        found[name] = array
    return found


def _stored(told: dict[str, Any], dtype: np.dtype[Any], shape: list[int], store: Store) -> ndarray | None:
    data = store.take(told["stored"])
    if len(data) != math.prod(shape) * dtype.itemsize:
        return None
    return np.frombuffer(data, dtype).reshape(shape).copy()


def _parts(
    array: ndarray, graph: Subgraph, sources: Mapping[int, ndarray | Scaled], store: Store
) -> list[dict[str, Any]]:
    """The tensors whose numbers come from an array, and where in it they belong."""
    start = _address(array)
    parts = []
    covered = 0
    for number, source in sources.items():
        view = source.array if isinstance(source, Scaled) else source
        inside = _address(view) - start
        if view.dtype != array.dtype or not view.size or not 0 <= inside < array.nbytes or covered >= array.size:
            continue
        if graph.tensors[number].data is None or any(stride < 0 for stride in view.strides):
            continue
        part: dict[str, Any] = {
            "tensor": number,
            "offset": inside // array.itemsize,
            "shape": list(view.shape),
            "strides": [stride // array.itemsize for stride in view.strides],
        }
        if isinstance(source, Scaled):
            told = _told(view, source.factor, store)
            if told is None:
                continue
            part |= told
        parts.append(part)
        covered += view.size
    return parts


def _told(view: ndarray, factor: ndarray, store: Store) -> dict[str, Any] | None:
    """What is needed to undo a product; None where the quotient is too far off."""
    with np.errstate(all="ignore"):
        quotient = (np.ascontiguousarray(view * factor) / factor).astype(np.float32)
    off = _ordered(np.ascontiguousarray(view)) - _ordered(quotient)
    if not np.isfinite(quotient).all() or abs(off).max() > _FURTHEST:
        return None
    steps = zlib.compress(off.astype(np.int8).tobytes(), 9)
    flat = np.ascontiguousarray(factor, "<f4")
    return {"factor": store.put(flat.tobytes()), "across": list(factor.shape), "steps": store.put(steps)}


def _ordered(array: ndarray) -> ndarray:
    """Floats as whole numbers in the same order, so that neighbors differ by one."""
    bits = array.reshape(-1).view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(2**31) - bits, bits)


def _unordered(numbers: ndarray) -> ndarray:
    bits = np.where(numbers < 0, -(2**31) - numbers, numbers)
    return bits.astype(np.int32).view(np.float32)


def _assembled(
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    parts: object,
    graph: Subgraph,
    store: Store,
) -> ndarray | None:
    """A weight put together; None where parts are missing or do not fit."""
    size = math.prod(shape)
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        return None
    if sum(_count(part) for part in parts) < size:
        return None
    array, filled = np.zeros(size, dtype), np.zeros(size, bool)
    for part in parts:
        numbers = _numbers(part, dtype, graph, store)
        places = _places(part, size)
        if numbers is None or places is None:
            return None
        laid, strides = places
        step = [stride * dtype.itemsize for stride in strides]
        as_strided(array[part["offset"] :], laid, step)[...] = numbers.reshape(laid)
        as_strided(filled[part["offset"] :], laid, strides)[...] = True
    return array.reshape(shape) if filled.all() else None


def _count(part: dict[str, Any]) -> int:
    shape = part.get("shape")
    whole = isinstance(shape, list) and len(shape) <= 32 and all(type(axis) is int and axis > 0 for axis in shape)
    return math.prod(shape) if whole and isinstance(shape, list) else 0


def _places(part: dict[str, Any], size: int) -> tuple[list[int], list[int]] | None:
    """Shape and strides of a part inside of its weight, once they are known to stay inside."""
    shape, strides, offset = part.get("shape"), part.get("strides"), part.get("offset")
    if not _count(part) or not isinstance(strides, list) or not isinstance(shape, list) or len(strides) != len(shape):
        return None
    if type(offset) is not int or offset < 0 or any(type(stride) is not int or stride < 0 for stride in strides):
        return None
    last = offset + sum((axis - 1) * stride for axis, stride in zip(shape, strides, strict=True))
    return (shape, strides) if last < size else None


def _numbers(part: dict[str, Any], dtype: np.dtype[Any], graph: Subgraph, store: Store) -> ndarray | None:
    number = part.get("tensor")
    if type(number) is not int or not 0 <= number < len(graph.tensors):
        return None
    tensor = graph.tensors[number]
    if tensor.data is None or dtype_of(tensor.type) != dtype or len(tensor.data) != _count(part) * dtype.itemsize:
        return None
    found = np.frombuffer(tensor.data, dtype)
    return found if "factor" not in part else _divided(part, found.reshape(part["shape"]), store)


def _divided(part: dict[str, Any], numbers: ndarray, store: Store) -> ndarray | None:
    across = part.get("across")
    if not isinstance(across, list) or len(across) != numbers.ndim or numbers.dtype != np.float32:
        return None
    data = store.take(part["factor"])
    fits = all(type(one) is int and one in {1, axis} for one, axis in zip(across, numbers.shape, strict=True))
    if not fits or len(data) != math.prod(across) * 4:
        return None
    with np.errstate(all="ignore"):
        quotient = (numbers / np.frombuffer(data, "<f4").reshape(across)).astype(np.float32)
    machine = zlib.decompressobj()
    try:
        steps = machine.decompress(store.take(part.get("steps")), numbers.size + 1)
    except zlib.error:
        return None
    if len(steps) != numbers.size or not np.isfinite(quotient).all():
        return None
    return _unordered(_ordered(np.ascontiguousarray(quotient)) + np.frombuffer(steps, np.int8))


def _address(array: ndarray) -> int:
    return int(array.__array_interface__["data"][0])
