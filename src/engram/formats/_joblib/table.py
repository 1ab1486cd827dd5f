"""joblib's record of an array, whose numbers follow in the stream right behind its state.

Since 1.2 a byte in between says by how many more the numbers are moved, so that they lie at a multiple of 16. An array
of objects lies there as a pickle of its own, and goes through the same machine with the same table; where the table
knows no type of objects, as that of plain arrays does not, there is none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy import ndarray

from engram.errors import FormatError
from engram.formats._pickle import Allowed, Reference, Refused, Stream, Unfinished, Word, leading
from engram.formats._pickle.arrays import array
from engram.records import Limits

__all__ = ["Table"]

_OLD: Final = Refused("joblib before 0.10 kept arrays in files of their own; dump it again with a newer one")
_ARRAYS: Final = frozenset({Reference("numpy", "ndarray"), Reference("numpy", "memmap")})
_DEEPEST: Final = 8


class Table(dict[tuple[str, str], Allowed]):
    """A caller's table, and joblib's own names beside it."""

    def __init__(self, inner: Mapping[tuple[str, str], Allowed], limits: Limits, depth: int = 0) -> None:
        super().__init__()
        self._inner, self._limits, self._depth = inner, limits, depth
        self._own: dict[tuple[str, str], Allowed] = {
            ("joblib.numpy_pickle", "NumpyArrayWrapper"): self._record,
            ("numpy", "memmap"): Word(Reference("numpy", "memmap")),
        }
        for module in ("joblib.numpy_pickle", "joblib.numpy_pickle_compat"):
            self._own |= {(module, name): _OLD for name in ("NDArrayWrapper", "ZNDArrayWrapper")}

    def __missing__(self, key: tuple[str, str]) -> Allowed:
        return self._own[key] if key in self._own else self._inner[key]

    def get(self, key: tuple[str, str], default: Any = None) -> Any:  # noqa: ANN401 - as of a dictionary
        """The entry of a name; the default where it is not allowed."""
        return self._own[key] if key in self._own else self._inner.get(key, default)

    def _record(self) -> Unfinished:
        return Unfinished(self._array)

    def _array(self, state: Any, stream: Stream) -> Any:  # noqa: ANN401 - of a stranger's file
        """The array behind a record."""
        if not isinstance(state, dict) or state.get("subclass") not in _ARRAYS:
            raise FormatError("an array of joblib's is a plain one, and of no derived class")
        kind, shape, order = state.get("dtype"), state.get("shape"), state.get("order")
        if not isinstance(kind, np.dtype) or type(shape) is not tuple or order not in {"C", "F"}:
            raise FormatError("an array of joblib's has a type, a shape and an order")
        if len(shape) > self._limits.rank or not all(
            type(n) is int and 0 <= n <= self._limits.dimension for n in shape
        ):
            raise FormatError(f"an array of the shape {str(shape[:8])[:80]} is over the limits")
        if kind.hasobject:
            return self._objects(stream)
        if state.get("numpy_array_alignment_bytes") is not None:
            stream.take(stream.take(1)[0])
        return _aligned(stream.block(math.prod(shape) * kind.itemsize), kind, shape, fortran=order == "F")

    def _objects(self, stream: Stream) -> Any:  # noqa: ANN401 - any value
        """An array of objects, which is a pickle within the pickle."""
        if self._depth >= _DEEPEST:
            raise FormatError(f"arrays of objects within each other, more than {_DEEPEST} deep")
        table = Table(self._inner, self._limits, self._depth + 1)
        found, end = leading(stream.content, stream.where, table, self._limits, begin=stream.at)
        stream.at = end
        return found


def _aligned(content: bytes | memoryview, kind: np.dtype[Any], shape: tuple[int, ...], *, fortran: bool) -> ndarray:
    """An array over bytes, or over a copy of them where they lie askew."""
    if np.frombuffer(content, np.uint8).ctypes.data % kind.alignment:
        content = np.frombuffer(content, np.uint8).copy().data
    return array(content, kind, shape, fortran=fortran)
