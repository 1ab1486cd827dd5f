"""Operations that make fewer numbers of many: sums, means, largest ones, and lengths worked out from lengths."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from engram.formats._tensorflow.call import Call, Reader, Readers
from engram.formats._tensorflow.values import Axis, Items, Tensor

__all__ = ["READERS"]

_KINDS = {
    "All": "ReduceMin", "Any": "ReduceMax", "EuclideanNorm": "ReduceL2", "Max": "ReduceMax", "Mean": "ReduceMean",
    "Min": "ReduceMin", "Prod": "ReduceProd", "Sum": "ReduceSum",
}  # fmt: skip
_LENGTHS: Mapping[str, Callable[..., int]] = {"Max": max, "Min": min, "Prod": math.prod, "Sum": sum}


def _reduction(kind: str) -> Reader:
    def read(call: Call) -> Items:
        value = call.tensor(0)
        known = _lengths(call, value)
        if known is not None:
            return (known,)
        if value.shape is None:
            places = call.cast(call.tensor(1), "int64")
            keep = int(call.node.truth("keep_dims"))
            return (call.nodes.emit(kind, call.nodes.name(value), call.nodes.name(places), keepdims=keep),)
        axes = sorted(set(call.axes(call.whole(1), value.rank)))
        if not axes:
            return (value,)
        if call.node.operation in {"All", "Any"}:
            made = _reduced(call, call.cast(value, "int32"), kind, axes)
            return (call.cast(made, "bool"),)
        return (_reduced(call, value, kind, axes),)

    return read


def _reduced(call: Call, value: Tensor, kind: str, axes: list[int]) -> Tensor:
    """The node, under whatever transposition is owed."""
    keep = call.node.truth("keep_dims")
    stored = call.nodes.stored(value)
    where = [value.turn[axis] for axis in axes] if value.turn else axes
    made = call.nodes.emit(kind, stored.name, call.nodes.constant(sorted(where), "int64").name, keepdims=int(keep))
    if not value.turn:
        return made
    if keep:
        return call.nodes.turned(made, value.turn)
    left = [axis for place, axis in enumerate(value.turn) if place not in axes]
    ranked = sorted(left)
    return call.nodes.turned(made, tuple(ranked.index(axis) for axis in left))


def _lengths(call: Call, value: Tensor) -> Tensor | None:
    """A length worked out from lengths."""
    work = _LENGTHS.get(call.node.operation)
    if work is None or value.parts is None or value.dtype not in {"int32", "int64"} or call.node.truth("keep_dims"):
        return None
    axes = call.tensor(1)
    if value.rank == 0 or (axes.constant is not None and axes.constant.size == 0):
        return value
    whole = [part for part in value.parts if isinstance(part, int)]
    free: list[Axis] = [part for part in value.parts if not isinstance(part, int)]
    if not free and whole:
        return call.nodes.lengths([int(work(whole))], value.dtype, scalar=True)
    if call.node.operation == "Prod" and len(free) == 1 and math.prod(whole) == 1:
        return call.nodes.lengths(free, value.dtype, scalar=True)
    if len(value.parts) == 1:
        return call.nodes.lengths(value.parts, value.dtype, scalar=True)
    return None


def _arg(call: Call) -> Items:
    kind = call.node.operation
    axis = call.axes(call.whole(1), len(call.shape()))[0]
    made = call.nodes.emit(kind, call.name(0), axis=axis, keepdims=0)
    return (call.cast(made, call.node.type("output_type", "int64")),)


def _cumulated(call: Call) -> Items:
    axis = call.nodes.constant(call.whole(1)[0], "int64").name
    flags = {"exclusive": int(call.node.truth("exclusive")), "reverse": int(call.node.truth("reverse"))}
    return (call.nodes.emit("CumSum", call.name(0), axis, **flags),)


def _top(call: Call) -> Items:
    count = call.tensor(1) if len(call.inputs) > 1 else call.nodes.constant(call.node.integer("k"), "int64")
    one = call.nodes.constant([1], "int64").name
    wide = call.nodes.emit("Reshape", call.nodes.name(call.cast(count, "int64")), one)
    values, places = call.nodes.several("TopK", call.name(0), wide.name, outputs=2, axis=-1)
    return values, call.cast(places, call.node.type("index_type", "int32"))


def _l2_loss(call: Call) -> Items:
    whole = call.nodes.emit("ReduceSumSquare", call.name(0), keepdims=0)
    return (call.nodes.emit("Mul", whole.name, call.nodes.constant(0.5, whole.dtype).name),)


READERS: Readers = {
    **{name: _reduction(kind) for name, kind in _KINDS.items()},
    "ArgMax": _arg,
    "ArgMin": _arg,
    "Cumsum": _cumulated,
    "L2Loss": _l2_loss,
    "TopK": _top,
    "TopKV2": _top,
}
