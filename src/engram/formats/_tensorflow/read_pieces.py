"""Operations of TensorFlow that join tensors, divide them, repeat them and fill new ones, as they are read."""

from __future__ import annotations

from dataclasses import replace

from engram.formats._tensorflow.call import Call, Reader, Readers
from engram.formats._tensorflow.read_shape import lengths
from engram.formats._tensorflow.values import Items, Tensor, inverse

__all__ = ["READERS", "reversed_along"]

_ALL = 2**31 - 1
_INTS = {"int32", "int64"}


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
        made = _spread(call, single, lengths(replace(call, inputs=(value,)))[0])  # type: ignore[arg-type]
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


def _depth(call: Call) -> Items:
    value, block = call.tensor(0), call.node.integer("block_size")
    if call.node.text("data_format", "NHWC") != "NHWC" or value.rank != 4:
        raise call.refused("is not channels last")
    turned = call.nodes.emit("Transpose", call.nodes.name(value), perm=[0, 3, 1, 2])
    kind = "SpaceToDepth" if call.node.operation == "SpaceToDepth" else "DepthToSpace"
    made = call.nodes.emit(kind, turned.name, blocksize=block)
    return (call.nodes.turned(made, (0, 2, 3, 1)),)


READERS: Readers = {
    "BroadcastTo": _broadcast,
    "Concat": _concat,
    "ConcatV2": _concat,
    "DepthToSpace": _depth,
    "Fill": _fill,
    "MirrorPad": _pad,
    "OnesLike": _like(1),
    "Pack": _pack,
    "Pad": _pad,
    "PadV2": _pad,
    "Range": _range,
    "ReverseV2": _reverse,
    "SpaceToDepth": _depth,
    "Split": _split,
    "SplitV": _split_v,
    "Tile": _tile,
    "Unpack": _unpack,
    "ZerosLike": _like(0),
}
