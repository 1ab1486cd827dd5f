"""What operators make of one number at a time, and of pairs that stand at the same place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from engram.formats._aten.call import Call, Rule, Sheet

__all__ = ["TABLE"]

_PLAIN: Final = {
    "abs": "Abs", "acos": "Acos", "acosh": "Acosh", "asin": "Asin", "asinh": "Asinh", "atan": "Atan", "atanh": "Atanh",
    "ceil": "Ceil", "cos": "Cos", "cosh": "Cosh", "erf": "Erf", "exp": "Exp", "floor": "Floor",
    "hardswish": "HardSwish", "log": "Log", "mish": "Mish", "neg": "Neg", "reciprocal": "Reciprocal", "relu": "Relu",
    "round": "Round", "sigmoid": "Sigmoid", "sign": "Sign", "sin": "Sin", "sinh": "Sinh", "sqrt": "Sqrt", "tan": "Tan",
    "tanh": "Tanh",
}  # fmt: skip
_ANY_TYPE: Final = frozenset({"abs", "ceil", "floor", "neg", "relu", "round", "sign"})


def _given(sheet: Sheet, call: Call) -> str:
    """The argument in the type of the result, as torch computes ``sqrt`` of whole numbers."""
    return sheet.cast(call.tensor("self", "input"), call.result.dtype)


def _plain(kind: str, *, any_type: bool) -> Rule:
    def rule(sheet: Sheet, call: Call) -> str:
        value = call.tensor("self", "input").name if any_type else _given(sheet, call)
        if kind in {"Ceil", "Floor", "Round"} and not call.tensor("self", "input").is_floating:
            return sheet.node("Identity", value)
        return sheet.node(kind, value)

    return rule


def _gelu(sheet: Sheet, call: Call) -> str:
    approximate = call.text("approximate", "none")
    if approximate not in {"none", "tanh"}:
        raise call.refused(f"approximates by {approximate!r}, which is not known")
    return sheet.node("Gelu", _given(sheet, call), approximate=approximate if approximate != "none" else None)


def _silu(sheet: Sheet, call: Call) -> str:
    value = _given(sheet, call)
    return sheet.node("Mul", value, sheet.node("Sigmoid", value))


def _leaky(sheet: Sheet, call: Call) -> str:
    return sheet.node("LeakyRelu", _given(sheet, call), alpha=float(call.number("negative_slope", 0.01)))


def _elu(sheet: Sheet, call: Call) -> str:
    alpha, scale, inner = (call.number(name, 1.0) for name in ("alpha", "scale", "input_scale"))
    if inner != 1.0:
        raise call.refused("scales its input, which is not read")
    made = sheet.node("Elu", _given(sheet, call), alpha=float(alpha))
    return made if scale == 1.0 else sheet.node("Mul", made, sheet.scalar(scale, call.result.dtype))


def _celu(sheet: Sheet, call: Call) -> str:
    return sheet.node("Celu", _given(sheet, call), alpha=float(call.number("alpha", 1.0)))


def _selu(sheet: Sheet, call: Call) -> str:
    return sheet.node("Selu", _given(sheet, call))


def _clip(lowest: str, highest: str, bounds: tuple[float | None, float | None] = (None, None)) -> Rule:
    def rule(sheet: Sheet, call: Call) -> str:
        dtype = call.result.dtype
        given = [call.arguments.get(name) for name in (lowest, highest)]
        ends = [default if one is None else one for one, default in zip(given, bounds, strict=True)]
        low, high = ("" if one is None else sheet.scalar(one, dtype) for one in ends)
        value = sheet.cast(call.tensor("self", "input"), dtype)
        if any(hasattr(one, "shape") for one in ends):
            made = sheet.node("Max", value, low) if low else value
            return sheet.node("Min", made, high) if high else made
        return sheet.node("Clip", value, low, high)

    return rule


def _hardsigmoid(sheet: Sheet, call: Call) -> str:
    return sheet.node("HardSigmoid", _given(sheet, call), alpha=1 / 6, beta=0.5)


def _softplus(sheet: Sheet, call: Call) -> str:
    beta, threshold = call.number("beta", 1.0), call.number("threshold", 20.0)
    value, dtype = _given(sheet, call), call.result.dtype
    scaled = value if beta == 1 else sheet.node("Mul", value, sheet.scalar(beta, dtype))
    soft = sheet.node("Softplus", scaled)
    soft = soft if beta == 1 else sheet.node("Div", soft, sheet.scalar(beta, dtype))
    if threshold == 20.0:
        return soft
    return sheet.node("Where", sheet.node("Greater", scaled, sheet.scalar(threshold, dtype)), value, soft)


def _log_sigmoid(sheet: Sheet, call: Call) -> str:
    return sheet.node("Neg", sheet.node("Softplus", sheet.node("Neg", _given(sheet, call))))


def _logarithm(base: float) -> Rule:
    def rule(sheet: Sheet, call: Call) -> str:
        return sheet.node(
            "Div", sheet.node("Log", _given(sheet, call)), sheet.scalar(math.log(base), call.result.dtype)
        )

    return rule


def _log1p(sheet: Sheet, call: Call) -> str:
    return sheet.node("Log", sheet.node("Add", _given(sheet, call), sheet.scalar(1, call.result.dtype)))


def _expm1(sheet: Sheet, call: Call) -> str:
    return sheet.node("Sub", sheet.node("Exp", _given(sheet, call)), sheet.scalar(1, call.result.dtype))


def _rsqrt(sheet: Sheet, call: Call) -> str:
    return sheet.node("Reciprocal", sheet.node("Sqrt", _given(sheet, call)))


def _square(sheet: Sheet, call: Call) -> str:
    value = _given(sheet, call)
    return sheet.node("Mul", value, value)


def _trunc(sheet: Sheet, call: Call) -> str:
    value = _given(sheet, call)
    return sheet.node("Mul", sheet.node("Sign", value), sheet.node("Floor", sheet.node("Abs", value)))


def _not(sheet: Sheet, call: Call) -> str:
    value = call.tensor("self")
    if call.operator == "bitwise_not" and value.dtype != "bool":
        return sheet.node("BitwiseNot", value.name)
    return sheet.node("Not", sheet.cast(value, "bool"))


def _is(kind: str) -> Rule:
    def rule(sheet: Sheet, call: Call) -> str:
        return sheet.node(kind, call.tensor("self").name)

    return rule


def _prelu(sheet: Sheet, call: Call) -> str:
    """A slope a channel; channels are second, and ONNX lines up from the last axis."""
    value, slope = call.tensor("self"), call.tensor("weight")
    name = slope.name
    if value.rank > 2 and slope.shape != (1,):
        name = sheet.node("Unsqueeze", name, sheet.wholes(*range(1, value.rank - 1)))
    return sheet.node("PRelu", value.name, name)


def _glu(sheet: Sheet, call: Call) -> str:
    value = call.tensor("self")
    axis = call.axis(value.rank, default=-1)
    first, second = sheet.nodes("Split", value.name, outputs=2, axis=axis, num_outputs=2)
    return sheet.node("Mul", first, sheet.node("Sigmoid", second))


def _dropout(sheet: Sheet, call: Call) -> str:
    value, share = call.tensor("input", "self"), call.number("p", 0.5)
    return sheet.node("Dropout", value.name, sheet.scalar(share, "float32")) if share else value.name


def _same(_: Sheet, call: Call) -> str:
    return call.tensor("self", "input", "a").name


TABLE: Mapping[str, Rule] = {
    **{name: _plain(kind, any_type=name in _ANY_TYPE) for name, kind in _PLAIN.items()},
    **dict.fromkeys(("alias", "alias_copy", "clone", "contiguous", "detach", "detach_", "lift", "lift_fresh",
                     "lift_fresh_copy", "positive", "resolve_conj", "resolve_neg"), _same),
    "bitwise_not": _not,
    "celu": _celu,
    "clamp": _clip("min", "max"),
    "clamp_max": _clip("", "max"),
    "clamp_min": _clip("min", ""),
    "clip": _clip("min", "max"),
    "dropout": _dropout,
    "elu": _elu,
    "expm1": _expm1,
    "gelu": _gelu,
    "glu": _glu,
    "hardsigmoid": _hardsigmoid,
    "hardtanh": _clip("min_val", "max_val", (-1.0, 1.0)),
    "isinf": _is("IsInf"),
    "isnan": _is("IsNaN"),
    "leaky_relu": _leaky,
    "log10": _logarithm(10),
    "log1p": _log1p,
    "log2": _logarithm(2),
    "log_sigmoid": _log_sigmoid,
    "logical_not": _not,
    "native_dropout": _dropout,
    "prelu": _prelu,
    "_prelu_kernel": _prelu,
    "relu6": _clip("", "", (0.0, 6.0)),
    "rsqrt": _rsqrt,
    "selu": _selu,
    "silu": _silu,
    "softplus": _softplus,
    "square": _square,
    "trunc": _trunc,
}  # fmt: skip
