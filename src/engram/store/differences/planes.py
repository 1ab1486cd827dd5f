"""Numbers as planes of their bytes, packed: alone, or as how far each moved from that of a base.

Of floats that moved a little the bits, read as integers, are close to each other. Sorted by the exponent of the base,
which the reader has too, differences of one magnitude stand together, so that their upper bytes hardly vary. Which of
the two ways is shorter is tried on a sample: a momentum, say, has nothing in common with what it was an epoch ago.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray

__all__ = ["Segment", "pack", "unpack"]

_LENGTH = struct.Struct("<I")
_SAMPLE = 2**16
"""Bytes by which one way of packing is chosen."""

_WORTH = 0.99
"""A plane stays as it is unless it becomes smaller than this part of itself."""

_POSITION = 24
"""Bits for the position of a number among those that are packed together."""

_ALONE, _MOVED, _SORTED = range(3)


@dataclass(frozen=True, slots=True)
class Segment:
    """Neighboring bytes that hold numbers of one type.

    Attributes:
        width: bytes of a number.
        exponent: its lowest bit that belongs to the exponent; 0 where it has none.
        size: bytes of the segment, a multiple of the width.
    """

    width: int
    exponent: int
    size: int


def pack(new: ndarray, old: ndarray | None, segment: Segment) -> bytes:
    """Bytes of numbers as the way they are packed, the length of each plane, and the planes.

    Args:
        new: the bytes, (bytes,), at most 2^24 numbers.
        old: those of the base at the same place; None where there is none.
        segment: what kind of numbers they are.
    """
    kind = f"<u{segment.width}"
    numbers = new.view(kind)
    if old is None:
        return _planes(_ALONE, numbers)
    base, way = old.view(kind), _SORTED if segment.exponent else _MOVED
    middle = max(numbers.size - _SAMPLE // segment.width, 0) // 2
    part = slice(middle, middle + _SAMPLE // segment.width)
    there = _planes(way, _moves(numbers[part], base[part], segment))
    alone = _planes(_ALONE, numbers[part])
    if len(alone) <= len(there):
        return alone if part.stop >= numbers.size else _planes(_ALONE, numbers)
    return there if part.stop >= numbers.size else _planes(way, _moves(numbers, base, segment))


def _moves(numbers: ndarray, base: ndarray, segment: Segment) -> ndarray:
    """How far each number moved, the sign in the lowest bit, in the order of the exponents of the base."""
    moved = _signed(numbers - base)
    folded: ndarray = ((moved << 1) ^ (moved >> (8 * segment.width - 1))).view(numbers.dtype)
    ordered: ndarray = folded[_order(base, segment)] if segment.exponent else folded
    return ordered


def _moved(folded: ndarray, base: ndarray, segment: Segment) -> ndarray:
    """What ``_moves`` was given as the numbers."""
    one = folded.dtype.type(1)
    moved: ndarray = (folded >> one) ^ np.negative(folded & one)
    if segment.exponent:
        back = np.empty_like(moved)
        back[_order(base, segment)] = moved
        moved = back
    moved += base
    return moved


def _order(base: ndarray, segment: Segment) -> ndarray:
    """The positions of numbers by their exponents and, where these are equal, in the order in which they stand.

    Exponent and position are sorted as one number: numpy sorts such numbers several at a time, positions alone not.
    """
    exponents = (base >> base.dtype.type(segment.exponent)).astype(np.uint8).astype(np.uint32)
    both: ndarray = (exponents << np.uint32(_POSITION)) | np.arange(base.size, dtype=np.uint32)
    both.sort()
    return (both & np.uint32((1 << _POSITION) - 1)).astype(np.intp)


def _signed(numbers: ndarray) -> ndarray:
    signed: ndarray = numbers.view(f"<i{numbers.itemsize}")
    return signed


def _planes(way: int, numbers: ndarray) -> bytes:
    codec = _codec()
    lengths, planes = [], []
    for row in np.ascontiguousarray(numbers.reshape(-1, 1).view(np.uint8).T):
        small = codec.compress(row.data, asbytes=True)
        kept = small if len(small) < _WORTH * row.size else row.data
        lengths.append(_LENGTH.pack(len(kept)))
        planes.append(kept)
    return b"".join([bytes([way]), *lengths, *planes])


def unpack(view: memoryview, place: int, size: int, segment: Segment, old: ndarray | None) -> tuple[ndarray, int]:
    """The bytes that ``pack`` was given, and where the next begin.

    Args:
        view: what holds them.
        place: where they begin.
        size: how many come out.
        segment: as for ``pack``.
        old: as for ``pack``.

    Raises:
        ValueError, OSError, struct.error: this is nothing that ``pack`` made.
    """
    way, count = view[place] if place < len(view) else -1, size // segment.width
    if way not in ({_ALONE} if old is None else {_ALONE, _MOVED, _SORTED}):
        raise ValueError(f"{way} is no way of packing")
    lengths = struct.unpack_from(f"<{segment.width}I", view, place + 1)
    place += 1 + _LENGTH.size * segment.width
    if any(length > count for length in lengths) or sum(lengths) > len(view) - place:
        raise ValueError("a plane is longer than it can be")
    planes = np.empty((segment.width, count), np.uint8)
    for row, length in zip(planes, lengths, strict=True):
        plane = view[place : place + length]
        row[:] = np.frombuffer(plane if length == count else _codec().decompress(plane, count), np.uint8)
        place += length
    numbers = np.ascontiguousarray(planes.T).view(f"<u{segment.width}").reshape(-1)
    if way != _ALONE and old is not None:
        flat = segment if way == _SORTED else Segment(segment.width, 0, segment.size)
        numbers = _moved(numbers, old.view(numbers.dtype), flat)
    return numbers.view(np.uint8), place


def _codec() -> Any:  # noqa: ANN401 - pyarrow has no types
    import pyarrow as pa  # only who reads or writes old checkpoints waits for it

    return pa.Codec("zstd", compression_level=1)
