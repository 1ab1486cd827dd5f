"""A sorted table of keys and values: the form of a checkpoint's index.

Two variants exist in LevelDB's format that TensorFlow never writes (bloom filters, comparators of one's own) and that
are therefore not here. Each block ends with its kind of packing and a checksum; a table whose checksum is wrong is
refused.

Source: google/leveldb, doc/table_format.md; tensorflow/core/lib/io/table.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from engram.errors import FormatError
from engram.formats._tensorflow.crc32c import masked
from engram.formats._tensorflow.snappy import unpacked

__all__ = ["entries", "table"]

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_TRAILER = 5
_RESTART = 16
_BLOCK = 256 * 1024
_LARGEST_BLOCK = 1 << 28


def entries(data: bytes, where: str) -> dict[bytes, bytes]:
    """All keys and values of a table.

    Args:
        data: of the whole file.
        where: what to call it in an error.

    Raises:
        FormatError: it is no such table, damaged, or its keys are not in order.
    """
    if len(data) < _FOOTER or struct.unpack("<Q", data[-8:])[0] != _MAGIC:
        raise FormatError(f"{where} does not end as an index does; it is cut off or something else")
    footer = data[-_FOOTER:]
    at = 0
    for _ in range(2):
        _, at = _varint(footer, at, where)
    offset, at = _varint(footer, at, where)
    size, at = _varint(footer, at, where)
    found: dict[bytes, bytes] = {}
    last = b""
    budget = len(data)
    for _, handle in _pairs(_block(data, offset, size, where), where):
        start, place = _varint(handle, 0, where)
        length, _ = _varint(handle, place, where)
        budget -= length + _TRAILER
        if budget < 0:
            raise FormatError(f"{where} lists the same block more than once; it is damaged")
        for key, value in _pairs(_block(data, start, length, where), where):
            if key <= last and found:
                raise FormatError(f"{where} has its keys out of order at {key[:60]!r}; it is damaged")
            found[key] = value
            last = key
    return found


def table(content: Mapping[bytes, bytes]) -> bytes:
    """A table with these keys and values, unpacked blocks, as TensorFlow writes it."""
    made = bytearray()
    index: list[tuple[bytes, bytes]] = []
    pending: list[tuple[bytes, bytes]] = []
    size = 0
    for key in sorted(content):
        pending.append((key, content[key]))
        size += len(key) + len(content[key]) + 8
        if size >= _BLOCK:
            index.append((key, _append(made, pending)))
            pending, size = [], 0
    if pending or not index:
        index.append((pending[-1][0] if pending else b"", _append(made, pending)))
    meta = _append(made, [])
    handles = meta + _append(made, index)
    return bytes(made) + handles.ljust(_FOOTER - 8, b"\0") + struct.pack("<Q", _MAGIC)


def _block(data: bytes, offset: int, size: int, where: str) -> bytes:
    end = offset + size
    if end + _TRAILER > len(data) - _FOOTER:
        raise FormatError(f"{where}: a block should end at byte {end:,}, but the file has {len(data):,}; it is cut off")
    kind = data[end]
    if masked(data[offset : end + 1]) != struct.unpack("<I", data[end + 1 : end + _TRAILER])[0]:
        raise FormatError(f"{where}: the block at byte {offset:,} is damaged: its bytes are not those of its checksum")
    if kind not in {0, 1}:
        raise FormatError(f"{where}: a block is packed in way {kind}; only plain blocks and Snappy are read")
    plain = data[offset:end]
    return unpacked(plain, min(_LARGEST_BLOCK, 100 * len(plain) + 1024)) if kind else plain


def _pairs(block: bytes, where: str) -> Iterator[tuple[bytes, bytes]]:
    """Keys share their beginnings with the key before."""
    if len(block) < 4:
        raise FormatError(f"{where}: a block of {len(block)} bytes is too short; it is damaged")
    restarts = struct.unpack("<I", block[-4:])[0]
    end = len(block) - 4 - 4 * restarts
    if end < 0:
        raise FormatError(f"{where}: a block announces {restarts:,} restarts, more than it holds; it is damaged")
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at, where)
        fresh, at = _varint(block, at, where)
        length, at = _varint(block, at, where)
        if shared > len(key) or at + fresh + length > end:
            raise FormatError(f"{where}: an entry reaches beyond its block; it is damaged")
        key = key[:shared] + block[at : at + fresh]
        at += fresh
        yield key, block[at : at + length]
        at += length


def _append(made: bytearray, pairs: list[tuple[bytes, bytes]]) -> bytes:
    """Add a block and return the handle that finds it."""
    block, restarts, before = bytearray(), [0], b""
    for number, (key, value) in enumerate(pairs):
        shared = 0
        if number % _RESTART == 0:
            if number:
                restarts.append(len(block))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        block += _number(shared) + _number(len(key) - shared) + _number(len(value)) + key[shared:] + value
        before = key
    block += struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))
    handle = _number(len(made)) + _number(len(block))
    block += b"\0"
    made += block + struct.pack("<I", masked(bytes(block)))
    return handle


def _varint(data: bytes, at: int, where: str) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
    raise FormatError(f"{where}: a number at byte {at:,} does not end; it is damaged")


def _number(value: int) -> bytes:
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)
