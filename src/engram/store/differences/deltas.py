"""A blob as its difference from another one, and back, bit for bit.

Two checkpoints of one training differ in the lower bits of most numbers. Numbers are subtracted as the integers that
their bits spell, sorted by the exponent of the base, cut into planes of first, second … bytes, and compressed with zstd
plane by plane (``planes``). Against an exclusive or and the byte shuffle of blosc2 this saves another tenth, needs no
library that the store does not have already, and runs no codec that a file may name.

A container describes itself: what it becomes, what it stands on, how its bytes are divided, and the SHA-256 of all
that, so that damage to it is told from damage to what it stands on. Every length in it is checked before memory is
taken for it, and what comes out is hashed, always.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from engram.errors import StoreError
from engram.store import documents, objects
from engram.store.differences import planes
from engram.store.differences.planes import Segment
from engram.store.weights import tensors

__all__ = ["Header", "decode", "encode", "header"]

_MAGIC = b"engram difference 1\n"
_SEAL = 32
_LENGTH = struct.Struct("<I")
_CHUNK = 2**20
"""Bytes taken at a time: the numbers, their order and their planes then fit into the cache of one core."""

_OWN = 2**15
"""Bytes from which a tensor is a segment of its own; smaller neighbors of one type share one."""

_LIGHTEST = 1000
"""A container weighs at least this part of what it holds, so that a small file cannot ask for much memory."""

_WIDTHS = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "C64": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
}  # fmt: skip
_EXPONENTS = {"F64": 52, "F32": 23, "C64": 23, "F16": 10, "BF16": 7, "F8_E4M3": 3, "F8_E5M2": 2}

Bytes = bytes | memoryview | mmap.mmap


@dataclass(frozen=True, slots=True)
class Header:
    """What a container says of itself.

    Attributes:
        digest: of the blob it becomes.
        size: of that blob, in bytes.
        base: digest of the blob it is the difference from; empty where it is only compressed.
        segments: how the bytes of the blob are divided.
    """

    digest: str
    size: int
    base: str
    segments: tuple[Segment, ...]


def encode(digest: str, plain: Bytes, base: tuple[str, Bytes] | None = None) -> bytes:
    """A blob as a container; the same blobs always give the same bytes with the same zstd.

    Args:
        digest: of the blob.
        plain: the blob, a safetensors file where it should become small.
        base: digest and content of a blob to take the difference from; one that is laid out otherwise serves nothing,
            and the container is then made without it.
    """
    segments = _segments(plain)
    fitting = base if base is not None and _alike(plain, base[1], segments) else None
    said = Header(digest, len(plain), fitting[0] if fitting else "", segments)
    new, old = _numbers(plain), _numbers(fitting[1]) if fitting else None
    pieces = [_head(said)]
    for start, stop, segment in _chunks(segments):
        pieces.append(planes.pack(new[start:stop], None if old is None else old[start:stop], segment))
    weight = sum(map(len, pieces))
    pieces.append(bytes(max(-(-len(plain) // _LIGHTEST) - weight, 0)))
    return b"".join([_MAGIC, _seal(pieces), *pieces])


def header(container: bytes, where: str) -> Header:
    """What a container says of itself, checked against its own length.

    Raises:
        StoreError: it is not a container, or asks for more than it can hold.
    """
    return _header(container, where)[0]


def decode(digest: str, container: bytes, base: tuple[str, Bytes] | None, where: str) -> bytes:
    """The blob that a container becomes, hashed.

    Args:
        digest: of the blob.
        container: as ``encode`` made it.
        base: digest and content of the blob that it stands on; None where it stands on nothing.
        where: what to call it in an error.

    Raises:
        StoreError: it is damaged, or one of another blob, or the base is not what it was made from.
    """
    said, place = _header(container, where)
    under, old = base or ("", None)
    if (said.digest, said.base) != (digest, under):
        raise _damaged(
            where, f"it holds {said.digest} on {said.base or 'nothing'}, not {digest} on {under or 'nothing'}"
        )
    if old is not None and len(old) != said.size:
        raise _damaged(where, f"it does not fit what it stands on ({said.base})")
    view, pieces = memoryview(container), []
    try:
        for start, stop, segment in _chunks(said.segments):
            part = None if old is None else _numbers(old)[start:stop]
            numbers, place = planes.unpack(view, place, stop - start, segment, part)
            pieces.append(numbers)
    except (ValueError, OSError, struct.error) as wrong:
        raise _damaged(where, f"its bytes cannot be unpacked: {wrong}") from wrong
    if any(container[place:]):
        raise _damaged(where, "bytes follow after the last chunk")
    plain = b"".join(piece.data for piece in pieces)
    if objects.digest([plain]) != said.digest:
        raise _damaged(where, f"what it stands on ({said.base or 'nothing'}) gives other bytes than it should")
    return plain


def _head(said: Header) -> bytes:
    facts = {
        "digest": said.digest,
        "size": said.size,
        "base": said.base,
        "segments": [[segment.width, segment.exponent, segment.size] for segment in said.segments],
    }
    text = documents.encode(facts, "the header of a difference")
    return _LENGTH.pack(len(text)) + text


def _seal(pieces: Iterable[bytes | memoryview]) -> bytes:
    """What stands before the pieces, so that none of their bits can change unseen."""
    seen = hashlib.sha256()
    for piece in pieces:
        seen.update(piece)
    return seen.digest()


def _header(container: bytes, where: str) -> tuple[Header, int]:
    """The header, and where it ends."""
    first = len(_MAGIC) + _SEAL
    start = first + _LENGTH.size
    if len(container) < start or not container.startswith(_MAGIC):
        raise _damaged(where, "it does not begin as a difference does")
    if _seal([memoryview(container)[first:]]) != container[len(_MAGIC) : first]:
        raise _damaged(where, "its bytes are not those that were written")
    (length,) = _LENGTH.unpack_from(container, first)
    if length > len(container) - start:
        raise _damaged(where, "it is cut short")
    found = documents.decode(container[start : start + length], f"the header of {where}")
    try:
        segments = tuple(Segment(width, exponent, size) for width, exponent, size in found["segments"])
        said = Header(found["digest"], found["size"], found["base"], segments)
        sound = _sound(said)
    except (KeyError, TypeError, ValueError) as wrong:
        raise _damaged(where, f"its header lacks or mistakes {wrong}") from wrong
    if not sound or said.size > _LIGHTEST * len(container):
        raise _damaged(where, "its header announces what cannot be")
    return said, start + length


def _sound(said: Header) -> bool:
    texts = isinstance(said.digest, str) and isinstance(said.base, str)
    lengths = all(_fits(segment) for segment in said.segments)
    return texts and type(said.size) is int and lengths and sum(one.size for one in said.segments) == said.size


def _fits(segment: Segment) -> bool:
    if not all(type(value) is int for value in (segment.width, segment.exponent, segment.size)):
        return False
    within = 0 <= segment.exponent < 8 * segment.width
    return segment.width in {1, 2, 4, 8} and within and segment.size > 0 and segment.size % segment.width == 0


def _segments(plain: Bytes) -> tuple[Segment, ...]:
    """How a blob is divided; one that is no safetensors file is bytes like any others."""
    size = len(plain)
    try:
        found = list(tensors.entries(_whole(plain), size, "a blob").values())
    except StoreError:
        return (Segment(1, 0, size),) if size else ()
    first = min((entry.begin for entry in found), default=size)
    made = [Segment(1, 0, first)]
    for entry in found:
        if entry.end > entry.begin:
            _append(made, Segment(_WIDTHS.get(entry.code, 1), _EXPONENTS.get(entry.code, 0), entry.end - entry.begin))
    return tuple(made)


def _append(made: list[Segment], new: Segment) -> None:
    last = made[-1]
    alike = (last.width, last.exponent) == (new.width, new.exponent)
    if alike and last.size < _OWN and new.size < _OWN:
        made[-1] = Segment(new.width, new.exponent, last.size + new.size)
    else:
        made.append(new)


def _alike(plain: Bytes, base: Bytes, segments: Sequence[Segment]) -> bool:
    """Whether numbers of one type stand at the same places in both."""
    return len(plain) == len(base) and _segments(base) == tuple(segments)


def _chunks(segments: Sequence[Segment]) -> Iterator[tuple[int, int, Segment]]:
    place = 0
    for segment in segments:
        for start in range(place, place + segment.size, _CHUNK):
            yield start, min(start + _CHUNK, place + segment.size), segment
        place += segment.size


def _numbers(content: Bytes) -> ndarray:
    return np.frombuffer(content, np.uint8)


def _whole(content: Bytes) -> bytes | mmap.mmap:
    return content.tobytes() if isinstance(content, memoryview) else content


def _damaged(where: str, why: str) -> StoreError:
    return StoreError(f"{where} is damaged: {why}; run engram verify")
