"""Operations that take numbers from places and put them there."""

from __future__ import annotations

from engram.formats._tensorflow.call import Call, Readers
from engram.formats._tensorflow.values import Items

__all__ = ["READERS"]


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


READERS: Readers = {
    "Gather": _gather,
    "GatherNd": _gather_nd,
    "GatherV2": _gather,
    "MatrixBandPart": _band,
    "OneHot": _one_hot,
    "ResourceGather": _resource_gather,
    "ScatterNd": _scatter_nd,
    "TensorScatterAdd": _tensor_scatter,
    "TensorScatterMax": _tensor_scatter,
    "TensorScatterMin": _tensor_scatter,
    "TensorScatterUpdate": _tensor_scatter,
    "Where": _where,
}
