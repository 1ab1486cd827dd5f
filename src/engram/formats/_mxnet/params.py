"""A list of arrays as MXNet keeps it: a ``.params`` file.

Four layouts of an array are about, told apart by their first four bytes: three with a magic number, and the oldest,
which begins with its rank. Only dense arrays are read, and every length is held against the bytes that are there before
it is used.

Source: ``src/ndarray/ndarray.cc`` of MXNet 1.9 (``NDArray::Load``, ``NDArray::LegacyLoad``).
"""

from __future__ import annotations

import math
import mmap
import struct
from pathlib import Path

import ml_dtypes
import numpy as np
from numpy import ndarray

from engram.errors import FormatError
from engram.records import Limits

__all__ = ["MAGIC", "read"]

MAGIC = (0x112).to_bytes(8, "little")
"""What every list begins with."""

_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_DENSE, _UNKNOWN_STORAGE = 0, -1
_TYPES = (
    "<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8", "?", "<i2", "<u2", "<u4", "<u8", ml_dtypes.bfloat16,
)  # fmt: skip
_LONGEST_NAME = 10_000


class _Cursor:
    """A place in the bytes of a file that never runs over their end."""

    def __init__(self, content: memoryview, name: str) -> None:
        self.content, self.name, self.at = content, name, 0

    def take(self, count: int) -> memoryview:
        if count > len(self.content) - self.at:
            left = f"byte {self.at:,} of {len(self.content):,}"
            raise FormatError(f"{self.name}: {count:,} bytes are announced at {left}; it is cut off")
        self.at += count
        return self.content[self.at - count : self.at]

    def number(self, kind: str) -> int:
        return int(struct.unpack(f"<{kind}", self.take(struct.calcsize(f"<{kind}")))[0])

    def numbers(self, kind: str, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}{kind}", self.take(struct.calcsize(f"<{kind}") * count))


def read(path: Path, limits: Limits) -> dict[str, ndarray]:
    """The arrays of a list by name, in order; ``0``, ``1`` … where it has no names.

    Raises:
        FormatError: the file is damaged, over a limit, or holds a sparse array.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise FormatError(f"{path.name} is empty; it was perhaps never written to the end")
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    cursor = _Cursor(content, path.name)
    if bytes(cursor.take(8)) != MAGIC or cursor.number("Q"):
        raise FormatError(f"{path.name} does not begin as a list of arrays of MXNet")
    count = cursor.number("Q")
    if count > limits.tensors or count > len(content):
        raise FormatError(
            f"{path.name} announces {count:,} arrays, over the limit of {limits.tensors:,} or its own size"
        )
    arrays = [_array(cursor, place, limits) for place in range(count)]
    names = _names(cursor, count)
    if cursor.at != len(content):
        raise FormatError(f"{path.name} goes on for {len(content) - cursor.at:,} bytes behind its last name")
    return dict(zip(names, arrays, strict=True))


def _names(cursor: _Cursor, count: int) -> list[str]:
    found = cursor.number("Q")
    if found not in {0, count}:
        raise FormatError(f"{cursor.name} has {count:,} arrays and {found:,} names; it is damaged")
    names: dict[str, None] = {}
    for place in range(count):
        name = _name(cursor) if found else str(place)
        if name in names:
            raise FormatError(f"{cursor.name} has two arrays that are called {name!r}")
        names[name] = None
    return list(names)


def _name(cursor: _Cursor) -> str:
    length = cursor.number("Q")
    if length > _LONGEST_NAME:
        raise FormatError(f"{cursor.name}: a name of {length:,} bytes is over the limit of {_LONGEST_NAME:,}")
    try:
        return bytes(cursor.take(length)).decode()
    except UnicodeDecodeError as wrong:
        raise FormatError(f"{cursor.name}: a name at byte {cursor.at:,} is not UTF-8; it is damaged") from wrong


def _array(cursor: _Cursor, place: int, limits: Limits) -> ndarray:
    shape = _shape(cursor, place, limits)
    if shape is None:
        raise FormatError(f"{cursor.name}: array {place} was never filled, and its shape is not known")
    cursor.numbers("i", 2)  # the device it lay on
    flag = cursor.number("i")
    if not 0 <= flag < len(_TYPES):
        raise FormatError(f"{cursor.name}: array {place} is of the type {flag}, which is not known")
    dtype = np.dtype(_TYPES[flag])
    data = cursor.take(math.prod(shape) * dtype.itemsize)
    flat = np.frombuffer(data, np.uint8) != 0 if dtype == np.bool_ else np.frombuffer(data, dtype).copy()
    array: ndarray = flat.reshape(shape)
    return array


def _shape(cursor: _Cursor, place: int, limits: Limits) -> tuple[int, ...] | None:
    """Lengths of the axes; None where an array is empty in a layout that has no place for that."""
    magic = cursor.number("I")
    if magic in {_V2, _V3}:
        storage = cursor.number("i")
        if storage not in {_DENSE, _UNKNOWN_STORAGE}:
            raise FormatError(f"{cursor.name}: array {place} is sparse, which is not read; make it dense first")
    rank = cursor.number("i") if magic in {_V1, _V2, _V3} else magic
    if rank < 0 and magic == _V3:
        return None
    if not 0 <= rank <= limits.rank:
        raise FormatError(f"{cursor.name}: array {place} has {rank:,} axes, over the limit of {limits.rank}")
    shape = cursor.numbers("q" if magic in {_V1, _V2, _V3} else "I", rank)
    if any(not 0 <= length <= limits.dimension for length in shape):
        raise FormatError(f"{cursor.name}: array {place} has the shape {list(shape)}, over the limits")
    return shape if shape or magic == _V3 else None
