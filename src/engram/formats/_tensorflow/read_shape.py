"""Operations that move numbers, and the arithmetic on shapes around them.

Whatever hangs on lengths of axes alone is worked out here and leaves no node behind: TensorFlow writes a Flatten as
five operations, and in the new graph it is one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from engram.formats._tensorflow.call import Call, Readers
from engram.formats._tensorflow.tensors import array
from engram.formats._tensorflow.values import Axis, Items, Tensor, Variable

__all__ = ["READERS", "lengths", "reshaped"]


def _constant(call: Call) -> Items:
    found = array(call.node.attributes["value"].tensor, call.node.where, call.trace.limits)
    if found.dtype.kind == "c":
        raise call.refused("holds complex numbers")
    if found.dtype.kind in "iu" and found.ndim <= 1 and found.size <= 64:
        numbers = [int(number) for number in found.reshape(-1)]
        made = call.nodes.lengths(numbers, found.dtype.name, scalar=found.ndim == 0) if numbers else None
        if made is not None:
            return (made,)
    if found.dtype.kind in "fV" and found.ndim and found.size > call.trace.bulk:
        call.trace.held[call.node.name] = found
        return (call.nodes.weight(call.node.name, found.dtype.name, found.shape),)
    return (call.nodes.constant(found),)


def lengths(call: Call) -> Items:
    """The lengths of the axes of a tensor: numbers where all are known, else computed when rows are there."""
    value = call.inputs[0]
    kind = call.node.type("out_type", "int32")
    if isinstance(value, Variable):
        return (call.nodes.lengths(value.shape, kind),)
    tensor = call.tensor(0)
    if tensor.shape is None:
        made = call.nodes.emit("Shape", call.nodes.name(tensor))
        return (call.cast(made, kind),)
    return (call.nodes.lengths(tensor.shape, kind) if tensor.shape else call.nodes.constant([], kind),)


def _shape_n(call: Call) -> Items:
    kind = call.node.type("out_type", "int32")
    return tuple(call.nodes.lengths(call.shape(place), kind) for place in range(len(call.inputs)))


def _rank(call: Call) -> Items:
    return (call.nodes.lengths([len(call.shape())], "int32", scalar=True),)


def _size(call: Call) -> Items:
    shape = call.shape()
    whole = [axis for axis in shape if isinstance(axis, int)]
    kind = call.node.type("out_type", "int32")
    free = [axis for axis in shape if not isinstance(axis, int)]
    if not free or (len(free) == 1 and math.prod(whole) == 1):
        return (call.nodes.lengths([free[0] if free else math.prod(whole)], kind, scalar=True),)
    made = call.nodes.emit("Size", call.nodes.stored(call.tensor(0)).name)
    return (call.cast(made, kind),)


def _reshape(call: Call) -> Items:
    value, target = call.tensor(0), call.tensor(1)
    parts = call.nodes.parts(target) if target.rank == 1 else None
    if value.parts is not None and parts in {(), (1,), (-1,)}:
        scalar = parts == ()
        constant = None if value.constant is None else value.constant.reshape(() if scalar else -1)
        return (Tensor("", value.dtype, () if scalar else (len(value.parts),), constant=constant, parts=value.parts),)
    if parts is None or value.shape is None:
        wide = call.cast(target, "int64")
        return (call.nodes.emit("Reshape", call.nodes.name(value), call.nodes.name(wide), allowzero=1),)
    return (reshaped(call, value, parts),)


def reshaped(call: Call, value: Tensor, parts: Sequence[Axis]) -> Tensor:
    """A tensor in another shape, whose free axes are kept or left to be worked out."""
    shape = value.shape or ()
    if tuple(parts) == shape:
        return value
    before = _unshaped(value)
    if before is not None and before.shape is not None:
        if tuple(parts) == before.shape:
            return before
        if all(isinstance(axis, int) for axis in before.shape):
            value, shape = before, before.shape
    parts = _completed(shape, parts)
    target = _target(shape, parts)
    settled = call.nodes.name(value)
    if target is not None:
        made = call.nodes.emit("Reshape", settled, call.nodes.constant(target, "int64").name)
    else:
        asked = call.nodes.lengths(list(parts), "int64")
        made = call.nodes.emit("Reshape", settled, call.nodes.name(asked), allowzero=1)
    if made.shape is not None and len(made.shape) == len(parts):
        named = tuple(
            part if isinstance(part, str) and isinstance(axis, str) else axis
            for part, axis in zip(parts, made.shape, strict=True)
        )
        made = call.nodes.shaped(made, named)
    return replace(made, origin=("Reshape", (value,), {}))


def _completed(shape: Sequence[Axis], parts: Sequence[Axis]) -> Sequence[Axis]:
    """A shape in which a length left open is the one free axis, where everything else is as long as before."""
    free = [axis for axis in shape if isinstance(axis, str)]
    whole = [part for part in parts if isinstance(part, int) and part >= 0]
    if list(parts).count(-1) != 1 or len(free) != 1 or len(whole) != len(parts) - 1:
        return parts
    if math.prod(axis for axis in shape if isinstance(axis, int)) != math.prod(whole):
        return parts
    return [free[0] if part == -1 else part for part in parts]


def _unshaped(value: Tensor) -> Tensor | None:
    """What a tensor was before it was given its shape."""
    if value.origin is None or value.origin[0] != "Reshape":
        return None
    before = value.origin[1][0]
    return before if isinstance(before, Tensor) else None


def _target(shape: Sequence[Axis], parts: Sequence[Axis]) -> list[int] | None:
    """What a Reshape is told: lengths, 0 for an axis that stays, -1 for the one that follows."""
    if any(part == 0 for part in parts) or any(axis == 0 for axis in shape):
        return None
    target = [part if isinstance(part, int) else None for part in parts]
    unknown = [place for place, part in enumerate(target) if part is None]
    if -1 not in target and len(unknown) == 1:
        target[unknown[0]] = -1
        unknown = []
    for place in list(unknown):
        if place < len(shape) and shape[place] == parts[place]:
            target[place] = 0
            unknown.remove(place)
    if -1 not in target and len(unknown) == 1:
        target[unknown[0]] = -1
        unknown = []
    return None if unknown else [int(part) for part in target if part is not None]


def _squeeze(call: Call) -> Items:
    value, shape = call.tensor(0), call.shape()
    asked = call.node.integers("squeeze_dims") or call.node.integers("axis")
    axes = sorted(call.axes(asked, len(shape))) if asked else [i for i, axis in enumerate(shape) if axis == 1]
    if value.parts is not None and len(value.parts) == 1 and axes == [0]:
        return (replace(call.nodes.lengths(value.parts, value.dtype, scalar=True), origin=value.origin),)
    if not axes:
        return (value,)
    before = _unshaped(value)
    if before is not None and before.shape == tuple(axis for place, axis in enumerate(shape) if place not in axes):
        return (before,)
    if value.turn:
        return (_squeezed(call, value, axes),)
    made = call.nodes.emit("Squeeze", call.nodes.name(value), call.nodes.constant(axes, "int64").name)
    return (replace(made, origin=("Squeeze", (value,), {"axes": axes})),)


def _squeezed(call: Call, value: Tensor, axes: list[int]) -> Tensor:
    """An axis taken from under a transposition that stays owed."""
    gone = [value.turn[axis] for axis in axes]
    stored = call.nodes.stored(value)
    made = call.nodes.emit("Squeeze", stored.name, call.nodes.constant(sorted(gone), "int64").name)
    left = [axis for place, axis in enumerate(value.turn) if place not in axes]
    ranked = sorted(left)
    return call.nodes.turned(made, tuple(ranked.index(axis) for axis in left))


def _expand(call: Call) -> Items:
    value, rank = call.tensor(0), len(call.shape())
    axis = call.axes(call.whole(1), rank + 1)[0]
    if value.parts is not None and rank == 0:
        constant = None if value.constant is None else value.constant.reshape(1)
        return (Tensor("", value.dtype, (1,), constant=constant, parts=value.parts),)
    made = call.nodes.emit("Unsqueeze", call.nodes.name(value), call.nodes.constant([axis], "int64").name)
    return (made,)


def _transpose(call: Call) -> Items:
    value = call.tensor(0)
    order = call.axes(call.whole(1), len(call.shape()))
    if sorted(order) != list(range(value.rank)):
        raise call.refused(f"puts axes into the order {order}")
    before = value.turn or tuple(range(value.rank))
    stored = call.nodes.stored(value)
    return (call.nodes.turned(stored, tuple(before[axis] for axis in order)),)


def _broadcast_args(call: Call) -> Items:
    one, other = (call.nodes.parts(call.tensor(place)) for place in (0, 1))
    if one is None or other is None:
        raise call.refused("works out a shape from data")
    count = max(len(one), len(other))
    pairs = zip((1,) * (count - len(one)) + tuple(one), (1,) * (count - len(other)) + tuple(other), strict=True)
    return (call.nodes.lengths([b if a == 1 else a for a, b in pairs], call.tensor(0).dtype),)


def _invert_permutation(call: Call) -> Items:
    return (call.nodes.constant(np.argsort(call.whole(0)), call.tensor(0).dtype),)


def _variable_shape(call: Call) -> Items:
    return (call.nodes.lengths(call.variable().shape, call.node.type("out_type", "int32")),)


READERS: Readers = {
    "BroadcastArgs": _broadcast_args,
    "Const": _constant,
    "ExpandDims": _expand,
    "InvertPermutation": _invert_permutation,
    "Rank": _rank,
    "Reshape": _reshape,
    "Shape": lengths,
    "ShapeN": _shape_n,
    "Size": _size,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "VariableShape": _variable_shape,
}
