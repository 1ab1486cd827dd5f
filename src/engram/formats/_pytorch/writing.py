"""Writing what ``torch.load`` opens with ``weights_only=True`` and a module takes with ``strict=True``: the same bytes
for the same values.

torch's own writer needs torch, and stamps each file with a number of its own; this one is the zip that it reads, with a
pickle of the few operations that its careful reader knows. Arrays that are one are written once, so tied weights come
back tied.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError
from engram.formats._pickle import Reference
from engram.formats._pickle.writing import Call, Outside, dumps
from engram.formats._pytorch import types
from engram.formats._pytorch.container import NOTES, PICKLE

__all__ = ["Zip", "save"]

_ROOT: Final = "archive"
_ALIGNMENT: Final = 64
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_END = struct.Struct("<4s4H2LH")
_VERSION, _VERSION_64 = 20, 45
_TEXT_NAMES = 0x800
_FIRST_DAY = 33
"""1 January 1980, the first that a zip knows."""
_FULL = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class _Placed:
    name: bytes
    checksum: int
    size: int
    at: int


def save(tree: Any, path: Path, notes: bytes = b"") -> None:  # noqa: ANN401 - any value
    """Write a tree of plain values and arrays.

    Args:
        tree: numbers, texts, lists, tuples, dictionaries, ``SpecialDict`` and arrays.
        path: of the file.
        notes: what Engram says of the model, beside what torch reads; left out if empty.

    Raises:
        ConversionError: torch has no tensors of the type of an array, or the tree holds something else.
    """
    storages = _Storages()
    pickle = dumps(tree, storages.call)
    with path.open("wb") as file:
        zip_ = Zip(file)
        zip_.add(PICKLE, pickle)
        zip_.add("byteorder", b"little")
        for key, array in enumerate(storages.arrays):
            zip_.add(f"data/{key}", array.reshape(-1).view(np.uint8).data if array.size else b"")
        if notes:
            zip_.add(NOTES, notes)
        zip_.add("version", b"3\n")
        zip_.finish()


class _Storages:
    """The arrays of a tree, each once, and what the pickle says in place of one."""

    def __init__(self) -> None:
        self.arrays: list[ndarray] = []
        self._calls: dict[int, Call] = {}
        self._held: list[ndarray] = []

    def call(self, array: object) -> Call | None:
        """What rebuilds an array; None for anything else."""
        if not isinstance(array, ndarray):
            return None
        if id(array) not in self._calls:
            self._held.append(array)
            self._calls[id(array)] = self._rebuilding(array)
        return self._calls[id(array)]

    def _rebuilding(self, array: ndarray) -> Call:
        storage = types.storage_for(array.dtype)
        if storage is None:
            raise ConversionError(f"torch has no tensors of {array.dtype}; convert the weight to float32 first")
        solid = np.ascontiguousarray(array, types.little(array.dtype))
        key = str(len(self.arrays))
        self.arrays.append(solid)
        module = "torch.storage" if storage == types.BYTES else "torch"
        count = solid.nbytes if storage == types.BYTES else solid.size
        where = Outside(("storage", Reference(module, storage), key, "cpu", count))
        strides = tuple(stride // solid.itemsize for stride in _strides(array.shape, solid.itemsize))
        arguments = (where, 0, tuple(array.shape), strides, False, Call("collections", "OrderedDict", ()))
        if storage == types.BYTES:
            return Call("torch._utils", "_rebuild_tensor_v3", (*arguments, Reference("torch", array.dtype.name)))
        return Call("torch._utils", "_rebuild_tensor_v2", arguments)


def _strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Bytes between numbers along each axis in C order, as torch has them where an axis is empty."""
    found, step = [], itemsize
    for length in reversed(shape):
        found.append(step)
        step *= max(length, 1)
    return tuple(reversed(found))


class Zip:
    """A zip of stored members in one folder, each beginning at a multiple of 64 bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._at = 0
        self._placed: list[_Placed] = []

    def add(self, name: str, content: bytes | memoryview) -> None:
        """A member behind the others; its name and sizes stand before it, in the long form where they must."""
        written = f"{_ROOT}/{name}".encode()
        placed = _Placed(written, zlib.crc32(content), len(content), self._at)
        long = b""
        if placed.size >= _FULL:
            long = struct.pack("<HHQQ", 1, 16, placed.size, placed.size)
        bare = self._at + _LOCAL.size + len(written) + len(long) + 4
        padding = -bare % _ALIGNMENT
        extra = long + struct.pack("<2sH", b"FB", padding) + b"Z" * padding
        size = min(placed.size, _FULL)
        version = _VERSION_64 if long else _VERSION
        head = (b"PK\3\4", version, _TEXT_NAMES, 0, 0, _FIRST_DAY, placed.checksum, size, size)
        self._write(_LOCAL.pack(*head, len(written), len(extra)) + written + extra)
        self._write(content)
        self._placed.append(placed)

    def finish(self) -> None:
        """The directory and the end."""
        start = self._at
        for placed in self._placed:
            self._write(_entry(placed))
        size, count = self._at - start, len(self._placed)
        if count >= 0xFFFF or start >= _FULL or size >= _FULL:
            end = self._at
            versions = (_VERSION_64, _VERSION_64)
            self._write(_END_64.pack(b"PK\6\6", _END_64.size - 12, *versions, 0, 0, count, count, size, start))
            self._write(_LOCATOR.pack(b"PK\6\7", 0, end, 1))
        few, short, place = min(count, 0xFFFF), min(size, _FULL), min(start, _FULL)
        self._write(_END.pack(b"PK\5\6", 0, 0, few, few, short, place, 0))

    def _write(self, content: bytes | memoryview) -> None:
        self._file.write(content)
        self._at += len(content)


def _entry(placed: _Placed) -> bytes:
    long = [number for number in (placed.size, placed.size, placed.at) if number >= _FULL]
    extra = struct.pack(f"<HH{len(long)}Q", 1, 8 * len(long), *long) if long else b""
    version = _VERSION_64 if long else _VERSION
    size, at = min(placed.size, _FULL), min(placed.at, _FULL)
    numbers = (version, version, _TEXT_NAMES, 0, 0, _FIRST_DAY, placed.checksum, size, size, len(placed.name))
    return _CENTRAL.pack(b"PK\1\2", *numbers, len(extra), 0, 0, 0, 0, at) + placed.name + extra
