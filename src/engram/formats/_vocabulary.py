"""How many words a network knows, where its graph says so.

An input of tokens is a number like any other until a Gather looks it up in a table; a number beyond the table is then
no odd value but a fault in asking. So the graph is followed from each input to the tables that it reaches.
"""

from __future__ import annotations

import onnx

__all__ = ["vocabulary"]

_KEEPING = frozenset(
    {"Cast", "Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze", "Expand"}
)
"""Operators whose first input's numbers come out as they went in."""


def vocabulary(graph: bytes) -> dict[str, int]:
    """Input → the number of rows of the smallest table that its numbers are looked up in.

    Args:
        graph: canonical, without its weights; empty has no inputs.
    """
    network = onnx.ModelProto.FromString(graph).graph
    tables = {tensor.name: list(tensor.dims) for tensor in network.initializer}
    stands_for = {value.name: value.name for value in network.input}
    found: dict[str, int] = {}
    for node in network.node:
        first = node.input[0] if node.input else ""
        if node.op_type in _KEEPING and first in stands_for:
            stands_for.update(dict.fromkeys(node.output, stands_for[first]))
        elif node.op_type == "Gather" and first in tables and node.input[1] in stands_for:
            axis = next((entry.i for entry in node.attribute if entry.name == "axis"), 0)
            name, size = stands_for[node.input[1]], int(tables[first][axis])
            found[name] = min(size, found.get(name, size))
    return found
