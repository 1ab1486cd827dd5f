"""Lookup tables whose entries stand in the graph itself.

A table that is filled from a file is refused with the operation that would open it: what is beside the model is not
read on the word of the model.
"""

from __future__ import annotations

import numpy as np

from engram.formats._tensorflow.call import Call, Readers
from engram.formats._tensorflow.values import Items, Table

__all__ = ["READERS"]


def _table(call: Call) -> Items:
    return (Table(call.node.name),)


def _find(call: Call) -> Items:
    """A key compared with all keys at once: the graph needs no state, and tables of models are short."""
    given = call.inputs[0]
    if not isinstance(given, Table):
        raise call.refused("looks up in something that is no table")
    table = call.trace.tables.get(given.name)
    if table is None or table.keys is None or table.values is None:
        raise call.refused("looks up in a table that is not filled from the graph")
    key, missing = call.tensor(1), call.tensor(2)
    last = call.nodes.constant([-1], "int64").name
    column = call.nodes.emit("Unsqueeze", call.nodes.name(key), last)
    same = call.nodes.emit("Equal", column.name, call.nodes.constant(table.keys).name)
    numbers = call.nodes.emit("Cast", same.name, to=6)
    place = call.nodes.emit("ArgMax", numbers.name, axis=-1, keepdims=0)
    any_ = call.nodes.emit("ReduceMax", numbers.name, last, keepdims=0)
    values = call.nodes.constant(np.asarray(table.values))
    taken = call.nodes.emit("Gather", values.name, place.name, axis=0)
    known = call.nodes.emit("Cast", any_.name, to=9)
    return (call.nodes.emit("Where", known.name, taken.name, call.nodes.name(missing)),)


READERS: Readers = {
    "HashTableV2": _table,
    "LookupTableFindV2": _find,
    "MutableHashTableV2": _table,
}
