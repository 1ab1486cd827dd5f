"""Operations that move numbers, and the arithmetic on shapes around them.

Whatever hangs on lengths of axes alone is worked out here and leaves no node behind: TensorFlow writes a Flatten as
five operations, and in the new graph it is one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from engram.formats._tensorflow.call import Call, Reader, Readers
from engram.formats._tensorflow.tensors import array
from engram.formats._tensorflow.values import Axis, Items, Tensor, Variable, inverse

__all__ = ["READERS", "reshaped", "reversed_along"]

_ALL = 2**31 - 1
_INTS = {"int32", "int64"}


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


def _shape(call: Call) -> Items:
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


def _pack(call: Call) -> Items:
    axis = call.node.integer("axis")
    tensors = [call.tensor(place) for place in range(len(call.inputs))]
    if all(value.rank == 0 and value.dtype in _INTS for value in tensors):
        parts = [call.nodes.parts(value) for value in tensors]
        if all(part is not None for part in parts):
            return (call.nodes.lengths([part[0] for part in parts if part], tensors[0].dtype),)
    where = call.axes([axis], tensors[0].rank + 1)[0]
    place = call.nodes.constant([where], "int64").name
    pieces = [call.nodes.emit("Unsqueeze", call.nodes.name(value), place).name for value in tensors]
    return (
        call.nodes.emit("Concat", *pieces, axis=where) if len(pieces) > 1 else call.nodes.emit("Identity", pieces[0]),
    )


def _unpack(call: Call) -> Items:
    value, count = call.tensor(0), call.node.integer("num")
    axis = call.axes([call.node.integer("axis")], len(call.shape()))[0]
    if value.parts is not None and value.rank == 1 and len(value.parts) == count:
        return tuple(call.nodes.lengths([part], value.dtype, scalar=True) for part in value.parts)
    if call.shape()[axis] != count:
        raise call.refused(f"takes {count} pieces from an axis of {call.shape()[axis]}")
    name = call.nodes.name(value)
    made = (call.nodes.emit("Gather", name, call.nodes.constant(i, "int64").name, axis=axis) for i in range(count))
    return tuple(replace(piece, origin=("Unpack", (value,), {"place": i})) for i, piece in enumerate(made))


def _concat(call: Call) -> Items:
    first = call.node.operation == "Concat"
    tensors = [call.tensor(place) for place in range(first, len(call.inputs) - (not first))]
    axis = call.axes(call.whole(0 if first else len(call.inputs) - 1), tensors[0].rank)[0]
    if all(value.parts is not None and value.rank == 1 for value in tensors):
        return (call.nodes.lengths([part for v in tensors for part in v.parts or ()], tensors[0].dtype),)
    if len(tensors) == 1:
        return (tensors[0],)
    turns = {value.turn for value in tensors}
    if len(turns) == 1 and turns != {()}:
        turn = next(iter(turns))
        stored = [call.nodes.stored(value).name for value in tensors]
        return (call.nodes.turned(call.nodes.emit("Concat", *stored, axis=turn[axis]), turn),)
    return (call.nodes.emit("Concat", *(call.nodes.name(value) for value in tensors), axis=axis),)


def _split(call: Call) -> Items:
    axis, value = call.whole(0)[0], call.tensor(1)
    return _pieces(call, value, axis, call.node.integer("num_split"), [])


def _split_v(call: Call) -> Items:
    sizes, axis = call.whole(1), call.whole(2)[0]
    length = call.shape()[call.axes([axis], len(call.shape()))[0]]
    if -1 in sizes:
        if not isinstance(length, int):
            raise call.refused("splits an axis of unknown length")
        sizes[sizes.index(-1)] = length - sum(sizes) - 1
    return _pieces(call, call.tensor(0), axis, len(sizes), sizes)


def _pieces(call: Call, value: Tensor, axis: int, count: int, sizes: list[int]) -> Items:
    if value.shape is None or count < 1:
        raise call.refused("needs to know how many axes it splits")
    place = call.axes([axis], value.rank)[0]
    if count == 1:
        return (value,)
    stored = call.nodes.stored(value)
    where = value.turn[place] if value.turn else place
    asked = [call.nodes.constant(sizes, "int64").name] if sizes else []
    more = {} if sizes else {"num_outputs": count}
    made = call.nodes.several("Split", stored.name, *asked, outputs=count, axis=where, **more)
    pieces = made if not value.turn else tuple(call.nodes.turned(piece, value.turn) for piece in made)
    return tuple(
        replace(piece, origin=("Split", (value,), {"axis": place, "place": i, "count": count}))
        for i, piece in enumerate(pieces)
    )


def _gather(call: Call) -> Items:
    value, places = call.tensor(0), call.tensor(1)
    axis = call.axes(call.whole(2), len(call.shape()))[0] if len(call.inputs) > 2 else 0
    shared = call.node.integer("batch_dims")
    if value.parts is not None and value.rank == 1 and places.constant is not None:
        taken = [
            value.parts[int(place)]
            for place in places.constant.reshape(-1)
            if -len(value.parts) <= place < len(value.parts)
        ]
        if len(taken) == places.constant.size:
            return (call.nodes.lengths(taken, value.dtype, scalar=places.rank == 0),)
    if not shared:
        return (call.nodes.emit("Gather", call.nodes.name(value), call.nodes.name(places), axis=axis),)
    if shared < 0 or axis != shared or places.shape is None:
        raise call.refused("gathers along an axis behind shared ones")
    last = call.nodes.constant([places.rank], "int64")
    inner = call.nodes.emit("Unsqueeze", call.nodes.name(call.cast(places, "int64")), last.name)
    return (call.nodes.emit("GatherND", call.nodes.name(value), inner.name, batch_dims=shared),)


def _resource_gather(call: Call) -> Items:
    held = call.trace.weight(call.variable())
    return (call.nodes.emit("Gather", held.name, call.name(1), axis=0),)


def _gather_nd(call: Call) -> Items:
    places = call.cast(call.tensor(1), "int64")
    return (call.nodes.emit("GatherND", call.name(0), call.nodes.name(places)),)


def _scatter_nd(call: Call) -> Items:
    places, updates = call.cast(call.tensor(0), "int64"), call.tensor(1)
    shape = call.nodes.name(call.cast(call.tensor(2), "int64"))
    zero = call.nodes.emit("Expand", call.nodes.constant(0, updates.dtype).name, shape)
    return (
        call.nodes.emit("ScatterND", zero.name, call.nodes.name(places), call.nodes.name(updates), reduction="add"),
    )


def _tensor_scatter(call: Call) -> Items:
    places = call.nodes.name(call.cast(call.tensor(1), "int64"))
    word = {"TensorScatterAdd": "add", "TensorScatterMax": "max", "TensorScatterMin": "min"}.get(
        call.node.operation, "none"
    )
    return (call.nodes.emit("ScatterND", call.name(0), places, call.name(2), reduction=word),)


def _fill(call: Call) -> Items:
    value = call.tensor(1)
    made = _spread(call, value, call.tensor(0))
    return (replace(made, origin=("Fill", (value,), {})),)


def _spread(call: Call, value: Tensor, shape: Tensor) -> Tensor:
    parts = call.nodes.parts(shape)
    if parts == ():
        return value
    wide = call.nodes.name(call.cast(shape, "int64"))
    made = call.nodes.emit("Expand", call.nodes.name(value), wide)
    if parts is not None and (made.shape is None or len(made.shape) == len(parts)) and value.rank == 0:
        made = call.nodes.shaped(made, tuple(parts))
    return made


def _broadcast(call: Call) -> Items:
    return (_spread(call, call.tensor(0), call.tensor(1)),)


def _like(number: int) -> Reader:
    def read(call: Call) -> Items:
        value = call.tensor(0)
        if value.dtype == "string":
            raise call.refused("makes texts")
        single = call.nodes.constant(number, value.dtype)
        made = _spread(call, single, _shape(replace(call, inputs=(value,)))[0])  # type: ignore[arg-type]
        return (replace(made, origin=("Fill", (single,), {})),)

    return read


def _tile(call: Call) -> Items:
    counts = call.nodes.name(call.cast(call.tensor(1), "int64"))
    return (call.nodes.emit("Tile", call.name(0), counts),)


def _range(call: Call) -> Items:
    ends = [call.tensor(place) for place in range(3)]
    return (call.nodes.emit("Range", *(call.nodes.name(end) for end in ends)),)


def _pad(call: Call) -> Items:
    value, pairs = call.tensor(0), call.whole(1)
    rank = len(call.shape())
    if len(pairs) != 2 * rank:
        raise call.refused(f"pads {len(pairs) // 2} of {rank} axes")
    before, after = pairs[0::2], pairs[1::2]
    if value.turn:
        back = inverse(value.turn)
        before, after = [before[axis] for axis in back], [after[axis] for axis in back]
    word = {"REFLECT": "reflect", "SYMMETRIC": ""}.get(call.node.text("mode"), "constant")
    if not word:
        raise call.refused("pads symmetrically")
    given = [call.nodes.constant([*before, *after], "int64").name]
    if call.node.operation == "PadV2":
        given.append(call.name(2))
    made = call.nodes.emit("Pad", call.nodes.stored(value).name, *given, mode=word)
    made = replace(made, origin=None)
    return (call.nodes.turned(made, value.turn) if value.turn else made,)


def _reverse(call: Call) -> Items:
    value = call.tensor(0)
    axes = call.axes(call.whole(1), len(call.shape()))
    if not axes:
        return (value,)
    return (reversed_along(call, value, axes),)


def reversed_along(call: Call, value: Tensor, axes: list[int]) -> Tensor:
    """A tensor read from its end along some axes."""
    stored = call.nodes.stored(value)
    where = sorted(value.turn[axis] for axis in axes) if value.turn else sorted(axes)
    before = call.trace.reversals.get(stored.name)
    if before is not None and before[1] == where:
        return call.nodes.turned(before[0], value.turn) if value.turn else before[0]
    numbers = ([-1] * len(axes), [-_ALL] * len(axes), where, [-1] * len(axes))
    made = call.nodes.emit("Slice", stored.name, *(call.nodes.constant(given, "int64").name for given in numbers))
    back = inverse(value.turn) if value.turn else tuple(range(value.rank))
    if value.shape is not None:
        made = call.nodes.shaped(made, tuple(value.shape[axis] for axis in back))
    call.trace.reversals[made.name] = (stored, where)
    return call.nodes.turned(made, value.turn) if value.turn else made


def _one_hot(call: Call) -> Items:
    places, on, off = call.tensor(0), call.tensor(2), call.tensor(3)
    one = call.nodes.constant([1], "int64").name
    ends = [call.nodes.emit("Reshape", call.nodes.name(end), one).name for end in (off, on)]
    values = call.nodes.emit("Concat", *ends, axis=0)
    axis = call.node.integer("axis", -1)
    return (call.nodes.emit("OneHot", call.nodes.name(places), call.name(1), values.name, axis=axis),)


def _band(call: Call) -> Items:
    """A triangle of a matrix; a band on both sides is cut twice."""
    value, low, high = call.tensor(0), call.whole(1)[0], call.whole(2)[0]
    name = call.nodes.name(value)
    if low >= 0:
        name = call.nodes.emit("Trilu", name, call.nodes.constant(-low, "int64").name, upper=1).name
    if high >= 0:
        name = call.nodes.emit("Trilu", name, call.nodes.constant(high, "int64").name, upper=0).name
    return (call.nodes.emit("Identity", name),)


def _where(call: Call) -> Items:
    found = call.nodes.emit("NonZero", call.name(0))
    return (call.nodes.emit("Transpose", found.name, perm=[1, 0]),)


def _depth(call: Call) -> Items:
    value, block = call.tensor(0), call.node.integer("block_size")
    if call.node.text("data_format", "NHWC") != "NHWC" or value.rank != 4:
        raise call.refused("is not channels last")
    turned = call.nodes.emit("Transpose", call.nodes.name(value), perm=[0, 3, 1, 2])
    kind = "SpaceToDepth" if call.node.operation == "SpaceToDepth" else "DepthToSpace"
    made = call.nodes.emit(kind, turned.name, blocksize=block)
    return (call.nodes.turned(made, (0, 2, 3, 1)),)


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
    "BroadcastTo": _broadcast,
    "Concat": _concat,
    "ConcatV2": _concat,
    "Const": _constant,
    "DepthToSpace": _depth,
    "ExpandDims": _expand,
    "Fill": _fill,
    "Gather": _gather,
    "GatherNd": _gather_nd,
    "GatherV2": _gather,
    "InvertPermutation": _invert_permutation,
    "MatrixBandPart": _band,
    "MirrorPad": _pad,
    "OneHot": _one_hot,
    "OnesLike": _like(1),
    "Pack": _pack,
    "Pad": _pad,
    "PadV2": _pad,
    "Range": _range,
    "Rank": _rank,
    "Reshape": _reshape,
    "ResourceGather": _resource_gather,
    "ReverseV2": _reverse,
    "ScatterNd": _scatter_nd,
    "Shape": _shape,
    "ShapeN": _shape_n,
    "Size": _size,
    "SpaceToDepth": _depth,
    "Split": _split,
    "SplitV": _split_v,
    "Squeeze": _squeeze,
    "TensorScatterAdd": _tensor_scatter,
    "TensorScatterMax": _tensor_scatter,
    "TensorScatterMin": _tensor_scatter,
    "TensorScatterUpdate": _tensor_scatter,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unpack": _unpack,
    "VariableShape": _variable_shape,
    "Where": _where,
    "ZerosLike": _like(0),
}
