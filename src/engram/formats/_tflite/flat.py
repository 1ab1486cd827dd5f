"""Tables of a flatbuffer, each offset checked before it is followed.

A flatbuffer is read in place: a number in the file says where the next thing lies, relative to itself. The library's
own classes believe every such number. Here nothing is read beyond the file, and what has been read is added up: many
offsets that lead to one table make a small file that unpacks without end, so the sum is bounded by the file's length.

Source: the FlatBuffers documentation, "FlatBuffer Internals".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from engram.errors import FormatError

__all__ = ["Source", "Table", "root"]

_NUMBERS = {kind: struct.Struct(f"<{kind}") for kind in "bB?hHiIqQfd"}
_OFFSET, _SIGNED, _SHORT = _NUMBERS["I"], _NUMBERS["i"], _NUMBERS["H"]
_LARGEST_BUFFER = 2**31
_REUSED = 4
"""How often everything in a file may be used over; writers share texts and field lists, and little else."""
_FLOOR = 65_536


class Source:
    """The bytes of a file, and how much of them was read.

    Attributes:
        data: the whole file.
        name: of the file, for errors.
        end: behind the last byte that belongs to anything.
    """

    def __init__(self, data: memoryview, name: str) -> None:
        self.data = data
        self.name = name
        self.end = 0
        self._left = _REUSED * len(data) + _FLOOR

    def refused(self, why: str) -> FormatError:
        """An error that names the file."""
        return FormatError(f"{self.name}: {why}")

    def claim(self, start: int, length: int, what: str) -> None:
        """Say that bytes are read.

        Raises:
            FormatError: they are not all in the file, or it was read too often over.
        """
        if start < 0 or length < 0 or start + length > min(len(self.data), _LARGEST_BUFFER):
            raise self.refused(f"{what} at byte {start:,} lies outside of the file; it is cut off or damaged")
        self._left -= length + 4
        if self._left < 0:
            raise self.refused("its parts are used over and over, as no honest writer does; it would never end")
        self.end = max(self.end, start + length)

    def number(self, kind: struct.Struct, place: int, what: str) -> int:
        """One whole number."""
        self.claim(place, kind.size, what)
        return int(kind.unpack_from(self.data, place)[0])


@dataclass(frozen=True, slots=True)
class Table:
    """A table: fields by slot, each of which may be left out.

    Attributes:
        source: the file.
        place: where the table begins.
        slots: for each field its place in the table, 0 where it is left out.
        size: bytes of the table itself.
        what: it is, for errors (``tensor 3``).
    """

    source: Source
    place: int
    slots: tuple[int, ...]
    size: int
    what: str

    def number(self, slot: int, kind: str, default: float = 0) -> int | float:
        """A number, or its default.

        Args:
            slot: of the field.
            kind: as in ``struct``.
            default: where the field is left out.
        """
        place = self._field(slot, _NUMBERS[kind].size)
        if not place:
            return default
        found: int | float = _NUMBERS[kind].unpack_from(self.source.data, place)[0]
        return found

    def whole(self, slot: int, kind: str, default: int = 0) -> int:
        """A whole number, or its default."""
        return int(self.number(slot, kind, default))

    def table(self, slot: int, what: str) -> Table | None:
        """The table a field leads to; None where it is left out."""
        place = self._target(slot, what)
        return None if place is None else _table(self.source, place, what)

    def tables(self, slot: int, what: str) -> list[Table]:
        """The tables of a list; empty where it is left out."""
        start, count = self._vector(slot, 4, what)
        found = []
        for number in range(count):
            place = start + 4 * number
            target = place + _OFFSET.unpack_from(self.source.data, place)[0]
            found.append(_table(self.source, target, f"{what} {number}"))
        return found

    def count(self, slot: int, what: str) -> int:
        """How many entries a list has, without looking at them."""
        return self._vector(slot, 4, what)[1]

    def numbers(self, slot: int, dtype: str, what: str) -> ndarray:
        """The numbers of a list, in place and read-only; empty where it is left out."""
        kind = np.dtype(dtype)
        start, count = self._vector(slot, kind.itemsize, what)
        return np.frombuffer(self.source.data, kind, count, start) if count else np.empty(0, kind)

    def text(self, slot: int, what: str) -> str:
        """A text; empty where it is left out."""
        start, length = self._vector(slot, 1, what)
        try:
            return bytes(self.source.data[start : start + length]).decode()
        except UnicodeDecodeError as wrong:
            raise self.source.refused(f"{what} is not UTF-8 text; it is damaged") from wrong

    def has(self, slot: int) -> bool:
        """Whether a field is there."""
        return slot < len(self.slots) and self.slots[slot] != 0

    def _field(self, slot: int, size: int) -> int:
        """Where a field lies in the file; 0 where it is left out."""
        if not self.has(slot):
            return 0
        inside = self.slots[slot]
        if inside < 4 or inside + size > self.size:
            raise self.source.refused(f"a field of {self.what} lies outside of it; the file is damaged")
        return self.place + inside

    def _target(self, slot: int, what: str) -> int | None:
        field = self._field(slot, 4)
        if not field:
            return None
        offset = _OFFSET.unpack_from(self.source.data, field)[0]
        if offset < 4:
            raise self.source.refused(f"{what} of {self.what} leads to itself; the file is damaged")
        return int(field + offset)

    def _vector(self, slot: int, size: int, what: str) -> tuple[int, int]:
        place = self._target(slot, what)
        if place is None:
            return 0, 0
        count = self.source.number(_OFFSET, place, what)
        self.source.claim(place + 4, count * size, f"{what} of {self.what} with {count:,} entries")
        return place + 4, count


def root(data: memoryview, name: str, identifier: bytes) -> Table:
    """The outermost table of a file.

    Args:
        data: the whole file.
        name: of the file.
        identifier: the four letters at byte 4.

    Raises:
        FormatError: it does not begin like such a file.
    """
    source = Source(data, name)
    if len(data) < 16 or bytes(data[4:8]) != identifier:
        raise source.refused(f"does not begin like a {identifier.decode()} file, or is cut off")
    return _table(source, source.number(_OFFSET, 0, "the first offset"), "the model")


def _table(source: Source, place: int, what: str) -> Table:
    if place % 4:
        raise source.refused(f"{what} begins at byte {place:,}, where no table may begin; the file is damaged")
    fields = place - source.number(_SIGNED, place, what)
    if fields % 2:
        raise source.refused(f"the field list of {what} begins at byte {fields:,}; the file is damaged")
    source.claim(fields, 4, f"the field list of {what}")
    length = _SHORT.unpack_from(source.data, fields)[0]
    size = _SHORT.unpack_from(source.data, fields + 2)[0]
    if length < 4 or length % 2 or size < 4:
        raise source.refused(f"the field list of {what} has a length of {length}; the file is damaged")
    source.claim(fields, length, f"the field list of {what}")
    source.claim(place, size, what)
    slots = struct.unpack_from(f"<{length // 2 - 2}H", source.data, fields + 4)
    return Table(source, place, slots, size, what)
