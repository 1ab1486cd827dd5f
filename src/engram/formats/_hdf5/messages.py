"""What an object's header says: its type, shape and place, and its attributes.

Only the forms are known that libhdf5 has written by default since 1.6; each is a handful of fixed fields.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engram.errors import FormatError
from engram.formats._files import Span

__all__ = [
    "EXTERNAL", "LINK", "LINKS", "SYMBOLS", "Bytes", "Kind", "Layout", "Message",
    "array", "attributes", "header", "is_dense", "link",
]  # fmt: skip

SPACE, LINKS, TYPE, LINK, EXTERNAL, LAYOUT = 0x01, 0x02, 0x03, 0x06, 0x07, 0x08
FILTERS, ATTRIBUTE, MORE, SYMBOLS = 0x0B, 0x0C, 0x10, 0x11
_SHARED = 0x02
_MOST = 65_535
"""Messages of one object, which is what the number of them in a header can say."""
_TEXTS = 2**26
"""Bytes of texts that one attribute may lead to."""
_NUMBER, _FLOAT, _TEXT, _OPAQUE, _ENUM, _VARIABLE = 0, 1, 3, 5, 8, 9
_FLOATS = {2: (16, 10, 5, 0, 10, 15), 4: (32, 23, 8, 0, 23, 127), 8: (64, 52, 11, 0, 52, 1023)}


@dataclass(frozen=True, slots=True)
class Bytes:
    """The bytes of a file, of which none beyond the end can be asked for."""

    content: memoryview | Span
    where: str

    def __len__(self) -> int:
        return len(self.content)

    def __getitem__(self, span: slice) -> memoryview:
        if not 0 <= span.start <= span.stop <= len(self.content):
            raise self.refused(f"names bytes {span.start:,} to {span.stop:,}, but has {len(self.content):,}")
        return self.content[span]

    def refused(self, why: str) -> FormatError:
        """The error that says why this file is not read."""
        return FormatError(f"{self.where} {why}")


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of an object's header."""

    kind: int
    body: memoryview


@dataclass(frozen=True, slots=True)
class Kind:
    """The type of an element.

    Attributes:
        name: for errors.
        size: bytes of one element.
        dtype: of numbers; None for what is none.
        text: ``fixed``, ``variable`` or empty.
        truth: whether the numbers stand for no and yes.
    """

    name: str
    size: int
    dtype: np.dtype[Any] | None = None
    text: str = ""
    truth: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the elements are: inside the header, in one piece, or in chunks under a tree.

    Attributes:
        address, size: of the one piece, or the tree's root.
        inside: the elements themselves.
        chunk: lengths of a chunk; empty where there are none.
        filters: what each chunk went through, by number.
    """

    address: int = 0
    size: int = 0
    inside: bytes | None = None
    chunk: tuple[int, ...] = ()
    filters: tuple[int, ...] = ()


def header(known: Bytes, address: int) -> list[Message]:
    """All messages of the object at an address."""
    version, _, count, _, size = struct.unpack("<2BH2L", known[address : address + 12])
    if version != 1:
        raise known.refused("has an object in a newer form than h5py writes by default; write it again with h5py")
    found: list[Message] = []
    waiting = [(address + 16, size)]
    seen: set[int] = set()
    while waiting:
        place, length = waiting.pop(0)
        if place in seen or len(seen) > _MOST:
            raise known.refused("has an object whose header is damaged")
        seen.add(place)
        end = place + length
        while place + 8 <= end and len(found) < count:
            kind, size, flags = struct.unpack("<2HB", known[place : place + 5])
            body = known[place + 8 : place + 8 + size]
            if flags & _SHARED and kind in {SPACE, TYPE, FILTERS}:
                raise known.refused("shares a type between objects, which is not read")
            if kind == MORE:
                waiting.append(struct.unpack("<2Q", body[:16]))
            found.append(Message(kind, body))
            place += 8 + size
    return found


def array(known: Bytes, path: str, found: Sequence[Message]) -> tuple[Kind, tuple[int, ...], Layout]:
    """Type, shape and place of the array whose header this is."""
    bodies = {message.kind: message.body for message in found}
    if not {SPACE, TYPE, LAYOUT} <= bodies.keys():
        raise known.refused(f"has {path or '/'!r}, which is neither a group nor an array")
    kind = _type(known, bodies[TYPE])
    filters = _filters(known, bodies[FILTERS]) if FILTERS in bodies else ()
    return kind, _shape(known, bodies[SPACE]), _layout(known, path, bodies[LAYOUT], filters)


def is_dense(message: Message) -> bool:
    """Whether a group's links lie in a heap of their own."""
    place = 10 if message.body[1] & 1 else 2
    return bytes(message.body[place : place + 8]) != b"\xff" * 8


def link(known: Bytes, message: Message) -> tuple[str, int]:
    """Name and address of a link that leads straight to an object."""
    version, flags, place = message.body[0], message.body[1], 2
    if flags & 8:
        if message.body[place]:
            raise known.refused("has a link out of its tree, which is not followed")
        place += 1
    place += (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
    size = 1 << (flags & 3)
    length = int.from_bytes(message.body[place : place + size], "little")
    place += size
    if version != 1 or place + length + 8 > len(message.body):
        raise known.refused("has a link that is damaged")
    name = bytes(message.body[place : place + length]).decode("utf-8")
    return name, int.from_bytes(message.body[place + length : place + length + 8], "little")


def attributes(known: Bytes, found: Sequence[Message]) -> dict[str, object]:
    """What stands beside an object, by name; of types that are not read, nothing."""
    made: dict[str, object] = {}
    for message in found:
        if message.kind != ATTRIBUTE:
            continue
        name, value = _attribute(known, message.body)
        if name in made:
            raise known.refused(f"has the attribute {name!r} twice")
        made[name] = value
    return made


def _attribute(known: Bytes, body: memoryview) -> tuple[str, object]:
    version, flags, name_size, type_size, space_size = struct.unpack("<2B3H", body[:8])
    if version not in {1, 2, 3} or (version > 1 and flags & 3):
        raise known.refused("has an attribute in a form that is not read")
    place = 9 if version == 3 else 8
    parts = []
    for size in (name_size, type_size, space_size):
        if place + size > len(body):
            raise known.refused("has an attribute that is damaged")
        parts.append(body[place : place + size])
        place += size if version > 1 else -(-size // 8) * 8
    name = bytes(parts[0]).rstrip(b"\0").decode("utf-8")
    kind = _type(known, parts[1])
    return name, _value(known, name, kind, _shape(known, parts[2]), body[place:])


def _value(known: Bytes, name: str, kind: Kind, shape: tuple[int, ...], data: memoryview) -> object:
    count = int(np.prod(shape, dtype=object))
    if count * kind.size > len(data):
        raise known.refused(f"has the attribute {name!r}, which is cut off")
    if kind.text:
        texts = _fixed(kind, data, count) if kind.text == "fixed" else _variable(known, data, count)
        return texts if shape else texts[0]
    if kind.dtype is None or kind.dtype.kind == "V":
        return None
    numbers = np.frombuffer(data, kind.dtype, count).reshape(shape)
    return numbers.copy() if shape else numbers.item()


def _fixed(kind: Kind, data: memoryview, count: int) -> list[str]:
    pieces = (bytes(data[kind.size * place : kind.size * (place + 1)]) for place in range(count))
    return [piece.rstrip(b"\0").decode("utf-8") for piece in pieces]


def _variable(known: Bytes, data: memoryview, count: int) -> list[str]:
    """Texts of any length, which lie in heaps elsewhere in the file."""
    texts, total, heaps = [], 0, {}
    for place in range(count):
        length, address, index = struct.unpack("<LQL", data[16 * place : 16 * place + 16])
        if not length:
            texts.append("")
            continue
        if address not in heaps:
            heaps[address] = _heap(known, address)
        total += length
        piece = heaps[address].get(index)
        if piece is None or length > len(piece) or total > _TEXTS:
            raise known.refused("has a text that is not where it should be")
        texts.append(bytes(piece[:length]).rstrip(b"\0").decode("utf-8"))
    return texts


def _heap(known: Bytes, address: int) -> dict[int, memoryview]:
    if bytes(known[address : address + 4]) != b"GCOL":
        raise known.refused("has a text that is not where it should be")
    end = address + struct.unpack("<Q", known[address + 8 : address + 16])[0]
    place, found = address + 16, {}
    while place + 16 <= end:
        index, _, size = struct.unpack("<2H4xQ", known[place : place + 16])
        if not index:
            break
        found[index] = known[place + 16 : place + 16 + size]
        place += 16 + -(-size // 8) * 8
    return found


def _shape(known: Bytes, body: memoryview) -> tuple[int, ...]:
    version, rank, _, kind = struct.unpack("<4B", body[:4])
    if version not in {1, 2} or (version == 2 and kind > 1):
        raise known.refused("has an array whose shape is in a form that is not read")
    start = 8 if version == 1 else 4
    shape = struct.unpack(f"<{rank}Q", body[start : start + 8 * rank])
    if any(length >= 2**62 for length in shape):
        raise known.refused(f"has an array of the shape {list(shape)}, which cannot be")
    return shape


def _type(known: Bytes, body: memoryview) -> Kind:
    first, bits, size = body[0], int.from_bytes(body[1:4], "little"), struct.unpack("<L", body[4:8])[0]
    version, number = first >> 4, first & 15
    if version not in {1, 2, 3} or not 0 < size <= 2**31:
        raise known.refused("has a type in a form that is not read")
    if number in {_NUMBER, _FLOAT}:
        return _numeric(known, body, bits, size)
    if number == _OPAQUE:
        return Kind("bytes without a type", size, np.dtype(f"V{size}"))
    if number == _ENUM and size == 1:
        return Kind("truth", 1, np.dtype("i1"), truth=True)
    if number == _TEXT or (number == _VARIABLE and size == 16 and bits & 15 == 1):
        return Kind("texts", size, text="fixed" if number == _TEXT else "variable")
    return Kind("what is neither numbers nor texts", size)


def _numeric(known: Bytes, body: memoryview, bits: int, size: int) -> Kind:
    order = ">" if bits & 1 else "<"
    if body[0] & 15 == _FLOAT and size in _FLOATS:
        return _float(known, body, order, size)
    offset, precision = struct.unpack("<2H", body[8:12])
    if body[0] & 15 == _FLOAT or size not in {1, 2, 4, 8} or offset or precision != 8 * size:
        raise known.refused("has numbers of an odd width, which are not read")
    return Kind("whole numbers", size, np.dtype(f"{order}{'i' if bits & 8 else 'u'}{size}"))


def _float(known: Bytes, body: memoryview, order: str, size: int) -> Kind:
    _, precision, exponent, width, mantissa, digits, bias = struct.unpack("<2H4BL", body[8:20])
    found = (precision, exponent, width, mantissa, digits, bias)
    if found == _FLOATS[size]:
        return Kind("numbers", size, np.dtype(f"{order}f{size}"))
    if found == (16, 7, 8, 0, 7, 127):
        import ml_dtypes  # a dependency of onnx

        return Kind("numbers", size, np.dtype(ml_dtypes.bfloat16))
    raise known.refused("has numbers in a form that is not read")


def _layout(known: Bytes, path: str, body: memoryview, filters: tuple[int, ...]) -> Layout:
    version, number = body[0], body[1]
    if version != 3 or number > 2:
        raise known.refused(f"has {path!r} in a form that is not read (virtual, or newer than h5py writes by default)")
    if number == 0:
        size = struct.unpack("<H", body[2:4])[0]
        return Layout(inside=bytes(body[4 : 4 + size]))
    if number == 1:
        address, size = struct.unpack("<2Q", body[2:18])
        return Layout(address, size)
    rank = body[2]
    address, *chunk = struct.unpack(f"<Q{rank}L", body[3 : 11 + 4 * rank])
    return Layout(address, chunk=tuple(chunk[:-1]), filters=filters)


def _filters(known: Bytes, body: memoryview) -> tuple[int, ...]:
    version, count = body[0], body[1]
    place, found = (8 if version == 1 else 2), []
    for _ in range(count):
        number = struct.unpack("<H", body[place : place + 2])[0]
        short = version > 1 and number < 256
        length = 0 if short else struct.unpack("<H", body[place + 2 : place + 4])[0]
        start = place + (2 if short else 4)
        _, values = struct.unpack("<2H", body[start : start + 4])
        place = start + 4 + (-(-length // 8) * 8 if version == 1 else length) + 4 * values
        place += 4 if version == 1 and values % 2 else 0
        found.append(number)
    unknown = [number for number in found if number not in {1, 2, 3}]
    if unknown:
        raise known.refused(
            f"packs an array by the filter {unknown[0]}, but only gzip, shuffle and fletcher32 are read"
        )
    return tuple(found)
