"""A zip read strictly: one file that two programs could take for two things is none.

Half of all model formats are zips. The standard library's reader is lenient by design: it looks for the directory from
the end, forgives bytes before and after it, takes the last of two members with one name, and believes the directory
where a member's own header says otherwise. Here members must fill the file from its first byte to the directory, once
each, and both headers must agree. Names inside are data; nothing is ever unpacked to them.
"""

from __future__ import annotations

import mmap
import stat
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy import ndarray

from engram.errors import FormatError
from engram.formats import _files
from engram.formats._checksum import crc32
from engram.records import Limits

__all__ = ["MAGIC", "Archive", "Member", "opened"]

MAGIC = b"PK\3\4"

_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _DESCRIPTOR = 0x1, 0x8
_FULL_16, _FULL_32 = 0xFFFF, 0xFFFFFFFF
_UNIX = 3
_FLOOR = 2**24
"""Bytes that a member may always unpack to, however small it is packed."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive, as both of its headers tell of it.

    Attributes:
        name: with ``/`` between folders.
        method: 0 stored, 8 deflated.
        checksum: CRC-32 of the plain bytes.
        packed: bytes in the archive.
        size: bytes unpacked.
        start: where its bytes begin.
    """

    name: str
    method: int
    checksum: int
    packed: int
    size: int
    start: int


class Archive:
    """The members of a zip, in the order in which they lie.

    Attributes:
        path: of the file.
        members: by name.
    """

    def __init__(
        self, path: Path, opened: tuple[int, mmap.mmap], members: Mapping[str, Member], limits: Limits
    ) -> None:
        self.path = path
        self.members = members
        self._number, self._content = opened
        self._limits = limits

    @property
    def names(self) -> tuple[str, ...]:
        """Every member's name."""
        return tuple(self.members)

    def __contains__(self, name: str) -> bool:
        return name in self.members

    def size(self, name: str) -> int:
        """Bytes of a member, unpacked.

        Raises:
            FormatError: there is no such member.
        """
        return self._member(name).size

    def read(self, name: str, largest: int | None = None) -> bytes:
        """The bytes of a member.

        Args:
            name: of the member.
            largest: the most bytes that are accepted; None for what the limits say of a JSON document.

        Raises:
            FormatError: it is not there, too large, a bomb, or its bytes are not those of its checksum.
        """
        member = self._member(name)
        bound = self._limits.config_bytes if largest is None else largest
        if member.size > bound:
            raise self._refused(name, f"has {member.size:,} bytes, over the limit of {bound:,}")
        packed = self._content[member.start : member.start + member.packed]
        plain = packed if member.method == _STORED else self._inflated(member, packed)
        return bytes(self._sound(member, plain))

    def view(self, name: str) -> memoryview:
        """The bytes of a member that is stored as it is, in place and without a copy; see ``read`` for others.

        Raises:
            FormatError: it is not there, is packed, or its bytes are not those of its checksum.
        """
        member = self._member(name)
        if member.method != _STORED:
            raise self._refused(name, "is packed where it should be stored as it is")
        whole = memoryview(self._content)[member.start : member.start + member.size]
        return memoryview(self._sound(member, whole))

    def copy(self, name: str) -> ndarray:
        """The bytes of a member that is stored as it is, (size,) uint8, in memory of their own.

        A view is cheaper, but a program that writes the file again in its place ends the process that looks at it.
        Only inside of ``opened``.

        Raises:
            FormatError: it is not there, is packed, or its bytes are not those of its checksum.
        """
        member = self._member(name)
        if member.method != _STORED:
            raise self._refused(name, "is packed where it should be stored as it is")
        checksum = 0

        def count(piece: memoryview) -> None:
            nonlocal checksum
            checksum = crc32(piece, checksum)

        plain = _files.portion(self._number, member.start, member.size, count)
        if checksum != member.checksum:
            raise self._damaged(member)
        return plain

    def span(self, name: str) -> _files.Span | memoryview:
        """The bytes of a member, read as they are asked for where it is stored as it is. Only inside of ``opened``.

        Raises:
            FormatError: it is not there, a bomb, or its bytes are not those of its checksum.
        """
        member = self._member(name)
        if member.method != _STORED:
            return memoryview(self.read(name, member.size))
        found, checksum = _files.Span(self._number, member.start, member.size), 0
        for piece in found.pieces():
            checksum = crc32(piece, checksum)
        if checksum != member.checksum:
            raise self._damaged(member)
        return found

    def plain(self, name: str) -> ndarray:
        """The bytes of a member however it is kept, (size,) uint8, in memory of their own; see ``copy``.

        Raises:
            FormatError: it is not there, a bomb, or its bytes are not those of its checksum.
        """
        member = self._member(name)
        if member.method == _STORED:
            return self.copy(name)
        return np.frombuffer(self.read(name, member.size), np.uint8)

    def _member(self, name: str) -> Member:
        found = self.members.get(name)
        if found is None:
            raise FormatError(f"{self.path.name} holds no {name!r}; it is not whole, or of another format")
        return found

    def _inflated(self, member: Member, packed: bytes) -> bytes:
        machine = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            plain = machine.decompress(packed, member.size + 1)
        except zlib.error as wrong:
            raise self._refused(member.name, f"cannot be unpacked ({wrong})") from wrong
        if len(plain) != member.size or machine.unconsumed_tail or machine.unused_data or not machine.eof:
            raise self._refused(member.name, f"does not unpack to the {member.size:,} bytes that were announced")
        return plain

    def _sound(self, member: Member, plain: bytes | memoryview) -> bytes | memoryview:
        if crc32(plain) != member.checksum:
            raise self._damaged(member)
        return plain

    def _damaged(self, member: Member) -> FormatError:
        return self._refused(member.name, "is damaged: its bytes are not those of its checksum")

    def _refused(self, name: str, why: str) -> FormatError:
        return FormatError(f"{self.path.name}: the member {name!r} {why}")


@contextmanager
def opened(path: Path, limits: Limits) -> Iterator[Archive]:
    """A zip, checked from its first byte to its last; views of it stay good after the block.

    Raises:
        FormatError: it is no zip, or one that two programs could read differently.
    """
    if path.stat().st_size < _END.size:
        raise FormatError(f"{path.name} is too short for a zip; it is perhaps cut off")
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            members = _members(path.name, content, limits)
        except (struct.error, UnicodeDecodeError) as wrong:
            raise FormatError(f"{path.name} is no zip that can be read: {wrong}") from wrong
        yield Archive(path, (file.fileno(), content), members, limits)


def _members(where: str, content: mmap.mmap, limits: Limits) -> dict[str, Member]:
    """Every member by name; nothing lies before, between or behind them."""
    count, size, start = _directory(where, content)
    if count > limits.zip_members:
        raise FormatError(f"{where} has {count:,} members, over the limit of {limits.zip_members:,}")
    found: dict[str, Member] = {}
    place, spans = start, []
    for _ in range(count):
        place, name, fields = _entry(where, content, place, start + size)
        member, begin, end = _local(where, content, name, fields)
        spans.append((begin, end, name))
        if name.endswith("/") and not member.size:
            continue
        if name in found:
            raise FormatError(f"{where} has the member {name!r} twice; it could be read in two ways")
        _bounded(where, member, limits)
        found[name] = member
    if place != start + size:
        raise FormatError(f"{where} has a directory of another length than it says")
    _gapless(where, spans, start)
    _files.folded(found)
    return found


def _directory(where: str, content: mmap.mmap) -> tuple[int, int, int]:
    """How many members there are, and the length and the place of the directory; it must reach to the end."""
    end = len(content) - _END.size
    mark, disk, first, here, count, size, start, comment = _END.unpack_from(content, end)
    if mark != b"PK\5\6" or comment:
        raise FormatError(f"{where} does not end as a zip does; it is cut off, or bytes follow after its end")
    if disk or first or here != count:
        raise FormatError(f"{where} is one part of a zip in several parts, which is not read")
    if count == _FULL_16 or _FULL_32 in {size, start} or content[end - _LOCATOR.size :][:4] == b"PK\6\7":
        return _directory_64(where, content, end)
    if start + size != end:
        raise FormatError(f"{where} has bytes before, between or behind its parts; it could be read in two ways")
    return count, size, start


def _directory_64(where: str, content: mmap.mmap, end: int) -> tuple[int, int, int]:
    if end < _LOCATOR.size + _END_64.size:
        raise FormatError(f"{where} lacks the long form of its directory's place")
    mark, _, place, disks = _LOCATOR.unpack_from(content, end - _LOCATOR.size)
    if mark != b"PK\6\7" or disks > 1 or place != end - _LOCATOR.size - _END_64.size:
        raise FormatError(f"{where} has its directory's place in a form that could be read in two ways")
    mark, length, _, _, disk, first, here, count, size, start = _END_64.unpack_from(content, place)
    if mark != b"PK\6\6" or length != _END_64.size - 12 or disk or first or here != count or start + size != place:
        raise FormatError(f"{where} has bytes before, between or behind its parts; it could be read in two ways")
    return count, size, start


def _entry(where: str, content: mmap.mmap, place: int, end: int) -> tuple[int, str, tuple[int, ...]]:
    """The next entry of the directory: where it ends, its name, and (flags, method, checksum, packed, size, place)."""
    if place + _CENTRAL.size > end:
        raise FormatError(f"{where} has a directory that is cut off")
    mark, made, _, flags, method, _, _, checksum, packed, size, *rest = _CENTRAL.unpack_from(content, place)
    name_length, extra, comment, disk, _, mode, offset = rest
    place += _CENTRAL.size
    if mark != b"PK\1\2" or disk or comment or place + name_length + extra > end:
        raise FormatError(f"{where} has a directory that is damaged")
    name = _name(where, content[place : place + name_length])
    if made >> 8 == _UNIX and stat.S_ISLNK(mode >> 16):
        raise FormatError(f"{where}: the member {name!r} is a link, which is not followed")
    place += name_length
    size, packed, offset = _long(where, name, content[place : place + extra], [size, packed, offset])
    return place + extra, name, (flags, method, checksum, packed, size, offset)


def _name(where: str, written: bytes) -> str:
    name = written.decode("utf-8")
    parts = name.removesuffix("/").split("/")
    if "\\" in name or "\0" in name or name.startswith("/") or any(part in {"", ".", ".."} for part in parts):
        raise FormatError(f"{where}: the member {name!r} has no plain name inside the archive")
    return name


def _long(where: str, name: str, extra: bytes, short: list[int]) -> list[int]:
    """Numbers that did not fit into 32 bits stand in an extra field, only those and in this order."""
    place, found = 0, None
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, place)
        if kind == 1:
            if found is not None:
                raise FormatError(f"{where}: the member {name!r} states its size twice")
            found = extra[place + 4 : place + 4 + length]
        place += 4 + length
    full = [number == _FULL_32 for number in short]
    if not any(full):
        return short
    wanted = 8 * sum(full)
    if found is None or len(found) < wanted:
        raise FormatError(f"{where}: the member {name!r} does not state its size")
    long = iter(struct.unpack_from(f"<{sum(full)}Q", found))
    return [next(long) if is_full else number for number, is_full in zip(short, full, strict=True)]


def _local(where: str, content: mmap.mmap, name: str, fields: tuple[int, ...]) -> tuple[Member, int, int]:
    """A member after its own header was compared with the directory; where it begins and ends, descriptor included."""
    flags, method, checksum, packed, size, begin = fields
    mark, _, own_flags, own_method, _, _, own_checksum, own_packed, own_size, length, extra = _LOCAL.unpack_from(
        content, begin
    )
    start = begin + _LOCAL.size + length + extra
    end = start + packed
    written = content[begin + _LOCAL.size : begin + _LOCAL.size + length]
    own = content[begin + _LOCAL.size + length : start]
    if mark != MAGIC or own_flags != flags or own_method != method or written != name.encode() or end > len(content):
        raise FormatError(f"{where}: the header of the member {name!r} is not that of the directory")
    if flags & _ENCRYPTED or method not in {_STORED, _DEFLATED}:
        raise FormatError(f"{where}: the member {name!r} is encrypted or packed by method {method}, not 0 or 8")
    later = bool(flags & _DESCRIPTOR)
    own_size, own_packed = _long(where, name, own, [own_size, own_packed])
    said = (own_checksum, own_packed, own_size)
    if said != (checksum, packed, size) and not (later and not any(said)):
        raise FormatError(f"{where}: the header of the member {name!r} is not that of the directory")
    if method == _STORED and packed != size:
        raise FormatError(f"{where}: the member {name!r} is stored as it is, but has two sizes")
    if later:
        end = _described(where, content, name, end, (checksum, packed, size))
    return Member(name, method, checksum, packed, size, start), begin, end


def _described(where: str, content: mmap.mmap, name: str, place: int, said: tuple[int, int, int]) -> int:
    """Where the descriptor behind a member ends: perhaps a mark, then checksum and both sizes, short or long."""
    if content[place : place + 4] == b"PK\7\10":
        place += 4
    for form in (struct.Struct("<LQQ"), struct.Struct("<LLL")):
        if place + form.size <= len(content) and form.unpack_from(content, place) == said:
            return place + form.size
    raise FormatError(f"{where}: what stands behind the member {name!r} is not what the directory says of it")


def _bounded(where: str, member: Member, limits: Limits) -> None:
    if member.size > max(_FLOOR, limits.zip_ratio * member.packed):
        raise FormatError(
            f"{where}: the member {member.name!r} would unpack {member.packed:,} bytes to {member.size:,}, "
            f"over the limit of {limits.zip_ratio} times"
        )


def _gapless(where: str, spans: list[tuple[int, int, str]], start: int) -> None:
    place = 0
    for begin, end, name in sorted(spans):
        if begin != place:
            raise FormatError(f"{where} has bytes before the member {name!r} that belong to nothing")
        place = end
    if place != start:
        raise FormatError(f"{where} has bytes before its directory that belong to nothing")
