"""Operations that work on each number by itself.

They do not care in which order axes lie, so a transposition that is owed stays owed. Two operands must lie alike for
that; a vector along the last axis is laid along the axis where that lies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from engram.formats._tensorflow import normalization
from engram.formats._tensorflow.call import Call, Reader, Readers
from engram.formats._tensorflow.values import Axis, Items, Tensor, inverse

__all__ = ["READERS", "binary", "unary"]

_UNARY = {
    "Abs": "Abs", "Acos": "Acos", "Acosh": "Acosh", "Asin": "Asin", "Asinh": "Asinh", "Atan": "Atan", "Atanh": "Atanh",
    "Ceil": "Ceil", "Cos": "Cos", "Cosh": "Cosh", "Erf": "Erf", "Exp": "Exp", "Floor": "Floor", "IsNan": "IsNaN",
    "Log": "Log", "LogicalNot": "Not", "Neg": "Neg", "Reciprocal": "Reciprocal", "Inv": "Reciprocal", "Relu": "Relu",
    "Rint": "Round", "Round": "Round", "Sigmoid": "Sigmoid", "Sign": "Sign", "Sin": "Sin", "Sinh": "Sinh",
    "Softplus": "Softplus", "Softsign": "Softsign", "Sqrt": "Sqrt", "Tan": "Tan", "Tanh": "Tanh", "IsInf": "IsInf",
    "Invert": "BitwiseNot",
}  # fmt: skip
_BINARY = {
    "Add": "Add", "AddV2": "Add", "Sub": "Sub", "Mul": "Mul", "RealDiv": "Div", "TruncateDiv": "Div", "Pow": "Pow",
    "Maximum": "Max", "Minimum": "Min", "Equal": "Equal", "Greater": "Greater", "GreaterEqual": "GreaterOrEqual",
    "Less": "Less", "LessEqual": "LessOrEqual", "LogicalAnd": "And", "LogicalOr": "Or", "BitwiseAnd": "BitwiseAnd",
    "BitwiseOr": "BitwiseOr", "BitwiseXor": "BitwiseXor",
}  # fmt: skip
_LENGTHS: Mapping[str, Callable[[int, int], int]] = {
    "Add": lambda a, b: a + b, "AddV2": lambda a, b: a + b, "Sub": lambda a, b: a - b, "Mul": lambda a, b: a * b,
    "FloorDiv": lambda a, b: a // b, "FloorMod": lambda a, b: a % b, "Maximum": max, "Minimum": min,
}  # fmt: skip
_REMEMBERED = frozenset({"Add", "AddV2", "Mul", "Sub", "Neg", "Rsqrt", "RealDiv", "SquaredDifference"})


def unary(call: Call, value: Tensor, kind: str, **attributes: Any) -> Tensor:  # noqa: ANN401
    """One node on one value, whatever is owed."""
    made = call.nodes.emit(kind, call.nodes.stored(value).name, **attributes)
    return call.nodes.turned(made, value.turn) if value.turn else made


def binary(call: Call, first: Tensor, second: Tensor, kind: str, **attributes: Any) -> Tensor:  # noqa: ANN401
    """One node on two values that lie alike."""
    (one, other), turn = alike(call, (first, second))
    made = call.nodes.emit(kind, one.name, other.name, **attributes)
    return call.nodes.turned(made, turn) if turn else made


def alike(call: Call, values: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """Values laid so that one node can take them all, and the transposition owed by what it makes."""
    rank = max(value.rank for value in values)
    turns = {value.turn for value in values if value.rank == rank and value.shape != (1,) * rank}
    if len(turns) == 1 and turns != {()} and all(value.shape is not None for value in values):
        turn = next(iter(turns))
        laid = [_laid(call, value, turn) for value in values]
        if all(value is not None for value in laid):
            return tuple(value for value in laid if value is not None), turn
    return tuple(call.nodes.settled(value) for value in values), ()


def _laid(call: Call, value: Tensor, turn: tuple[int, ...]) -> Tensor | None:
    """A value as it must lie beside one that owes this transposition; None where that takes more than a new shape."""
    if value.turn == turn:
        return call.nodes.stored(value)
    if value.turn or value.shape is None:
        return None
    full: tuple[Axis, ...] = (1,) * (len(turn) - len(value.shape)) + value.shape
    long = [place for place, axis in enumerate(full) if axis != 1]
    settled = call.nodes.settled(value)
    if not long:
        return (
            settled
            if not value.shape
            else call.nodes.emit("Reshape", settled.name, call.nodes.constant([], "int64").name)
        )
    back = inverse(turn)
    if len(long) > 1 or not all(isinstance(axis, int) for axis in full):
        return None
    target = [full[axis] for axis in back]
    first = target.index(full[long[0]])
    shape = call.nodes.constant([int(axis) for axis in target[first:]], "int64")
    return call.nodes.emit("Reshape", settled.name, shape.name)


def _one(kind: str) -> Reader:
    def read(call: Call) -> Items:
        made = unary(call, call.tensor(0), kind)
        return (_remembered(call, made),)

    return read


def _two(kind: str) -> Reader:
    def read(call: Call) -> Items:
        first, second = call.tensor(0), call.tensor(1)
        known = _lengths(call, first, second)
        if known is not None:
            return (known,)
        found = normalization.recognized(call)
        if found is None and call.node.operation in {"Add", "AddV2"} and second.name in call.nodes.weights:
            found = _with_bias(call, first, second)
        if found is not None:
            return (found,)
        return (_remembered(call, binary(call, first, second, kind)),)

    return read


def _remembered(call: Call, made: Tensor) -> Tensor:
    if call.node.operation not in _REMEMBERED:
        return made
    return replace(made, origin=(call.node.operation, call.inputs, {}))


def _lengths(call: Call, first: Tensor, second: Tensor) -> Tensor | None:
    """Arithmetic on lengths that are known."""
    work = _LENGTHS.get(call.node.operation)
    if work is None or first.parts is None or second.parts is None or first.dtype not in {"int32", "int64"}:
        return None
    one, other = first.parts, second.parts
    count = max(len(one), len(other))
    if {len(one), len(other)} - {1, count}:
        return None
    pairs = [(one[i % len(one)], other[i % len(other)]) for i in range(count)]
    made: list[Axis] = []
    for a, b in pairs:
        if isinstance(a, int) and isinstance(b, int):
            if b == 0 and call.node.operation in {"FloorDiv", "FloorMod"}:
                return None
            made.append(int(work(a, b)))
        elif call.node.operation == "Mul" and 1 in {a, b}:
            made.append(b if a == 1 else a)
        elif call.node.operation in {"Add", "AddV2"} and 0 in {a, b}:
            made.append(b if a == 0 else a)
        elif call.node.operation == "Sub" and b == 0:
            made.append(a)
        else:
            return None
    return call.nodes.lengths(made, first.dtype, scalar=first.rank == 0 and second.rank == 0)


def _number(call: Call, like: Tensor, value: float) -> Tensor:
    return call.nodes.constant(value, like.dtype)


def _rsqrt(call: Call) -> Items:
    value = call.tensor(0)
    root = unary(call, value, "Sqrt")
    return (_remembered(call, unary(call, root, "Reciprocal")),)


def _square(call: Call) -> Items:
    value = call.tensor(0)
    return (binary(call, value, value, "Mul"),)


def _squared_difference(call: Call) -> Items:
    apart = binary(call, call.tensor(0), call.tensor(1), "Sub")
    return (_remembered(call, binary(call, apart, apart, "Mul")),)


def _floor_div(call: Call) -> Items:
    first, second = call.tensor(0), call.tensor(1)
    known = _lengths(call, first, second)
    if known is not None:
        return (known,)
    if first.dtype.startswith(("float", "bfloat")):
        return (unary(call, binary(call, first, second, "Div"), "Floor"),)
    rest = binary(call, first, second, "Mod")
    return (binary(call, binary(call, first, rest, "Sub"), second, "Div"),)


def _floor_mod(call: Call) -> Items:
    first, second = call.tensor(0), call.tensor(1)
    known = _lengths(call, first, second)
    if known is not None:
        return (known,)
    if first.dtype.startswith(("float", "bfloat")):
        whole = unary(call, binary(call, first, second, "Div"), "Floor")
        return (binary(call, first, binary(call, whole, second, "Mul"), "Sub"),)
    return (binary(call, first, second, "Mod"),)


def _div(call: Call) -> Items:
    """Division that never fails: what is divided by zero is zero."""
    first, second = call.tensor(0), call.tensor(1)
    zero, one = _number(call, second, 0), _number(call, second, 1)
    none = binary(call, second, zero, "Equal")
    safe = _where(call, none, one, second)
    return (_where(call, none, _number(call, first, 0), binary(call, first, safe, "Div")),)


def _where(call: Call, condition: Tensor, first: Tensor, second: Tensor) -> Tensor:
    laid, turn = alike(call, (condition, first, second))
    made = call.nodes.emit("Where", *(value.name for value in laid))
    return call.nodes.turned(made, turn) if turn else made


def _select(call: Call) -> Items:
    condition, first, second = call.tensor(0), call.tensor(1), call.tensor(2)
    if call.node.operation == "Select" and 1 == condition.rank < first.rank:
        # the older operation lays its condition along the first axis
        shape = call.nodes.constant([-1, *[1] * (first.rank - 1)], "int64")
        condition = call.nodes.emit("Reshape", call.nodes.name(condition), shape.name)
    return (_where(call, condition, first, second),)


def _not_equal(call: Call) -> Items:
    return (unary(call, binary(call, call.tensor(0), call.tensor(1), "Equal"), "Not"),)


def _xor(call: Call) -> Items:
    return (binary(call, call.tensor(0), call.tensor(1), "Xor"),)


def _clip(low: float | None, high: float | None) -> Reader:
    def read(call: Call) -> Items:
        value = call.tensor(0)
        ends = [call.nodes.constant(end, value.dtype).name if end is not None else "" for end in (low, high)]
        made = call.nodes.emit("Clip", call.nodes.stored(value).name, *ends)
        return (call.nodes.turned(made, value.turn) if value.turn else made,)

    return read


def _clip_by_value(call: Call) -> Items:
    raised = binary(call, call.tensor(0), call.tensor(1), "Max")
    return (binary(call, raised, call.tensor(2), "Min"),)


def _leaky(call: Call) -> Items:
    return (unary(call, call.tensor(0), "LeakyRelu", alpha=call.node.number("alpha", 0.2)),)


def _elu(call: Call) -> Items:
    return (unary(call, call.tensor(0), "Elu", alpha=1.0),)


def _selu(call: Call) -> Items:
    return (unary(call, call.tensor(0), "Selu", alpha=1.6732632423543772, gamma=1.0507009873554805),)


def _log1p(call: Call) -> Items:
    value = call.tensor(0)
    return (unary(call, binary(call, value, _number(call, value, 1), "Add"), "Log"),)


def _expm1(call: Call) -> Items:
    value = call.tensor(0)
    return (binary(call, unary(call, value, "Exp"), _number(call, value, 1), "Sub"),)


def _erfc(call: Call) -> Items:
    value = call.tensor(0)
    return (binary(call, _number(call, value, 1), unary(call, value, "Erf"), "Sub"),)


def _atan2(call: Call) -> Items:
    """The angle of a point, in all four quadrants."""
    y, x = call.tensor(0), call.tensor(1)
    zero, pi = _number(call, x, 0), _number(call, x, np.pi)
    plain = unary(call, binary(call, y, x, "Div"), "Atan")
    below = binary(call, y, zero, "Less")
    behind = _where(call, below, binary(call, plain, pi, "Sub"), binary(call, plain, pi, "Add"))
    upright = _where(call, below, _number(call, x, -np.pi / 2), _number(call, x, np.pi / 2))
    upright = _where(call, binary(call, y, zero, "Equal"), zero, upright)
    sides = _where(call, binary(call, x, zero, "Less"), behind, plain)
    return (_where(call, binary(call, x, zero, "Equal"), upright, sides),)


def _finite(call: Call) -> Items:
    value = call.tensor(0)
    wrong = binary(call, unary(call, value, "IsNaN"), unary(call, value, "IsInf"), "Or")
    return (unary(call, wrong, "Not"),)


def _cast(call: Call) -> Items:
    value, target = call.tensor(0), call.node.type("DstT")
    if not target or target == "string" or target.startswith("complex"):
        raise call.refused("casts to a type that is not read")
    return (call.cast(value, target),)


def _same(call: Call) -> Items:
    return call.inputs[:1]


def _each(call: Call) -> Items:
    return call.inputs


def _bias_add(call: Call) -> Items:
    value, bias = call.tensor(0), call.tensor(1)
    made = _with_bias(call, value, bias)
    if made is not None:
        return (made,)
    if call.node.text("data_format", "NHWC").startswith("NC") and value.rank > 2:
        shape = call.nodes.constant([-1, *[1] * (value.rank - 2)], "int64")
        bias = call.nodes.emit("Reshape", call.nodes.name(bias), shape.name)
    return (replace(binary(call, value, bias, "Add"), origin=("BiasAdd", call.inputs, {})),)


def _with_bias(call: Call, value: Tensor, bias: Tensor) -> Tensor | None:
    """A convolution or product that takes its bias along; None where the addition is one of its own."""
    found = call.trace.products.get(value.name)
    if found is None or bias.rank != 1 or bias.turn or value.rank < 2 or not value.shape:
        return None
    channels_last = len(value.turn) > 2 and value.turn[-1] == 1
    first = call.node.text("data_format", "NHWC").startswith("NC") and not value.turn
    if found[0] != "Gemm" and not (channels_last or (first and call.node.operation == "BiasAdd")):
        return None
    channels = value.shape[-1] if found[0] == "Gemm" or channels_last else value.shape[1]
    if channels != (bias.shape or (None,))[0]:
        return None
    kind, given, said = found
    made = call.nodes.emit(kind, *given, call.nodes.name(bias), **said)
    return call.nodes.turned(made, value.turn) if value.turn else made


def _add_n(call: Call) -> Items:
    made = call.tensor(0)
    for place in range(1, len(call.inputs)):
        made = binary(call, made, call.tensor(place), "Add")
    return (made,)


READERS: Readers = {
    **{name: _one(kind) for name, kind in _UNARY.items()},
    **{name: _two(kind) for name, kind in _BINARY.items()},
    **dict.fromkeys(
        (
            "Identity",
            "StopGradient",
            "PreventGradient",
            "Snapshot",
            "CheckNumerics",
            "EnsureShape",
            "PlaceholderWithDefault",
        ),
        _same,
    ),
    "IdentityN": _each,
    "AddN": _add_n,
    "Atan2": _atan2,
    "BiasAdd": _bias_add,
    "BiasAddV1": _bias_add,
    "Cast": _cast,
    "ClipByValue": _clip_by_value,
    "Div": _two("Div"),
    "DivNoNan": _div,
    "Elu": _elu,
    "Erfc": _erfc,
    "Expm1": _expm1,
    "FloorDiv": _floor_div,
    "FloorMod": _floor_mod,
    "IsFinite": _finite,
    "LeakyRelu": _leaky,
    "Log1p": _log1p,
    "NotEqual": _not_equal,
    "LogicalXor": _xor,
    "Relu6": _clip(0, 6),
    "Rsqrt": _rsqrt,
    "Select": _select,
    "SelectV2": _select,
    "Selu": _selu,
    "Square": _square,
    "SquaredDifference": _squared_difference,
}
