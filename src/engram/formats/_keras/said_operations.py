"""ONNX nodes that are functions of ``keras.ops``: arithmetic, comparisons, sums, and moving numbers about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from engram.formats._keras.lowering import Lowering
from engram.formats._keras.said_layers import Said
from engram.formats._keras.words import Tensor
from engram.graphs.walk import Step

__all__ = ["OPERATIONS"]

_UNARY = {
    "Abs": "Absolute", "Acos": "Arccos", "Acosh": "Arccosh", "Asin": "Arcsin", "Asinh": "Arcsinh", "Atan": "Arctan",
    "Atanh": "Arctanh", "Ceil": "Ceil", "Cos": "Cos", "Cosh": "Cosh", "Erf": "Erf", "Exp": "Exp", "Floor": "Floor",
    "IsNaN": "Isnan", "Log": "Log", "Neg": "Negative", "Not": "LogicalNot", "Reciprocal": "Reciprocal",
    "Round": "Round", "Sign": "Sign", "Sin": "Sin", "Sinh": "Sinh", "Sqrt": "Sqrt", "Tan": "Tan",
}  # fmt: skip
_BINARY = {
    "Add": "Add", "And": "LogicalAnd", "Div": "TrueDivide", "Equal": "Equal", "Greater": "Greater",
    "GreaterOrEqual": "GreaterEqual", "Less": "Less", "LessOrEqual": "LessEqual", "Max": "Maximum", "Min": "Minimum",
    "Mul": "Multiply", "Or": "LogicalOr", "Pow": "Power", "Sub": "Subtract",
}  # fmt: skip
_REDUCED = {
    "ReduceMax": "Max", "ReduceMean": "Mean", "ReduceMin": "Min", "ReduceProd": "Prod", "ReduceSum": "Sum",
}  # fmt: skip
_PLAIN = {"Round": {"decimals": 0}}
_FAR = 2**31 - 1


def _unary(kind: str) -> Said:
    def say(low: Lowering, step: Step) -> None:
        last = low.is_last(step.inputs[0])
        value = low.last(step.inputs[0]) if last else low.first(step.inputs[0])
        low.put(step.outputs[0], low.words.operation(kind, [value], _PLAIN.get(kind)), last=last)

    return say


def _binary(kind: str) -> Said:
    def say(low: Lowering, step: Step) -> None:
        if kind == "TrueDivide" and not low.dtype(step.inputs[0]).startswith("float"):
            raise low.refused(step, "divides whole numbers, which Keras makes fractions of")
        names = list(step.inputs)
        last = all(_turnable(low, name) for name in names) and any(low.is_last(name) for name in names)
        given = [_with_last(low, name) if last else low.operand(name) for name in names]
        if not any(isinstance(one, Tensor) for one in given):
            raise low.refused(step, "computes what is known beforehand")
        made = given[0]
        for one in given[1:]:
            layer = low.words.operation(kind, [made, one])
            made = Tensor(layer, 0, low.shape(step.outputs[0]), low.dtype(step.outputs[0]))
        low.put(step.outputs[0], made.layer, made.place, last=last)

    return say


def _turnable(low: Lowering, name: str) -> bool:
    """Whether a value can stand with its channels last among others: of full rank, or one number."""
    return low.is_last(name) or (name in low.known and low.known[name].size == 1 and name not in low.arrays)


def _with_last(low: Lowering, name: str) -> Any:  # noqa: ANN401 - a tensor or a number
    return low.known[name].reshape(()) if name in low.known else low.last(name)


def _reduced(kind: str) -> Said:
    def say(low: Lowering, step: Step) -> None:
        rank = len(low.shape(step.inputs[0]))
        given = low.constant(step.inputs[1], step).ravel().tolist() if len(step.inputs) > 1 and step.inputs[1] else []
        if not given and step.attributes.get("noop_with_empty_axes", 0):
            raise low.refused(step, "sums up nothing")
        axes = sorted(int(axis) % rank for axis in given) or list(range(rank))
        keep = bool(step.attributes.get("keepdims", 1))
        if low.is_last(step.inputs[0]) and axes == list(range(2, rank)):
            said = {"axis": list(range(1, rank - 1)), "keepdims": keep}
            made = low.words.operation(kind, [low.last(step.inputs[0])], said)
            low.put(step.outputs[0], made, last=keep)
            return
        made = low.words.operation(kind, [low.first(step.inputs[0])], {"axis": axes, "keepdims": keep})
        low.put(step.outputs[0], made)

    return say


def _target(low: Lowering, step: Step) -> list[int]:
    """The shape of a node's answer with -1 for the free axis, of which there may be one."""
    shape = [-1 if length is None else length for length in low.shape(step.outputs[0])]
    if shape.count(-1) > 1:
        raise low.refused(step, f"makes a tensor of the shape {shape}, of which more than one length is free")
    return shape


def _reshape(low: Lowering, step: Step) -> None:
    low.put(
        step.outputs[0], low.words.operation("Reshape", [low.first(step.inputs[0])], {"newshape": _target(low, step)})
    )


def _squeeze(low: Lowering, step: Step) -> None:
    shape = low.shape(step.inputs[0])
    given = low.constant(step.inputs[1], step).ravel().tolist() if len(step.inputs) > 1 and step.inputs[1] else None
    axes = [axis for axis, length in enumerate(shape) if length == 1] if given is None else given
    made = low.words.operation("Squeeze", [low.first(step.inputs[0])], {"axis": sorted(a % len(shape) for a in axes)})
    low.put(step.outputs[0], made)


def _unsqueeze(low: Lowering, step: Step) -> None:
    rank = len(low.shape(step.outputs[0]))
    axes = sorted(axis % rank for axis in low.constant(step.inputs[1], step).ravel().tolist())
    value = low.first(step.inputs[0])
    for axis in axes:
        made = low.words.operation("ExpandDims", [value], {"axis": axis})
        value = Tensor(made, 0, (*value.shape[:axis], 1, *value.shape[axis:]), value.dtype)
    low.put(step.outputs[0], value.layer)


def _squares(low: Lowering, step: Step) -> None:
    value = low.first(step.inputs[0])
    squared = Tensor(low.words.operation("Square", [value]), 0, value.shape, value.dtype)
    rank = len(value.shape)
    given = low.constant(step.inputs[1], step).ravel().tolist() if len(step.inputs) > 1 and step.inputs[1] else []
    axes = sorted(int(axis) % rank for axis in given) or list(range(rank))
    said = {"axis": axes, "keepdims": bool(step.attributes.get("keepdims", 1))}
    low.put(step.outputs[0], low.words.operation("Sum", [squared], said))


def _instance_norm(low: Lowering, step: Step) -> None:
    """Each channel of each row to mean 0 and deviation 1 over its places, then scaled and shifted."""
    value = low.first(step.inputs[0])
    rank, far = len(value.shape), {"axis": list(range(2, len(value.shape))), "keepdims": True}
    thin = (*value.shape[:2], *[1] * (rank - 2))

    def say(kind: str, given: list[Any], shape: tuple[int | None, ...], said: dict[str, Any] | None = None) -> Tensor:
        return Tensor(low.words.operation(kind, given, said), 0, shape, value.dtype)

    apart = say("Subtract", [value, say("Mean", [value], thin, far)], value.shape)
    spread = say("Mean", [say("Square", [apart], value.shape)], thin, far)
    root = say("Sqrt", [say("Add", [spread, step.attributes.get("epsilon", 1e-5)], thin)], thin)
    made = say("TrueDivide", [apart, root], value.shape)
    for kind, name, plain in (("Multiply", step.inputs[1], 1), ("Add", step.inputs[2], 0)):
        if name in low.known and (low.known[name] == plain).all():
            continue
        wide = [-1, *[1] * (rank - 2)]
        given = low.known[name].reshape(wide) if name in low.known else low.first(name)
        given = say("Reshape", [given], thin[1:], {"newshape": wide}) if isinstance(given, Tensor) else given
        made = say(kind, [made, given], value.shape)
    low.put(step.outputs[0], made.layer)


def _transpose(low: Lowering, step: Step) -> None:
    rank = len(low.shape(step.inputs[0]))
    order = list(step.attributes.get("perm", reversed(range(rank))))
    name, made = step.inputs[0], step.outputs[0]
    if rank > 2 and order == [0, *range(2, rank), 1]:
        tensor = low.last(name)
        low.put(made, tensor.layer, tensor.place)
    elif rank > 2 and order == [0, rank - 1, *range(1, rank - 1)]:
        tensor = low.first(name)
        low.put(made, tensor.layer, tensor.place, last=True)
    else:
        low.put(made, low.words.operation("Transpose", [low.first(name)], {"axes": order}))


def _concatenate(low: Lowering, step: Step) -> None:
    rank = len(low.shape(step.outputs[0]))
    axis = step.attributes["axis"] % rank
    last = rank > 2 and any(low.is_last(name) for name in step.inputs) and not any(map(low.is_static, step.inputs))
    if last:
        moved = rank - 1 if axis == 1 else (axis - 1 if axis > 1 else 0)
        made = low.words.operation("Concatenate", [[low.last(name) for name in step.inputs]], {"axis": moved})
    else:
        made = low.words.operation("Concatenate", [[low.operand(name) for name in step.inputs]], {"axis": axis})
    low.put(step.outputs[0], made, last=last)


def _slice(low: Lowering, step: Step) -> None:
    rank = len(low.shape(step.inputs[0]))
    found = [low.constant(name, step).ravel().tolist() if name else [] for name in step.inputs[1:]]
    starts, stops = found[:2]
    axes = found[2] if len(found) > 2 and found[2] else list(range(len(starts)))
    paces = found[3] if len(found) > 3 and found[3] else [1] * len(starts)
    keys: list[Any] = [slice(None)] * rank
    value = low.first(step.inputs[0])
    for axis, start, stop, pace in zip(axes, starts, stops, paces, strict=True):
        if pace == -1 and start in {-1, _FAR, 2**63 - 1} and stop <= -_FAR:
            flipped = low.words.operation("Flip", [value], {"axis": axis % rank})
            value = Tensor(flipped, 0, value.shape, value.dtype)
            continue
        if pace < 0:
            raise low.refused(step, "goes backwards over a part of an axis, which is not written")
        keys[axis % rank] = slice(int(start), None if stop >= _FAR else int(stop), int(pace))
    if all(key == slice(None) for key in keys):
        low.put(step.outputs[0], value.layer, value.place)
        return
    low.put(step.outputs[0], low.words.operation("GetItem", [value, keys]))


def _split(low: Lowering, step: Step) -> None:
    rank = len(low.shape(step.inputs[0]))
    axis = step.attributes.get("axis", 0) % rank
    sizes = [low.shape(name)[axis] for name in step.outputs]
    if None in sizes:
        raise low.refused(step, "splits an axis of unknown length")
    bounds = np.cumsum([size or 0 for size in sizes])[:-1].tolist()
    made = low.words.operation("Split", [low.first(step.inputs[0])], {"indices_or_sections": bounds, "axis": axis})
    for place, name in enumerate(step.outputs):
        low.put(name, made, place)


def _same(low: Lowering, step: Step) -> None:
    last = low.is_last(step.inputs[0])
    tensor = low.last(step.inputs[0]) if last else low.first(step.inputs[0])
    low.put(step.outputs[0], tensor.layer, tensor.place, last=last)


def _cast(low: Lowering, step: Step) -> None:
    kind = low.dtype(step.outputs[0])
    if kind in {"float16", "bfloat16"}:
        raise low.refused(step, f"computes in {kind}, but layers are written in float32 alone")
    low.put(step.outputs[0], low.words.operation("Cast", [low.first(step.inputs[0])], {"dtype": kind}))


def _where(low: Lowering, step: Step) -> None:
    low.put(step.outputs[0], low.words.operation("Where", [low.operand(name) for name in step.inputs]))


def _clip(low: Lowering, step: Step) -> None:
    value = low.first(step.inputs[0])
    bounds = [low.constant(name, step).item() if name else None for name in (*step.inputs[1:], "", "")[:2]]
    made = low.words.operation("Clip", [value], {"x_min": _bound(bounds[0], -1), "x_max": _bound(bounds[1], 1)})
    low.put(step.outputs[0], made)


def _bound(found: float | None, sign: int) -> float:
    return sign * float(np.finfo(np.float32).max) if found is None else found


def _pad(low: Lowering, step: Step) -> None:
    mode = step.attributes.get("mode", "constant")
    pads = low.constant(step.inputs[1], step).ravel().tolist()
    rank = len(low.shape(step.inputs[0]))
    if len(step.inputs) > 3 and step.inputs[3]:
        raise low.refused(step, "pads chosen axes, which is not written")
    if mode not in {"constant", "reflect"} or min(pads) < 0:
        raise low.refused(step, f"pads in the mode {mode} or by less than nothing, which Keras does not")
    number = low.constant(step.inputs[2], step).item() if len(step.inputs) > 2 and step.inputs[2] else 0
    width = [[pads[axis], pads[axis + rank]] for axis in range(rank)]
    named = {"constant_values": number} if number else {}
    made = low.words.operation("Pad", [low.first(step.inputs[0])], {"pad_width": width, "mode": mode}, named=named)
    low.put(step.outputs[0], made)


def _tile(low: Lowering, step: Step) -> None:
    many = low.constant(step.inputs[1], step).ravel().tolist()
    low.put(step.outputs[0], low.words.operation("Tile", [low.first(step.inputs[0])], {"repeats": many}))


def _arg(kind: str) -> Said:
    def say(low: Lowering, step: Step) -> None:
        said = {"axis": step.attributes.get("axis", 0), "keepdims": bool(step.attributes.get("keepdims", 1))}
        if step.attributes.get("select_last_index", 0):
            raise low.refused(step, "takes the last of equal numbers, which Keras does not")
        made = low.words.operation(kind, [low.first(step.inputs[0])], said)
        whole = Tensor(made, 0, low.shape(step.outputs[0]), "int32")
        low.put(step.outputs[0], low.words.operation("Cast", [whole], {"dtype": "int64"}))

    return say


def _einsum(low: Lowering, step: Step) -> None:
    given = [low.first(name) for name in step.inputs]
    said = {"subscripts": step.attributes["equation"]}
    low.put(step.outputs[0], low.words.operation("Einsum", given, said))


def _one_hot(low: Lowering, step: Step) -> None:
    many = int(low.constant(step.inputs[1], step).item())
    values = low.constant(step.inputs[2], step).ravel().tolist()
    if values != [0, 1]:
        raise low.refused(step, f"marks places by {values}, which Keras does not")
    said = {"num_classes": many, "axis": step.attributes.get("axis", -1), "dtype": low.dtype(step.outputs[0])}
    low.put(step.outputs[0], low.words.operation("OneHot", [low.first(step.inputs[0])], said))


def _expand(low: Lowering, step: Step) -> None:
    """A value spread over axes of length one, where the answer's shape is known but for the batch."""
    own, wanted = low.shape(step.inputs[0]), low.shape(step.outputs[0])
    own = (1,) * (len(wanted) - len(own)) + own
    many = [_times(low, step, one, other) for one, other in zip(own, wanted, strict=True)]
    value = low.first(step.inputs[0])
    if len(low.shape(step.inputs[0])) < len(wanted):
        made = low.words.operation("Reshape", [value], {"newshape": [-1 if n is None else n for n in own]})
        value = Tensor(made, 0, own, value.dtype)
    low.put(step.outputs[0], low.words.operation("Tile", [value], {"repeats": many}))


def _times(low: Lowering, step: Step, one: int | None, other: int | None) -> int:
    if one == other:
        return 1
    if one != 1 or other is None:
        raise low.refused(step, "spreads a value over an axis of unknown length")
    return other


OPERATIONS: Mapping[str, Said] = {
    **{name: _unary(kind) for name, kind in _UNARY.items()},
    **{name: _binary(kind) for name, kind in _BINARY.items()},
    **{name: _reduced(kind) for name, kind in _REDUCED.items()},
    "ArgMax": _arg("Argmax"),
    "ArgMin": _arg("Argmin"),
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concatenate,
    "Einsum": _einsum,
    "Expand": _expand,
    "Flatten": _reshape,
    "Identity": _same,
    "InstanceNormalization": _instance_norm,
    "OneHot": _one_hot,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "ReduceSumSquare": _squares,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
