"""Unpacking Snappy, which blocks of a checkpoint's index may be packed with.

Source: google/snappy, format_description.txt.
"""

from __future__ import annotations

from engram.errors import FormatError

__all__ = ["unpacked"]


def unpacked(data: bytes, largest: int) -> bytes:
    """The plain bytes of a Snappy block.

    Args:
        data: packed, with the length in front.
        largest: the most bytes that are accepted.

    Raises:
        FormatError: it is damaged or unpacks to more.
    """
    length, at = _length(data)
    if length > largest:
        raise FormatError(f"a packed block unpacks to {length:,} bytes, but at most {largest:,} are accepted")
    made = bytearray()
    while at < len(data):
        tag = data[at]
        count, back, at = _literal(data, at) if tag & 3 == 0 else _copy(data, at)
        if back == 0:
            piece = data[at : at + count]
            at += count
        else:
            if back > len(made):
                raise FormatError("a packed block refers to bytes before its beginning; it is damaged")
            piece = bytes(made[-back:])
            piece = (piece * (count // back + 1))[:count] if back < count else piece[:count]
        made += piece
        if len(made) > length:
            raise FormatError("a packed block unpacks to more than it announces; it is damaged")
    if len(made) != length:
        raise FormatError(f"a packed block announces {length:,} bytes and holds {len(made):,}; it is damaged")
    return bytes(made)


def _length(data: bytes) -> tuple[int, int]:
    value = 0
    for at, byte in enumerate(data[:5]):
        value |= (byte & 127) << (7 * at)
        if byte < 128:
            return value, at + 1
    raise FormatError("the length of a packed block does not end; it is damaged")


def _literal(data: bytes, at: int) -> tuple[int, int, int]:
    """Length, 0, and where the bytes begin."""
    count = data[at] >> 2
    if count < 60:
        return count + 1, 0, at + 1
    extra = count - 59
    return int.from_bytes(data[at + 1 : at + 1 + extra], "little") + 1, 0, at + 1 + extra


def _copy(data: bytes, at: int) -> tuple[int, int, int]:
    """Length, distance back, and where the next element begins."""
    tag = data[at]
    if tag & 3 == 1:
        following = data[at + 1] if at + 1 < len(data) else 0
        found = ((tag >> 2) & 7) + 4, ((tag >> 5) << 8) | following, at + 2
    else:
        width = 2 if tag & 3 == 2 else 4
        found = (tag >> 2) + 1, int.from_bytes(data[at + 1 : at + 1 + width], "little"), at + 1 + width
    if found[1] == 0 or found[2] > len(data):
        raise FormatError("a packed block refers to nothing; it is damaged")
    return found
