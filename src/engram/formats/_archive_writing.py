"""Writing a zip whose members lie as they are: the same bytes for the same members.

The standard library stamps the time on each, cannot align one, and copies what it is given. Members here begin at a
multiple of 64 bytes, so that what maps the file finds numbers where it wants them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from engram.formats._checksum import crc32

__all__ = ["Zip"]

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


class Zip:
    """A zip while it is written, one member behind the other."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._at = 0
        self._placed: list[_Placed] = []

    def add(self, name: str, *pieces: bytes | memoryview) -> None:
        """A member of these pieces; its name and sizes stand before it, in the long form where they must."""
        written = name.encode()
        placed = _Placed(written, _checksum(pieces), sum(map(len, pieces)), self._at)
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
        for piece in pieces:
            self._write(piece)
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


def _checksum(pieces: Sequence[bytes | memoryview]) -> int:
    found = 0
    for piece in pieces:
        found = crc32(piece, found)
    return found


def _entry(placed: _Placed) -> bytes:
    long = [number for number in (placed.size, placed.size, placed.at) if number >= _FULL]
    extra = struct.pack(f"<HH{len(long)}Q", 1, 8 * len(long), *long) if long else b""
    version = _VERSION_64 if long else _VERSION
    size, at = min(placed.size, _FULL), min(placed.at, _FULL)
    numbers = (version, version, _TEXT_NAMES, 0, 0, _FIRST_DAY, placed.checksum, size, size, len(placed.name))
    return _CENTRAL.pack(b"PK\1\2", *numbers, len(extra), 0, 0, 0, 0, at) + placed.name + extra
