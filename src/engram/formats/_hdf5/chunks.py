"""The numbers of an array, from wherever its layout says they are.

Sizes are compared before anything is allocated: an array may not be larger than what the file holds of it, or than a
hundred times that where it is packed.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy import ndarray

from engram.formats._hdf5.messages import Bytes, Layout
from engram.records import Limits

__all__ = ["numbers"]

_NOWHERE = 2**64 - 1
_GZIP, _SHUFFLE, _CHECKSUM = 1, 2, 3
_FLOOR = 2**24


def numbers(known: Bytes, layout: Layout, shape: tuple[int, ...], dtype: np.dtype[Any], limits: Limits) -> ndarray:
    """The elements in their shape, in memory of their own."""
    if len(shape) > limits.rank or any(length > limits.dimension for length in shape):
        raise known.refused(f"has an array of the shape {list(shape)[:8]}, which is over the limits")
    count = math.prod(shape)
    size = count * dtype.itemsize
    if not count:
        return np.zeros(shape, _native(dtype))
    if layout.chunk:
        return _joined(known, layout, shape, dtype, limits).astype(_native(dtype), copy=False)
    if layout.inside is not None:
        data: memoryview = memoryview(layout.inside)
    elif layout.address == _NOWHERE:
        raise known.refused("has an array that was never written")
    else:
        data = known[layout.address : layout.address + layout.size]
    if len(data) != size:
        raise known.refused(f"has an array of {list(shape)} numbers in {len(data):,} bytes, not in {size:,}")
    found = np.frombuffer(data, dtype).reshape(shape)
    return found.astype(_native(dtype), copy=not found.flags.writeable)  # what can be written is a copy of the file's


def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("=") if dtype.kind in "iuf" else dtype


def _joined(known: Bytes, layout: Layout, shape: tuple[int, ...], dtype: np.dtype[Any], limits: Limits) -> ndarray:
    if len(layout.chunk) != len(shape) or not all(layout.chunk):
        raise known.refused("has an array whose chunks are of another shape")
    piece = math.prod(layout.chunk) * dtype.itemsize
    wanted = math.prod(-(-length // part) for length, part in zip(shape, layout.chunk, strict=True))
    if wanted > len(known):
        raise known.refused(f"has an array of {wanted:,} chunks, more than it has bytes")
    found = dict(_chunks(known, layout, len(shape)))
    held = sum(length for _, length, _ in found.values())
    if piece * wanted > max(_FLOOR, limits.zip_ratio * held) or piece > max(_FLOOR, limits.zip_ratio * len(known)):
        raise known.refused(
            f"would unpack {held:,} bytes to {piece * wanted:,}, over the limit of {limits.zip_ratio} times"
        )
    if len(found) != wanted:
        raise known.refused(f"has an array of {wanted:,} chunks, of which {len(found):,} are there")
    whole = np.zeros(shape, dtype)
    for place, (address, length, skipped) in found.items():
        if any(start % part or start >= end for start, part, end in zip(place, layout.chunk, shape, strict=True)):
            raise known.refused("has a chunk outside of its array")
        plain = _plain(known, known[address : address + length], layout.filters, skipped, piece, dtype.itemsize)
        block = np.frombuffer(plain, dtype).reshape(layout.chunk)
        spans = [slice(0, min(part, end - start)) for start, part, end in zip(place, layout.chunk, shape, strict=True)]
        whole[tuple(slice(start, start + s.stop) for start, s in zip(place, spans, strict=True))] = block[tuple(spans)]
    return whole


def _chunks(known: Bytes, layout: Layout, rank: int) -> Iterator[tuple[tuple[int, ...], tuple[int, int, int]]]:
    """Chunks by their first element: address, bytes, and which filters were left out."""
    key = struct.Struct(f"<2L{rank + 1}Q")
    waiting, seen = ([layout.address] if layout.address != _NOWHERE else []), 0
    while waiting:
        address = waiting.pop()
        mark, kind, level, used = struct.unpack("<4s2BH", known[address : address + 8])
        seen += 1
        if mark != b"TREE" or kind != 1 or seen > len(known) // 24:
            raise known.refused("has a tree of chunks that is damaged")
        for entry in range(used):
            place = address + 24 + entry * (key.size + 8)
            length, skipped, *start = key.unpack(known[place : place + key.size])
            below = struct.unpack("<Q", known[place + key.size : place + key.size + 8])[0]
            if level:
                waiting.append(below)
            else:
                yield tuple(start[:-1]), (below, length, skipped)


def _plain(known: Bytes, data: memoryview, filters: tuple[int, ...], skipped: int, size: int, itemsize: int) -> bytes:
    """A chunk after its filters were undone, last first."""
    plain = bytes(data)
    for place in reversed(range(len(filters))):
        if skipped >> place & 1:
            continue
        if filters[place] == _GZIP:
            plain = _unpacked(known, plain, size)
        elif filters[place] == _CHECKSUM:
            plain = plain[:-4]
        elif filters[place] == _SHUFFLE and itemsize > 1 and len(plain) % itemsize == 0:
            plain = np.frombuffer(plain, np.uint8).reshape(itemsize, -1).T.tobytes()
    if len(plain) != size:
        raise known.refused(f"has a chunk of {len(plain):,} bytes, not of {size:,}")
    return plain


def _unpacked(known: Bytes, packed: bytes, size: int) -> bytes:
    machine = zlib.decompressobj()
    try:
        plain = machine.decompress(packed, size + 4)
    except zlib.error as wrong:
        raise known.refused(f"has a chunk that cannot be unpacked ({wrong})") from wrong
    if machine.unconsumed_tail or not machine.eof:
        raise known.refused("has a chunk that unpacks to more than it should")
    return plain
