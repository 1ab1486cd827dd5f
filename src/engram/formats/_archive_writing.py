"""Writing a zip whose members lie as they are: the same bytes for the same members.

The standard library stamps the time on each, cannot align one, and copies what it is given. Members here begin at a
multiple of 64 bytes, so that what maps the file finds numbers where it wants them. One that another library writes
(HDF5) is written in its place, and its name and checksum before it once it is whole: made elsewhere first, a network
would lie in memory or on the disk twice.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, cast

from engram.formats._checksum import crc32

__all__ = ["Zip"]

_ALIGNMENT: Final = 64
_PIECE: Final = 2**20
_LOCAL = struct.Struct("<4s5H3L2H")
_LONG = struct.Struct("<HHQQ")
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
        placed = _Placed(name.encode(), _checksum(pieces), sum(map(len, pieces)), self._at)
        self._write(_header(placed, _room(placed, long=placed.size >= _FULL)))
        for piece in pieces:
            self._write(piece)
        self._placed.append(placed)

    def add_by(self, name: str, write: Callable[[BinaryIO], None]) -> None:
        """A member that a library writes as it likes, jumping back and forth; the file must be open for reading, too.

        Args:
            name: of the member.
            write: is given a file that is empty and is the member.
        """
        room = _room(_Placed(name.encode(), 0, 0, self._at), long=True)
        inside = _Inside(self._file, self._at + room)
        write(cast("BinaryIO", inside))
        placed = _Placed(name.encode(), inside.checksum(), inside.size, self._at)
        self._file.seek(placed.at)
        self._write(_header(placed, room))
        self._at = self._file.seek(placed.size, os.SEEK_CUR)
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


class _Inside(io.RawIOBase):
    """The end of a file, from a place on, as a file of its own."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file, self._start, self._at = file, start, 0
        self.size = 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - anything that holds bytes
        room = memoryview(buffer).cast("B")[: max(self.size - self._at, 0)]
        self._file.seek(self._start + self._at)
        found = self._file.read(len(room))
        room[: len(found)] = found
        self._at += len(found)
        return len(found)

    def write(self, content: Any) -> int:  # noqa: ANN401 - anything that holds bytes
        self._file.seek(self._start + self._at)
        self._at += self._file.write(content)
        self.size = max(self.size, self._at)
        return memoryview(content).nbytes

    def truncate(self, size: int | None = None) -> int:
        self.size = self._at if size is None else size
        self._file.truncate(self._start + self.size)
        return self.size

    def checksum(self) -> int:
        """Of all that was written, read again a piece at a time."""
        found, piece = 0, memoryview(bytearray(_PIECE))
        self.seek(0)
        while count := self.readinto(piece):
            found = crc32(piece[:count], found)
        return found


def _room(placed: _Placed, *, long: bool) -> int:
    """Bytes of a member's header, so that the member begins where it should."""
    bare = _LOCAL.size + len(placed.name) + (_LONG.size if long else 0) + 4
    return bare + -(placed.at + bare) % _ALIGNMENT


def _header(placed: _Placed, room: int) -> bytes:
    """What stands before a member, filled up to this many bytes."""
    long = _LONG.pack(1, 16, placed.size, placed.size) if placed.size >= _FULL else b""
    padding = room - _LOCAL.size - len(placed.name) - len(long) - 4
    extra = long + struct.pack("<2sH", b"FB", padding) + b"Z" * padding
    size = min(placed.size, _FULL)
    version = _VERSION_64 if long else _VERSION
    head = (b"PK\3\4", version, _TEXT_NAMES, 0, 0, _FIRST_DAY, placed.checksum, size, size)
    return _LOCAL.pack(*head, len(placed.name), len(extra)) + placed.name + extra


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
