"""Parsing a stranger's message after counting what is in it.

An empty node takes two bytes in a file and some hundred in memory. The count walks the wire format along the described
fields and never recurses; only what passes is handed to protobuf.

Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError

from engram.errors import FormatError
from engram.formats._tensorflow.messages import message
from engram.records import Limits

__all__ = ["parsed"]

_PER_NODE = 10
"""Messages of other kinds (attributes, shapes, children) that a graph may have for each node it may have."""


def parsed(kind: str, data: bytes, where: str, limits: Limits) -> Any:  # noqa: ANN401 - a generated class
    """A message of a kind from its bytes.

    Args:
        kind: a name of ``messages``.
        data: serialized.
        where: what to call it in an error.
        limits: how much of everything is accepted.

    Raises:
        FormatError: it is no such message, damaged, or over a limit.
    """
    if len(data) > limits.protobuf_bytes:
        raise FormatError(f"{where} has {len(data):,} bytes, but at most {limits.protobuf_bytes:,} are read")
    made = message(kind)
    try:
        _count(made.DESCRIPTOR, data, where, limits)
        made.ParseFromString(data)
    except (DecodeError, UnicodeError, RecursionError) as wrong:
        raise FormatError(f"{where} is damaged: {str(wrong).splitlines()[0]}") from wrong
    return made


def _count(kind: Descriptor, data: bytes, where: str, limits: Limits) -> None:
    nodes = others = 0
    stack = [(kind, 0, len(data), 0)]
    while stack:
        described, position, end, depth = stack.pop()
        if depth > limits.nesting:
            raise FormatError(f"{where} is nested more than {limits.nesting} deep; no honest model is")
        fields = described.fields_by_number
        while position < end:
            number, start, position = _field(data, position, end, where)
            found = fields.get(number)
            if found is None or start < 0:
                continue
            nodes += found.message_type is not None and found.message_type.name == "Node"
            others += 1
            if nodes > limits.nodes or others > _PER_NODE * limits.nodes:
                raise FormatError(f"{where} holds more than {limits.nodes:,} nodes; split the model")
            if found.message_type is not None:
                stack.append((found.message_type, start, position, depth + 1))


def _field(data: bytes, position: int, end: int, where: str) -> tuple[int, int, int]:
    """The field at a position: its number, where its bytes start (-1 for a plain number), and where it ends."""
    tag, position = _varint(data, position, end, where)
    wire = tag & 7
    if wire == 2:
        length, position = _varint(data, position, end, where)
        start, position = position, position + length
    elif wire == 0:
        start = -1
        _, position = _varint(data, position, end, where)
    elif wire in {1, 5}:
        start, position = -1, position + (8 if wire == 1 else 4)
    else:
        raise FormatError(f"{where}: byte {position} is not protobuf (wire type {wire}); the file is damaged")
    if position > end:
        raise FormatError(f"{where}: a field ends at byte {position}, but its message ends at {end}; it is cut off")
    return tag >> 3, start, position


def _varint(data: bytes, position: int, end: int, where: str) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        value |= (byte & 127) << shift
        position += 1
        if byte < 128:
            return value, position
        shift += 7
    raise FormatError(f"{where}: a number at byte {position} does not end; the file is damaged")
