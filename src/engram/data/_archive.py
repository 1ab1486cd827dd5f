"""Where images lie: a folder, or a zip that is read where it is and never unpacked.

The names in a zip are data: they say what an image shows and are never used as paths. The standard library's reader
takes 10 µs an image for checks that can be done once, so members are read from the mapped file by the central
directory, after the local header has been compared with it.
"""

from __future__ import annotations

import mmap
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from engram.errors import DataError

__all__ = ["Archive", "Folder", "Shelf", "open_place"]

_MEMBERS = 10_000_000
_MEMBER_BYTES = 256 << 20
_LOCAL = struct.Struct("<4s5H3L2H")
_ENCRYPTED = 0x1
_UTF8 = 0x800


class Shelf(Protocol):
    """Named bytes."""

    def names(self) -> list[str]:
        """Every file's name, sorted, with ``/`` between folders."""
        ...

    def size(self, name: str) -> int:
        """Bytes of the file as it is stored."""
        ...

    def read(self, name: str) -> bytes:
        """The bytes of one file; OSError where they are damaged."""
        ...


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of a folder."""

    root: Path

    def names(self) -> list[str]:
        """Every file's name, sorted, with ``/`` between folders."""
        found = [
            Path(folder, file).relative_to(self.root).as_posix()
            for folder, _, files in os.walk(self.root)
            for file in files
        ]
        return sorted(found)

    def size(self, name: str) -> int:
        """Bytes of the file."""
        return (self.root / name).stat().st_size

    def read(self, name: str) -> bytes:
        """The bytes of one file; OSError where they cannot be read."""
        path = self.root / name
        if not path.is_file() or path.stat().st_size > _MEMBER_BYTES:
            raise OSError(f"no regular file of at most {_MEMBER_BYTES >> 20} MB")
        return path.read_bytes()


@dataclass(frozen=True, slots=True)
class Archive:
    """The members of a zip."""

    path: Path
    members: Mapping[str, zipfile.ZipInfo]
    content: mmap.mmap

    def names(self) -> list[str]:
        """Every member's name, sorted."""
        return sorted(self.members)

    def size(self, name: str) -> int:
        """Bytes of the member, packed."""
        return self.members[name].compress_size

    def read(self, name: str) -> bytes:
        """The bytes of one member; OSError where they are damaged or not what the directory says."""
        member = self.members[name]
        if member.file_size > _MEMBER_BYTES or member.flag_bits & _ENCRYPTED:
            raise OSError(f"it is encrypted or larger than {_MEMBER_BYTES >> 20} MB")
        packed = self._packed(member)
        if member.compress_type == zipfile.ZIP_STORED:
            plain = packed
        elif member.compress_type == zipfile.ZIP_DEFLATED:
            plain = _inflated(packed, member.file_size)
        else:
            raise OSError(f"it is packed by method {member.compress_type}, only stored and deflated are read")
        if len(plain) != member.file_size or zlib.crc32(plain) != member.CRC:
            raise OSError("its bytes do not match its checksum")
        return plain

    def _packed(self, member: zipfile.ZipInfo) -> bytes:
        start = member.header_offset
        head = self.content[start : start + _LOCAL.size]
        if len(head) < _LOCAL.size:
            raise OSError("its header lies outside the zip")
        mark, _, flags, method, _, _, _, _, _, name, extra = _LOCAL.unpack(head)
        start += _LOCAL.size
        written = self.content[start : start + name].decode("utf-8" if flags & _UTF8 else "cp437", "replace")
        if mark != b"PK\3\4" or method != member.compress_type or written != member.orig_filename:
            raise OSError("its local header differs from the directory of the zip")
        start += name + extra
        return self.content[start : start + member.compress_size]


def open_place(path: Path) -> Folder | Archive:
    """The folder or zip at this path.

    Raises:
        DataError: it is neither, the zip is damaged, or it has a name twice or too many.
    """
    if path.is_dir():
        return Folder(path)
    try:
        with zipfile.ZipFile(path) as directory:
            members = [member for member in directory.infolist() if not member.is_dir()]
        with path.open("rb") as source:
            content = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as wrong:
        raise DataError(f"{path.name} is no folder and no readable zip of images ({wrong}); make it again") from None
    if len(members) > _MEMBERS:
        raise DataError(f"{path.name} has {len(members):,} files, more than {_MEMBERS:,}; divide it")
    found = {member.filename: member for member in members}
    if len(found) < len(members):
        seen: set[str] = set()
        twice = next(m.filename for m in members if m.filename in seen or seen.add(m.filename))  # type: ignore[func-returns-value]
        raise DataError(f"{path.name} has {twice!r} more than once; make the zip again with every name once")
    return Archive(path, found, content)


def _inflated(packed: bytes, size: int) -> bytes:
    try:
        return zlib.decompressobj(-15).decompress(packed, size + 1)
    except zlib.error as wrong:
        raise OSError(f"it cannot be unpacked ({wrong})") from None
