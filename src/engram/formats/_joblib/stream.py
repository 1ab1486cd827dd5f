"""The bytes of a joblib file without the compression around them.

joblib knows five ways to compress; each is known by its first bytes. What a file may unpack to is bounded by what it
is, so that a small one cannot take all memory.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from engram.errors import FormatError
from engram.formats import _files
from engram.records import Limits

__all__ = ["LZ4", "begins", "content", "is_packed"]

_MEMORY: Final = 2**28
_FLOOR: Final = 2**24
"""Bytes that a file may always unpack to, however small it is."""
_STEP: Final = 2**22
LZ4: Final = b"\x04\x22\x4d\x18"
_FAULTS = (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error)


class _Unpacking(Protocol):
    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes, most: int, /) -> bytes:
        """At most so many bytes more."""
        ...


class _Zlib:
    """zlib's machine with the manners of the other two: it keeps what it was not yet asked for."""

    def __init__(self, window: int) -> None:
        self._machine = zlib.decompressobj(window)

    @property
    def eof(self) -> bool:
        """Whether the end was reached."""
        return self._machine.eof

    @property
    def unused_data(self) -> bytes:
        """What lies behind the end."""
        return self._machine.unused_data

    def decompress(self, data: bytes, most: int, /) -> bytes:
        """At most so many bytes more."""
        return self._machine.decompress(self._machine.unconsumed_tail + data, most)


_WAYS: Final[Mapping[bytes, Callable[[], Any]]] = {
    b"\x1f\x8b": lambda: _Zlib(31),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _MEMORY),
    b"\x5d\x00": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, _MEMORY),
    **{bytes((0x78, level)): lambda: _Zlib(15) for level in (0x01, 0x5E, 0x9C, 0xDA)},
}


def is_packed(head: bytes) -> bool:
    """Whether bytes begin as one of the ways to compress does."""
    return head.startswith((LZ4, *_WAYS))


def begins(head: bytes) -> bytes:
    """How the content begins that a compressed head holds; empty if it is not compressed, or damaged."""
    machine = _machine(head)
    try:
        return machine.decompress(head, _FLOOR) if machine is not None else b""
    except _FAULTS:
        return b""


def content(path: Path, limits: Limits) -> memoryview:
    """The bytes of a file, unpacked if they are packed, in memory of their own.

    Raises:
        FormatError: it is damaged, has bytes behind its end, or would unpack to too much.
    """
    with path.open("rb") as file:
        packed = _files.portion(file.fileno(), 0, path.stat().st_size).data
    head = bytes(packed[:16])
    if head.startswith(LZ4):
        raise FormatError(f"{path.name} is compressed by lz4, which is not read; dump it with compress='zlib'")
    machine = _machine(head)
    return packed if machine is None else _unpacked(machine, packed, path.name, limits)


def _machine(head: bytes) -> _Unpacking | None:
    way = next((way for start, way in _WAYS.items() if head.startswith(start)), None)
    return way() if way is not None else None


def _unpacked(machine: _Unpacking, packed: memoryview, where: str, limits: Limits) -> memoryview:
    bound = max(_FLOOR, limits.zip_ratio * len(packed))
    made, at = bytearray(), 0
    while not machine.eof:
        piece = bytes(packed[at : at + _STEP])
        try:
            found = machine.decompress(piece, _STEP)
        except _FAULTS as wrong:
            raise FormatError(f"{where} cannot be unpacked: {wrong}") from wrong
        if not piece and not found and not machine.eof:
            raise FormatError(f"{where} is cut off: its compressed content has no end")
        made += found
        at += len(piece)
        if len(made) > bound:
            raise FormatError(f"{where} unpacks to over {limits.zip_ratio} times its size, which is the limit")
    if machine.unused_data or at < len(packed):
        raise FormatError(f"{where} has bytes behind the end of its compressed content, which belong to nothing")
    return memoryview(made)
