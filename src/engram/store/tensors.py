"""Arrays as safetensors blobs, written and read without a copy.

Written here and not by the safetensors library, because the library's order of tensors within a file is its own
affair, and a store lives on the same arrays giving the same bytes; and because its numpy reader copies. One blob holds
one large array, or small ones up to a megabyte together, cut by name and size alone, so that training one layer leaves
the blobs of the others as they were.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import StoreError, UsageError
from engram.records import Limits

__all__ = ["Shard", "plan", "read"]

_ALONE = 1_000_000
_PAD = 8
_NATIVE = {
    "BOOL": "bool", "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64", "C64": "complex64",
    "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64", "F16": "float16", "F32": "float32", "F64": "float64",
}  # fmt: skip
_BEYOND_NUMPY = {"BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
_CODES = {name: code for code, name in (_NATIVE | _BEYOND_NUMPY).items()}


@dataclass(frozen=True, slots=True)
class Shard:
    """Arrays that become one blob; they must not change before it is written.

    Attributes:
        names: of the tensors, in their order in the blob.
        arrays: in the same order, contiguous and little-endian.
        header: the safetensors header with its length, padded to eight bytes.
    """

    names: tuple[str, ...]
    arrays: tuple[ndarray, ...]
    header: bytes

    @property
    def size(self) -> int:
        """Bytes of the blob."""
        return len(self.header) + sum(array.nbytes for array in self.arrays)

    def chunks(self) -> Iterator[memoryview]:
        """The bytes of the blob, piece by piece, as views of the arrays."""
        yield memoryview(self.header)
        for array in self.arrays:
            if array.nbytes:
                yield array.reshape(-1).view(np.uint8).data


def plan(arrays: Mapping[str, ndarray], where: str, alone: int = _ALONE) -> list[Shard]:
    """How arrays are divided into blobs.

    Args:
        arrays: name → array of any shape and layout; what is not contiguous is copied.
        where: what to call them in an error.
        alone: bytes from which an array has a blob to itself, and up to which small ones share one.

    Raises:
        UsageError: an array is of a type that safetensors cannot hold.
    """
    ready = {name: _ready(arrays[name], f"{where} {name!r}") for name in sorted(arrays)}
    shards, small, held = [], dict[str, ndarray](), 0
    for name, array in ready.items():
        if array.nbytes >= alone:
            shards.append(_shard({name: array}))
            continue
        if small and held + array.nbytes > alone:
            shards.append(_shard(small))
            small, held = {}, 0
        small[name] = array
        held += array.nbytes
    return [*shards, _shard(small)] if small else shards


def read(content: bytes | mmap.mmap, where: str) -> dict[str, ndarray]:
    """The arrays of a blob, as read-only views of its bytes.

    Raises:
        StoreError: it is not a safetensors file without holes, overlaps and trailing bytes.
    """
    entries, start = _header(content, where)
    found, place = {}, 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1]["data_offsets"], item[0])):
        begin, end = entry["data_offsets"]
        dtype, count = _dtype(entry["dtype"]), math.prod(entry["shape"])
        if begin != place or end - begin != count * dtype.itemsize or start + end > len(content):
            raise _damaged(where, f"the bytes of {name!r} are not where they belong")
        found[name] = np.frombuffer(content, dtype, count, start + begin if count else 0).reshape(entry["shape"])
        found[name].flags.writeable = False
        place = end
    if start + place != len(content):
        raise _damaged(where, "bytes follow after the last tensor")
    return found


def _ready(array: ndarray, where: str) -> ndarray:
    """The array contiguous and little-endian, itself where it already is; ``reshape`` keeps a 0-d array 0-d."""
    given = np.asarray(array)
    if where.endswith("'__metadata__'"):
        raise UsageError(f"{where} has the one name that safetensors keeps for itself; call it something else")
    if given.dtype.name not in _CODES:
        raise UsageError(f"{where} is of type {given.dtype}, which safetensors cannot hold; convert it")
    if given.ndim > Limits().rank:
        raise UsageError(f"{where} has {given.ndim} axes, more than the {Limits().rank} that are read back; reshape it")
    if given.dtype.byteorder == ">":
        given = given.astype(given.dtype.newbyteorder("<"))
    return np.ascontiguousarray(given).reshape(given.shape)


def _shard(arrays: Mapping[str, ndarray]) -> Shard:
    """Wide types come first, so that every array starts at a multiple of its item's size."""
    names = tuple(sorted(arrays, key=lambda name: (-arrays[name].itemsize, name)))
    entries, place = {}, 0
    for name in names:
        array = arrays[name]
        span = [place, place + array.nbytes]
        entries[name] = {"dtype": _CODES[array.dtype.name], "shape": list(array.shape), "data_offsets": span}
        place = span[1]
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _PAD)
    return Shard(names, tuple(arrays[name] for name in names), len(text).to_bytes(8, "little") + text)


def _header(content: bytes | mmap.mmap, where: str) -> tuple[dict[str, dict[str, Any]], int]:
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(len(content) - 8, Limits().header_bytes):
        raise _damaged(where, "it is cut short")
    try:
        found = json.loads(content[8 : 8 + length])
    except (ValueError, RecursionError) as wrong:
        raise _damaged(where, "its header is not JSON") from wrong
    if not isinstance(found, dict):
        raise _damaged(where, "its header is not an object")
    entries = {name: entry for name, entry in found.items() if name != "__metadata__"}
    for name, entry in entries.items():
        if not _sound(entry):
            raise _damaged(where, f"the entry of {name!r} in its header is not one of a tensor")
    return entries, 8 + length


def _sound(entry: Any) -> bool:  # noqa: ANN401 - of a file
    """Whether an entry has a known type, a shape of lengths and a span that runs forward."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        return False
    shape, span = entry["shape"], entry["data_offsets"]
    if not (isinstance(shape, list) and isinstance(span, list) and len(span) == 2):
        return False
    limits = Limits()
    lengths = all(type(n) is int and 0 <= n <= limits.dimension for n in [*shape, *span])
    return lengths and len(shape) <= limits.rank and entry["dtype"] in (_NATIVE | _BEYOND_NUMPY)


def _dtype(code: str) -> np.dtype[Any]:
    if code in _NATIVE:
        return np.dtype(_NATIVE[code])
    import ml_dtypes  # a dependency of onnx, for the types numpy does not have

    beyond: np.dtype[Any] = np.dtype(getattr(ml_dtypes, _BEYOND_NUMPY[code]))
    return beyond


def _damaged(where: str, why: str) -> StoreError:
    return StoreError(f"{where} is damaged: {why}; run engram verify")
