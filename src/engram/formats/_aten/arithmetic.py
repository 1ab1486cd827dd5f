"""Two numbers and what comes of them, in the type that torch computes in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from engram.formats._aten.call import Call, Operand, Rule, Sheet, promoted

__all__ = ["TABLE"]

_BITS: Final = {"and": "And", "or": "Or", "xor": "Xor"}
_COMPARED: Final = {
    "eq": "Equal", "ge": "GreaterOrEqual", "gt": "Greater", "le": "LessOrEqual", "lt": "Less", "ne": "Equal",
}  # fmt: skip


def _pair(sheet: Sheet, call: Call, dtype: str) -> tuple[str, str]:
    other = call.arguments.get("other")
    return sheet.scalar(call.arguments.get("self"), dtype), sheet.scalar(other, dtype)


def _scaled(kind: str, *, turned: bool = False) -> Rule:
    """A sum or difference; torch multiplies the second by ``alpha``."""

    def rule(sheet: Sheet, call: Call) -> str:
        dtype, alpha = call.result.dtype, call.number("alpha", 1)
        one, other = _pair(sheet, call, dtype)
        if turned:
            one, other = other, one
        if alpha != 1:
            other = sheet.node("Mul", other, sheet.scalar(alpha, dtype))
        return sheet.node(kind, one, other)

    return rule


def _plain(kind: str) -> Rule:
    def rule(sheet: Sheet, call: Call) -> str:
        return sheet.node(kind, *_pair(sheet, call, call.result.dtype))

    return rule


def _mul(sheet: Sheet, call: Call) -> str:
    if call.result.dtype == "bool":
        return sheet.node("And", *_pair(sheet, call, "bool"))
    return sheet.node("Mul", *_pair(sheet, call, call.result.dtype))


def _div(sheet: Sheet, call: Call) -> str:
    mode = call.arguments.get("rounding_mode")
    dtype = call.result.dtype
    one, other = _pair(sheet, call, dtype)
    if mode is None and call.operator != "floor_divide":
        return sheet.node("Div", one, other)
    if dtype.startswith(("float", "bfloat")):
        made = sheet.node("Div", one, other)
        if mode == "trunc":
            return sheet.node("Mul", sheet.node("Sign", made), sheet.node("Floor", sheet.node("Abs", made)))
        return sheet.node("Floor", made)
    made = sheet.node("Div", one, other)
    if mode == "trunc" or dtype.startswith("u"):
        return made
    rest = sheet.node("Mod", one, other)
    return sheet.node("Div", sheet.node("Sub", one, rest), other)


def _remainder(sheet: Sheet, call: Call) -> str:
    dtype = call.result.dtype
    one, other = _pair(sheet, call, dtype)
    if call.operator == "fmod":
        return sheet.node("Mod", one, other, fmod=1)
    if not dtype.startswith(("float", "bfloat")):
        return sheet.node("Mod", one, other)
    times = sheet.node("Floor", sheet.node("Div", one, other))
    return sheet.node("Sub", one, sheet.node("Mul", times, other))


def _pow(sheet: Sheet, call: Call) -> str:
    dtype = call.result.dtype
    exponent = call.arguments.get("exponent")
    return sheet.node("Pow", sheet.scalar(call.arguments.get("self"), dtype), sheet.scalar(exponent, dtype))


def _compared(sheet: Sheet, call: Call) -> str:
    kind = _COMPARED[call.operator]
    made = sheet.node(kind, *_pair(sheet, call, _common(call)))
    return sheet.node("Not", made) if call.operator == "ne" else made


def _common(call: Call) -> str:
    """The type in which two are compared; a number beside a tensor takes the tensor's, unless it has a fraction."""
    types = [one.dtype for one in (call.arguments.get("self"), call.arguments.get("other")) if isinstance(one, Operand)]
    if not types:
        raise call.refused("compares no tensor")
    other: Any = call.arguments.get("other")
    if len(types) == 1 and isinstance(other, float) and not types[0].startswith(("float", "bfloat")):
        return "float32"
    if len(types) == 1 and types[0] == "bool" and type(other) is int:
        return "int64"
    return types[0] if len(types) == 1 else promoted(*types)


def _bits(sheet: Sheet, call: Call) -> str:
    library, _, word = call.operator.strip("_").rpartition("_")
    if library == "logical" or call.result.dtype == "bool":
        return sheet.node(_BITS[word], *_pair(sheet, call, "bool"))
    return sheet.node(f"Bitwise{_BITS[word]}", *_pair(sheet, call, call.result.dtype))


def _where(sheet: Sheet, call: Call) -> str:
    dtype = call.result.dtype
    one, other = _pair(sheet, call, dtype)
    return sheet.node("Where", sheet.cast(call.tensor("condition"), "bool"), one, other)


def _masked_fill(sheet: Sheet, call: Call) -> str:
    dtype = call.result.dtype
    mask = sheet.cast(call.tensor("mask"), "bool")
    return sheet.node("Where", mask, sheet.scalar(call.arguments.get("value"), dtype), call.tensor("self").name)


def _addc(kind: str) -> Rule:
    def rule(sheet: Sheet, call: Call) -> str:
        dtype = call.result.dtype
        parts = (call.tensor(name) for name in ("tensor1", "tensor2"))
        made = sheet.node(kind, *(sheet.cast(part, dtype) for part in parts))
        if call.number("value", 1) != 1:
            made = sheet.node("Mul", made, sheet.scalar(call.number("value", 1), dtype))
        return sheet.node("Add", sheet.cast(call.tensor("self"), dtype), made)

    return rule


def _lerp(sheet: Sheet, call: Call) -> str:
    dtype = call.result.dtype
    start = call.tensor("self").name
    weight = sheet.scalar(call.arguments.get("weight"), dtype)
    way = sheet.node("Sub", call.tensor("end").name, start)
    return sheet.node("Add", start, sheet.node("Mul", weight, way))


def _angle(sheet: Sheet, call: Call) -> str:
    """The angle of a point, from its height and its breadth, in all four quarters."""
    dtype = call.result.dtype
    height, breadth = (sheet.cast(call.tensor(name), dtype) for name in ("self", "other"))
    zero, half = sheet.scalar(0.0, dtype), [sheet.scalar(turn, dtype) for turn in (math.pi, -math.pi)]
    angle = sheet.node("Atan", sheet.node("Div", height, breadth))
    behind = sheet.node("Where", sheet.node("Less", height, zero), half[1], half[0])
    turned = sheet.node("Where", sheet.node("Less", breadth, zero), behind, zero)
    nowhere = sheet.node("And", sheet.node("Equal", height, zero), sheet.node("Equal", breadth, zero))
    return sheet.node("Where", nowhere, zero, sheet.node("Add", angle, turned))


def _distances(sheet: Sheet, call: Call) -> str:
    """From each row of one to each row of the other."""
    one, other, power = call.tensor("x1"), call.tensor("x2"), call.number("p", 2.0)
    if power not in {1, 2}:
        raise call.refused(f"measures with the power {power:g}; 1 and 2 are read")
    sides = sheet.node("Unsqueeze", one.name, sheet.wholes(-2)), sheet.node("Unsqueeze", other.name, sheet.wholes(-3))
    return sheet.node(f"ReduceL{power:.0f}", sheet.node("Sub", *sides), sheet.wholes(-1), keepdims=0)


TABLE: Mapping[str, Rule] = {
    **dict.fromkeys(("_cdist_forward", "cdist"), _distances),
    **dict.fromkeys(("arctan2", "atan2"), _angle),
    **dict.fromkeys(_COMPARED, _compared),
    **{f"{library}_{word}": _bits for library in ("bitwise", "logical") for word in _BITS},
    **{f"__{word}__": _bits for word in _BITS},
    "add": _scaled("Add"),
    "addcdiv": _addc("Div"),
    "addcmul": _addc("Mul"),
    "div": _div,
    "divide": _div,
    "floor_divide": _div,
    "fmod": _remainder,
    "lerp": _lerp,
    "masked_fill": _masked_fill,
    "maximum": _plain("Max"),
    "minimum": _plain("Min"),
    "mul": _mul,
    "multiply": _mul,
    "pow": _pow,
    "remainder": _remainder,
    "rsub": _scaled("Sub", turned=True),
    "sub": _scaled("Sub"),
    "subtract": _scaled("Sub"),
    "true_divide": _div,
    "where": _where,
}
