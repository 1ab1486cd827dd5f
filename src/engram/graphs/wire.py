"""Counting what a serialized graph holds before a single object is made of it.

An empty node takes two bytes in a file and some hundred in memory, so a file of a few megabytes can fill a laptop
while it is parsed. The count walks the protobuf wire format itself and never recurses.

Source: protobuf.dev/programming-guides/encoding; field numbers of onnx.proto.
"""

from __future__ import annotations

from engram.errors import FormatError
from engram.records import Limits

__all__ = ["count"]

# message → field number → message in that field
_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "entry", 14: "entry", 20: "training", 25: "function", 26: "entry"},
    "training": {1: "graph", 2: "graph", 3: "entry", 4: "entry"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value", 14: "entry", 15: "sparse", 16: "entry"},
    "function": {4: "entry", 5: "entry", 6: "entry", 7: "node", 9: "entry", 11: "attribute", 12: "value", 14: "entry"},
    "node": {1: "entry", 2: "entry", 5: "attribute", 9: "entry", 10: "entry"},
    "attribute": {
        5: "tensor", 6: "graph", 9: "entry", 10: "tensor", 11: "graph", 14: "value", 15: "value",
        22: "sparse", 23: "sparse",
    },
    "tensor": {3: "entry", 6: "entry", 13: "entry", 16: "entry"},
    "sparse": {1: "tensor", 2: "tensor"},
    "value": {},
    "entry": {},
}  # fmt: skip
_DEEPER = {"graph", "function"}


def count(data: bytes, limits: Limits) -> None:
    """Refuse a serialized ModelProto that holds more than the limits allow.

    Raises:
        FormatError: it is no protobuf, or it holds too many nodes, tensors or other messages, or graphs within graphs
            too deep.
    """
    seen = dict.fromkeys(_MESSAGES, 0)
    allowed = {"node": limits.nodes, "tensor": limits.tensors, "sparse": limits.tensors}
    others = 10 * limits.nodes
    stack = [("model", 0, len(data), 0)]
    while stack:
        kind, position, end, depth = stack.pop()
        children = _MESSAGES[kind]
        while position < end:
            field, start, position = _field(data, position, end)
            child = children.get(field)
            if child is None or start < 0:
                continue
            seen[child] += 1
            if seen[child] > allowed.get(child, others):
                raise FormatError(
                    f"the graph holds more than {allowed.get(child, others):,} of {child}; split the model"
                )
            if _MESSAGES[child]:
                below = depth + (child in _DEEPER)
                if below > limits.nesting:
                    raise FormatError(f"graphs are nested more than {limits.nesting} deep; flatten the model")
                stack.append((child, start, position, below))


def _field(data: bytes, position: int, end: int) -> tuple[int, int, int]:
    """The field at a position: its number, where its bytes start (-1 for a plain number), and where it ends."""
    tag, position = _varint(data, position, end)
    wire = tag & 7
    if wire == 2:
        length, position = _varint(data, position, end)
        start, position = position, position + length
    elif wire == 0:
        start = -1
        _, position = _varint(data, position, end)
    elif wire in {1, 5}:
        start, position = -1, position + (8 if wire == 1 else 4)
    else:
        raise FormatError(f"byte {position} is not protobuf (wire type {wire}); the file is damaged or no ONNX")
    if position > end:
        raise FormatError(f"a field ends at byte {position}, but its message ends at {end}; the file is truncated")
    return tag >> 3, start, position


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        value |= (byte & 127) << shift
        position += 1
        if byte < 128:
            return value, position
        shift += 7
    raise FormatError(f"a number at byte {position} does not end; the file is truncated or no ONNX")
