"""Writing what ``torch.load`` opens with ``weights_only=True`` and a module takes with ``strict=True``: the same bytes
for the same values.

torch's own writer needs torch, and stamps each file with a number of its own; this one is the zip that it reads, with a
pickle of the few operations that its careful reader knows. Arrays that are one are written once, so tied weights come
back tied.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError
from engram.formats._archive_writing import Zip
from engram.formats._pickle import Reference
from engram.formats._pickle.writing import Call, Outside, dumps
from engram.formats._pytorch import types
from engram.formats._pytorch.container import NOTES, PICKLE

__all__ = ["save"]

_ROOT: Final = "archive"


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
        made = Zip(file)
        made.add(f"{_ROOT}/{PICKLE}", pickle)
        made.add(f"{_ROOT}/byteorder", b"little")
        for key, array in enumerate(storages.arrays):
            made.add(f"{_ROOT}/data/{key}", array.reshape(-1).view(np.uint8).data if array.size else b"")
        if notes:
            made.add(f"{_ROOT}/{NOTES}", notes)
        made.add(f"{_ROOT}/version", b"3\n")
        made.finish()


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
