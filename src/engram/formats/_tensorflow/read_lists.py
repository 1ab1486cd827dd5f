"""Lists of tensors and variables: what TensorFlow keeps behind handles.

A list becomes one tensor with the list along its first axis. That holds because every list of a recurrent network has
as many items as the sequence has steps; lists that grow are not read.
"""

from __future__ import annotations

from dataclasses import replace

from engram.formats._tensorflow.call import Call, Readers
from engram.formats._tensorflow.graph import type_name
from engram.formats._tensorflow.tensors import shape_of
from engram.formats._tensorflow.values import Axis, Items, Listing, Tensor, Variable

__all__ = ["READERS", "filled"]


def filled(call: Call, listing: Listing, shape: tuple[Axis, ...]) -> Tensor:
    """The items of a list, zeros where nothing has been put in yet."""
    if listing.items is not None:
        return listing.items
    target = call.nodes.lengths([listing.length, *shape], "int64")
    zero = call.nodes.constant(0, listing.dtype)
    made = call.nodes.emit("Expand", zero.name, call.nodes.name(target))
    return call.nodes.shaped(made, (listing.length, *shape))


def _list(call: Call, place: int = 0) -> Listing:
    found = call.inputs[place]
    if not isinstance(found, Listing):
        raise call.refused("needs a list of tensors")
    return found


def _reserve(call: Call) -> Items:
    length = call.nodes.parts(call.tensor(1))
    if length is None:
        raise call.refused("makes a list of unknown length")
    return (Listing(None, length[0], call.node.type("element_dtype"), _element(call, 0)),)


def _element(call: Call, place: int) -> tuple[Axis, ...] | None:
    """The shape of an item as far as the list knows it; only a shape without free axes is of use."""
    given = call.tensor(place).constant
    if given is None or given.ndim != 1 or any(int(axis) < 0 for axis in given):
        return None
    return tuple(int(axis) for axis in given)


def _from_tensor(call: Call) -> Items:
    value = call.tensor(0)
    if not value.shape:
        raise call.refused("makes a list of a tensor without axes")
    return (Listing(value, value.shape[0], value.dtype, value.shape[1:]),)


def _get(call: Call) -> Items:
    listing = _list(call)
    if listing.items is None:
        raise call.refused("reads from an empty list")
    return (call.nodes.emit("Gather", call.nodes.name(listing.items), call.name(1), axis=0),)


def _set(call: Call) -> Items:
    listing, item = _list(call), call.tensor(2)
    if item.shape is None:
        raise call.refused("needs to know how many axes an item has")
    front = call.nodes.constant([0], "int64").name
    row = call.nodes.emit("Unsqueeze", call.nodes.name(item), front)
    if listing.length == 1:
        return (replace(listing, items=row, shape=item.shape),)
    items = filled(call, listing, item.shape)
    wide = call.cast(call.tensor(1), "int64")
    place = call.nodes.emit("Reshape", call.nodes.name(wide), call.nodes.constant([1, 1], "int64").name)
    made = call.nodes.emit("ScatterND", call.nodes.name(items), place.name, row.name)
    return (replace(listing, items=call.nodes.shaped(made, items.shape or ()), shape=item.shape),)


def _stack(call: Call) -> Items:
    listing = _list(call)
    if listing.items is None:
        raise call.refused("stacks an empty list")
    return (listing.items,)


def _length(call: Call) -> Items:
    return (call.nodes.lengths([_list(call).length], "int32", scalar=True),)


def _handle(call: Call) -> Items:
    shape = shape_of(call.node.attributes["shape"].shape) if "shape" in call.node.attributes else None
    dtype = type_name(call.node.attributes["dtype"].type) if "dtype" in call.node.attributes else ""
    if shape is None or any(axis is None for axis in shape) or not dtype:
        raise call.refused("is a variable of unknown shape or type")
    return (Variable(call.node.name, dtype, tuple(int(axis or 0) for axis in shape)),)


def _read(call: Call) -> Items:
    return (call.trace.weight(call.variable()),)


def _reference(call: Call) -> Items:
    """A variable of TensorFlow 1, which is its own value."""
    (handle,) = _handle(call)
    assert isinstance(handle, Variable)
    return (call.trace.weight(handle),)


READERS: Readers = {
    "ReadVariableOp": _read,
    "TensorListFromTensor": _from_tensor,
    "TensorListGetItem": _get,
    "TensorListLength": _length,
    "TensorListReserve": _reserve,
    "TensorListSetItem": _set,
    "TensorListStack": _stack,
    "VarHandleOp": _handle,
    "Variable": _reference,
    "VariableV2": _reference,
}
