"""ONNX nodes that work on each number by itself, as TensorFlow has them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx import TensorProto

from engram.formats._tensorflow.job import Job, Writer, Writers
from engram.formats._tensorflow.sheet import Kind, Operand

__all__ = ["WRITERS", "activated", "binary", "unary"]

_UNARY = {
    "Abs": "Abs", "Acos": "Acos", "Acosh": "Acosh", "Asin": "Asin", "Asinh": "Asinh", "Atan": "Atan", "Atanh": "Atanh",
    "Ceil": "Ceil", "Cos": "Cos", "Cosh": "Cosh", "Erf": "Erf", "Exp": "Exp", "Floor": "Floor", "Log": "Log",
    "Neg": "Neg", "Reciprocal": "Reciprocal", "Relu": "Relu", "Round": "Round", "Sigmoid": "Sigmoid", "Sign": "Sign",
    "Sin": "Sin", "Sinh": "Sinh", "Softplus": "Softplus", "Softsign": "Softsign", "Sqrt": "Sqrt", "Tan": "Tan",
    "Tanh": "Tanh",
}  # fmt: skip
_BINARY = {"Add": "AddV2", "Mul": "Mul", "Sub": "Sub"}
_COMPARING = {"Greater": "Greater", "GreaterOrEqual": "GreaterEqual", "Less": "Less", "LessOrEqual": "LessEqual"}
_TRUTH = {"And": "LogicalAnd", "Or": "LogicalOr"}
_VARIADIC = {"Max": "Maximum", "Min": "Minimum", "Sum": "AddV2"}


def unary(job: Job, value: Operand, operation: str, dtype: str = "", **said: object) -> Operand:
    """One node on one value, whatever is owed."""
    stored = job.sheet.stored(value)
    made = job.one(operation, stored, dtype=dtype, shape=stored.shape, **said)
    return job.sheet.turned(made, value.turn) if value.turn else made


def binary(job: Job, operation: str, first: Operand, second: Operand, dtype: str = "") -> Operand:
    """One node on two values that lie alike."""
    (one, other), turn = job.alike(first, second)
    shape = _broadcast(one, other)
    said: dict[str, Any] = {"incompatible_shape_error": True} if operation in {"Equal", "NotEqual"} else {}
    if operation in {"LogicalAnd", "LogicalOr"}:
        made = job.sheet.emit(operation, one, other, dtype="bool", shape=shape)
    else:
        made = job.one(operation, one, other, dtype=dtype, shape=shape, **said)
    return job.sheet.turned(made, turn) if turn else made


def _broadcast(one: Operand, other: Operand) -> tuple[int | str, ...] | None:
    if one.shape is None or other.shape is None:
        return None
    count = max(len(one.shape), len(other.shape))
    pairs = zip(
        (1,) * (count - len(one.shape)) + one.shape, (1,) * (count - len(other.shape)) + other.shape, strict=True
    )
    return tuple(b if a == 1 else a for a, b in pairs)


def where(job: Job, condition: Operand, first: Operand, second: Operand) -> Operand:
    """One or the other value, place by place."""
    laid, turn = job.alike(condition, first, second)
    made = job.sheet.emit("SelectV2", *laid, dtype=first.dtype, shape=None, T=Kind(first.dtype))
    shape = _broadcast(laid[1], laid[2])
    whole = None if shape is None else _broadcast(laid[0], Operand(None, "", shape))
    made = Operand(made.ref, made.dtype, whole)
    return job.sheet.turned(made, turn) if turn else made


def activated(job: Job, kind: str, value: Operand, alpha: float | None = None, beta: float | None = None) -> Operand:
    """An activation by ONNX's name for it."""
    if kind in _UNARY:
        return unary(job, value, _UNARY[kind])
    if kind == "HardSigmoid":
        slope, offset = 0.2 if alpha is None else alpha, 0.5 if beta is None else beta
        line = binary(job, "AddV2", binary(job, "Mul", value, job.number(slope, value)), job.number(offset, value))
        return _clipped(job, line, job.number(0, value), job.number(1, value))
    if kind == "LeakyRelu":
        return unary(job, value, "LeakyRelu", alpha=float(0.01 if alpha is None else alpha))
    if kind == "Elu":
        return _elu(job, value, 1.0 if alpha is None else alpha)
    raise job.refused(f"uses the activation {kind}")


def _elu(job: Job, value: Operand, alpha: float) -> Operand:
    if alpha == 1.0:
        return unary(job, value, "Elu")
    below = binary(job, "Mul", unary(job, _lower(job, value), "Elu"), job.number(alpha, value))
    return binary(job, "AddV2", unary(job, value, "Relu"), below)


def _lower(job: Job, value: Operand) -> Operand:
    return binary(job, "Minimum", value, job.number(0, value))


def _clipped(job: Job, value: Operand, low: Operand | None, high: Operand | None) -> Operand:
    made = value if low is None else binary(job, "Maximum", value, low)
    return made if high is None else binary(job, "Minimum", made, high)


def _one(operation: str) -> Writer:
    return lambda job: (unary(job, job.get(0), operation),)


def _two(operation: str, dtype: str = "") -> Writer:
    return lambda job: (binary(job, operation, job.get(0), job.get(1), dtype),)


def _many(operation: str) -> Writer:
    def write(job: Job) -> tuple[Operand, ...]:
        made = job.get(0)
        for place in range(1, len(job.inputs)):
            made = binary(job, operation, made, job.get(place))
        return (made,)

    return write


def _mean(job: Job) -> tuple[Operand, ...]:
    (total,) = _many("AddV2")(job)
    return (binary(job, "RealDiv", total, job.number(len(job.inputs), total)),)


def _div(job: Job) -> tuple[Operand, ...]:
    first, second = job.get(0), job.get(1)
    floating = first.dtype.startswith(("float", "bfloat"))
    return (binary(job, "RealDiv" if floating else "TruncateDiv", first, second),)


def _pow(job: Job) -> tuple[Operand, ...]:
    base = job.get(0)
    return (binary(job, "Pow", base, job.cast(job.get(1), base.dtype)),)


def _mod(job: Job) -> tuple[Operand, ...]:
    first, second = job.get(0), job.get(1)
    if not job.said("fmod", 0):
        return (binary(job, "FloorMod", first, second),)
    whole = binary(job, "RealDiv", first, second)
    cut = binary(job, "Mul", unary(job, unary(job, whole, "Abs"), "Floor"), unary(job, whole, "Sign"))
    return (binary(job, "Sub", first, binary(job, "Mul", cut, second)),)


def _equal(job: Job) -> tuple[Operand, ...]:
    return (binary(job, "Equal", job.get(0), job.get(1), "bool"),)


def _xor(job: Job) -> tuple[Operand, ...]:
    return (binary(job, "NotEqual", job.get(0), job.get(1), "bool"),)


def _not(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    stored = job.sheet.stored(value)
    made = job.sheet.emit("LogicalNot", stored, dtype="bool", shape=stored.shape)
    return (job.sheet.turned(made, value.turn) if value.turn else made,)


def _is(operation: str) -> Writer:
    return lambda job: (unary(job, job.get(0), operation, "bool"),)


def _where(job: Job) -> tuple[Operand, ...]:
    return (where(job, job.get(0), job.get(1), job.get(2)),)


def _clip(job: Job) -> tuple[Operand, ...]:
    return (_clipped(job, job.get(0), job.maybe(1), job.maybe(2)),)


def _cast(job: Job) -> tuple[Operand, ...]:
    name = {"FLOAT": "float32", "DOUBLE": "float64"}.get(
        word := TensorProto.DataType.Name(int(job.said("to"))), word.lower()
    )
    value = job.get(0)
    if name == "string" or value.dtype == "string":
        raise job.refused(f"casts {value.dtype} to {name}")
    if name == "bool":
        return (binary(job, "NotEqual", value, job.number(0, value), "bool"),) if value.dtype != "bool" else (value,)
    return (job.cast(value, name),)


def _cast_like(job: Job) -> tuple[Operand, ...]:
    return (job.cast(job.get(0), job.get(1).dtype),)


def _same(job: Job) -> tuple[Operand, ...]:
    return (job.get(0),)


def _dropout(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    if len(job.step.outputs) < 2 or not job.step.outputs[1]:
        return (value,)
    return value, binary(job, "Equal", value, value, "bool")


def _activation(kind: str) -> Writer:
    return lambda job: (activated(job, kind, job.get(0), job.said("alpha"), job.said("beta")),)


def _selu(job: Job) -> tuple[Operand, ...]:
    alpha, gamma = float(job.said("alpha", 1.6732632)), float(job.said("gamma", 1.0507010))
    value = job.get(0)
    if math.isclose(alpha, 1.6732632, abs_tol=1e-6) and math.isclose(gamma, 1.050701, abs_tol=1e-6):
        return (unary(job, value, "Selu"),)
    return (binary(job, "Mul", _elu(job, value, alpha), job.number(gamma, value)),)


def _celu(job: Job) -> tuple[Operand, ...]:
    value, alpha = job.get(0), float(job.said("alpha", 1.0))
    inner = unary(job, binary(job, "RealDiv", _lower(job, value), job.number(alpha, value)), "Elu")
    return (binary(job, "AddV2", unary(job, value, "Relu"), binary(job, "Mul", inner, job.number(alpha, value))),)


def _gelu(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    half = binary(job, "Mul", value, job.number(0.5, value))
    if job.said("approximate", "none") == "tanh":
        cube = binary(job, "Mul", binary(job, "Mul", value, value), value)
        inner = binary(job, "AddV2", value, binary(job, "Mul", cube, job.number(0.044715, value)))
        curve = unary(job, binary(job, "Mul", inner, job.number(math.sqrt(2 / math.pi), value)), "Tanh")
    else:
        curve = unary(job, binary(job, "Mul", value, job.number(math.sqrt(0.5), value)), "Erf")
    return (binary(job, "Mul", half, binary(job, "AddV2", curve, job.number(1, value))),)


def _hard_swish(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    return (binary(job, "Mul", value, activated(job, "HardSigmoid", value, 1 / 6, 0.5)),)


def _mish(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    return (binary(job, "Mul", value, unary(job, unary(job, value, "Softplus"), "Tanh")),)


def _prelu(job: Job) -> tuple[Operand, ...]:
    value, slope = job.get(0), job.get(1)
    return (binary(job, "AddV2", unary(job, value, "Relu"), binary(job, "Mul", _lower(job, value), slope)),)


def _thresholded(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    above = binary(job, "Greater", value, job.number(float(job.said("alpha", 1.0)), value), "bool")
    return (binary(job, "Mul", value, job.cast(above, value.dtype)),)


def _shrink(job: Job) -> tuple[Operand, ...]:
    value, border, bias = job.get(0), float(job.said("lambd", 0.5)), float(job.said("bias", 0.0))
    high = binary(job, "Greater", value, job.number(border, value), "bool")
    low = binary(job, "Less", value, job.number(-border, value), "bool")
    nothing = binary(job, "Mul", value, job.number(0, value))
    below = where(job, low, binary(job, "AddV2", value, job.number(bias, value)), nothing)
    return (where(job, high, binary(job, "Sub", value, job.number(bias, value)), below),)


def _infinite(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    ends = [np.inf] * int(job.said("detect_positive", 1)) + [-np.inf] * int(job.said("detect_negative", 1))
    found = [binary(job, "Equal", value, job.number(end, value), "bool") for end in ends]
    if len(found) == 2:
        return (binary(job, "LogicalOr", found[0], found[1]),)
    return (found[0] if found else binary(job, "NotEqual", value, value, "bool"),)


WRITERS: Writers = {
    **{name: _one(operation) for name, operation in _UNARY.items()},
    **{name: _two(operation) for name, operation in _BINARY.items()},
    **{name: _two(operation, "bool") for name, operation in {**_COMPARING, **_TRUTH}.items()},
    **{name: _many(operation) for name, operation in _VARIADIC.items()},
    **{name: _activation(name) for name in ("HardSigmoid", "LeakyRelu", "Elu")},
    "Cast": _cast,
    "CastLike": _cast_like,
    "Celu": _celu,
    "Clip": _clip,
    "Div": _div,
    "Dropout": _dropout,
    "Equal": _equal,
    "Gelu": _gelu,
    "HardSwish": _hard_swish,
    "Identity": _same,
    "IsInf": _infinite,
    "IsNaN": _is("IsNan"),
    "Mean": _mean,
    "Mish": _mish,
    "Mod": _mod,
    "Not": _not,
    "PRelu": _prelu,
    "Pow": _pow,
    "Selu": _selu,
    "Shrink": _shrink,
    "ThresholdedRelu": _thresholded,
    "Where": _where,
    "Xor": _xor,
}
