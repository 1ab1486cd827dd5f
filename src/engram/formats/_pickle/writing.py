"""Writing pickles of plain data: the same bytes for the same values.

Protocol 2, with the operations that the careful readers of other programs know (``torch.load(weights_only=True)``).
Texts and names are remembered and written once; nothing else is, so the bytes do not depend on which objects happen to
be one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError
from engram.formats._pickle.values import Reference, SpecialDict

__all__ = ["Call", "Outside", "dtype", "dumps", "pieces", "plain_array"]

_DEPTH: Final = 100


@dataclass(frozen=True, slots=True)
class Call:
    """What the reader is to call.

    Attributes:
        module: where the function is.
        name: of the function.
        arguments: in order.
        state: what the result is then given; None for nothing.
        new: whether it is a class of which an object is made without its own ``__init__``.
        behind: how many bytes were written → what follows the state that is no operation; None for nothing.
    """

    module: str
    name: str
    arguments: tuple[Any, ...]
    state: Any = None
    new: bool = False
    behind: Callable[[int], Sequence[bytes | memoryview]] | None = None


@dataclass(frozen=True, slots=True)
class Outside:
    """What lies outside of the pickle, by the value that names it."""

    number: Any


def dumps(value: Any, call: Callable[[object], Call | None], protocol: int = 2) -> bytes:  # noqa: ANN401 - any value
    """A pickle.

    Args:
        value: None, bool, int, float, str, bytes, list, tuple, dict, ``SpecialDict``, ``Reference``, ``Call``,
            ``Outside``, and whatever ``call`` knows.
        call: what is written in place of anything else; None where it knows nothing of it.
        protocol: 2, or 4 where bytes are to be written as they are.

    Raises:
        ConversionError: the value holds something that no pickle of plain data has.
    """
    return b"".join(pieces(value, call, protocol))


def pieces(value: Any, call: Callable[[object], Call | None], protocol: int) -> list[bytes | memoryview]:  # noqa: ANN401 - any value
    """A pickle as the pieces that it is made of, large blocks of bytes where they lie; see ``dumps``.

    Raises:
        ConversionError: as ``dumps``.
    """
    writer = _Writer(call, protocol)
    writer.value(value, 0)
    writer.raw(b".")
    writer.block(b"")
    return writer.pieces


def dtype(kind: np.dtype[Any]) -> Call:
    """A type of numpy's, as numpy pickles it.

    Raises:
        ConversionError: it is one of Python objects.
    """
    if kind.hasobject:
        raise ConversionError("an array of Python objects has no place in the file; convert it to numbers or texts")
    made = kind.__reduce__()
    assert isinstance(made, tuple)
    _, (name, align, copied), state = made
    if isinstance(name, type):
        name = Reference(name.__module__, name.__name__)
    return Call("numpy", "dtype", (name, align, copied), state)


def plain_array(value: object) -> Call | None:
    """An array of numpy's, as every release of it reads; None for anything else.

    Raises:
        ConversionError: it is one of Python objects.
    """
    if not isinstance(value, ndarray):
        return None
    solid = np.ascontiguousarray(value)
    content = solid.reshape(-1).view(np.uint8).data if solid.size else b""
    arguments = (Reference("numpy", "ndarray"), (0,), b"b")
    state = (1, tuple(value.shape), dtype(value.dtype), False, content)
    return Call("numpy.core.multiarray", "_reconstruct", arguments, state)


class _Writer:
    def __init__(self, call: Callable[[object], Call | None], protocol: int) -> None:
        self.made = bytearray((0x80, protocol))
        self.pieces: list[bytes | memoryview] = []
        self._before = 0
        self._call = call
        self._protocol = protocol
        self._memo: dict[object, int] = {}

    def value(self, value: Any, depth: int) -> None:  # noqa: ANN401 - any value
        """The operations that push a value."""
        if depth > _DEPTH:
            raise ConversionError(f"the data are nested deeper than {_DEPTH}, which is the limit")
        kind = type(value)
        if kind in _PLAIN:
            _PLAIN[kind](self, value)
        elif kind in _INSIDE:
            _INSIDE[kind](self, value, depth + 1)
        elif (made := self._call(value)) is not None:
            _INSIDE[Call](self, made, depth + 1)
        elif isinstance(value, np.generic) and type(value.item()) in _PLAIN:
            self.value(value.item(), depth)
        else:
            raise ConversionError(f"a {kind.__name__} is none of numbers, texts, lists, dictionaries and arrays")

    def remembered(self, key: object, write: Callable[[], None]) -> None:
        """A value that is written once and fetched again."""
        number = self._memo.get(key)
        if number is not None:
            self.made += struct.pack("<cB", b"h", number) if number < 256 else struct.pack("<cI", b"j", number)
            return
        write()
        number = self._memo[key] = len(self._memo)
        self.made += struct.pack("<cB", b"q", number) if number < 256 else struct.pack("<cI", b"r", number)

    def text(self, value: str) -> None:
        encoded = value.encode("utf-8", "surrogatepass")
        self.remembered(value, lambda: self.raw(struct.pack("<cI", b"X", len(encoded)) + encoded))

    def raw(self, operations: bytes) -> None:
        self.made += operations

    def block(self, content: bytes | memoryview) -> None:
        """Bytes that are no operations, as a piece of their own."""
        self.pieces += [bytes(self.made), content]
        self._before += len(self.made) + len(content)
        self.made = bytearray()

    def number(self, value: int) -> None:
        if 0 <= value < 2**8:
            self.made += struct.pack("<cB", b"K", value)
        elif 0 <= value < 2**16:
            self.made += struct.pack("<cH", b"M", value)
        elif -(2**31) <= value < 2**31:
            self.made += struct.pack("<ci", b"J", value)
        else:
            encoded = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            if len(encoded) > 255:
                raise ConversionError("a whole number of more than 2,000 bits has no place in the file")
            self.made += struct.pack("<cB", b"\x8a", len(encoded)) + encoded

    def fraction(self, value: float) -> None:
        self.made += struct.pack(">cd", b"G", value)

    def bytes_(self, value: bytes | memoryview) -> None:
        """Bytes; before protocol 3 as a text of which each character is one."""
        if self._protocol >= 3:
            short = len(value) < 2**32
            self.raw(struct.pack("<cI", b"B", len(value)) if short else struct.pack("<cQ", b"\x8e", len(value)))
            self.block(value)
        else:
            self.value(Call("_codecs", "encode", (bytes(value).decode("latin-1"), "latin1")), 0)

    def items(self, opening: bytes, values: Any, depth: int, closing: bytes) -> None:  # noqa: ANN401 - values
        self.raw(opening)
        for value in values:
            self.value(value, depth)
        self.raw(closing)

    def tuple_(self, value: tuple[Any, ...], depth: int) -> None:
        few = {0: b")", 1: b"\x85", 2: b"\x86", 3: b"\x87"}
        if len(value) in few:
            self.items(b"", value, depth, few[len(value)])
        else:
            self.items(b"(", value, depth, b"t")

    def list_(self, value: list[Any], depth: int) -> None:
        self.items(b"](", value, depth, b"e")

    def dict_(self, value: dict[Any, Any], depth: int) -> None:
        self.raw(b"}")
        self.pairs(value, depth)

    def pairs(self, value: dict[Any, Any], depth: int) -> None:
        self.items(b"(", (part for pair in value.items() for part in pair), depth, b"u")

    def special(self, value: SpecialDict, depth: int) -> None:
        """A dictionary of the library, filled after it was made, as the library itself writes it."""
        if value.kind == "Counter":
            self.call(Call("collections", "Counter", (dict(value),)), depth)
            return
        self.call(Call("collections", "OrderedDict", ()), depth)
        self.pairs(value, depth)
        if value.attributes:
            self.dict_(value.attributes, depth)
            self.raw(b"b")

    def reference(self, value: Reference, _depth: int = 0) -> None:
        self.remembered(value, lambda: self.raw(f"c{value.module}\n{value.name}\n".encode()))

    def call(self, value: Call, depth: int) -> None:
        self.reference(Reference(value.module, value.name))
        self.tuple_(value.arguments, depth)
        self.raw(b"\x81" if value.new else b"R")
        if value.state is not None:
            self.value(value.state, depth)
            self.raw(b"b")
        if value.behind is not None:
            for piece in value.behind(self._before + len(self.made)):
                self.block(piece)

    def outside(self, value: Outside, depth: int) -> None:
        self.value(value.number, depth)
        self.raw(b"Q")


_PLAIN: Final[dict[type, Callable[[_Writer, Any], None]]] = {
    type(None): lambda writer, _value: writer.raw(b"N"),
    bool: lambda writer, value: writer.raw(b"\x88" if value else b"\x89"),
    int: _Writer.number,
    float: _Writer.fraction,
    str: _Writer.text,
    bytes: _Writer.bytes_,
    memoryview: _Writer.bytes_,
}
_INSIDE: Final[dict[type, Callable[[_Writer, Any, int], None]]] = {
    list: _Writer.list_,
    tuple: _Writer.tuple_,
    dict: _Writer.dict_,
    SpecialDict: _Writer.special,
    Reference: _Writer.reference,
    Call: _Writer.call,
    Outside: _Writer.outside,
}
