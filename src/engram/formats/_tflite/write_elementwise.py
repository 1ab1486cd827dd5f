"""Operators that look at one place of each operand: arithmetic, comparison, choice, and the activations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engram.errors import ConversionError
from engram.formats._tflite.draft import Layout, turned
from engram.formats._tflite.schema import type_code
from engram.formats._tflite.write_folding import absorb_bias
from engram.formats._tflite.writing import Write, Writing
from engram.graphs.walk import Step

__all__ = ["TABLE", "Sum"]

_RELU, _RELU6 = 1, 3
_BINARY = {
    "Add": "ADD", "Sub": "SUB", "Mul": "MUL", "Div": "DIV", "Pow": "POW", "Equal": "EQUAL", "Greater": "GREATER",
    "GreaterOrEqual": "GREATER_EQUAL", "Less": "LESS", "LessOrEqual": "LESS_EQUAL", "And": "LOGICAL_AND",
    "Or": "LOGICAL_OR", "Xor": "NOT_EQUAL", "Where": "SELECT_V2",
}  # fmt: skip
_UNARY = {
    "Abs": "ABS", "Ceil": "CEIL", "Cos": "COS", "Exp": "EXP", "Floor": "FLOOR", "Log": "LOG", "Neg": "NEG",
    "Not": "LOGICAL_NOT", "Round": "ROUND", "Sigmoid": "LOGISTIC", "Sign": "SIGN", "Sin": "SIN", "Sqrt": "SQRT",
    "Tanh": "TANH", "HardSwish": "HARD_SWISH",
}  # fmt: skip
_OPTIONED = {"ADD", "SUB", "MUL", "DIV"}


class Sum:
    """Arithmetic on tensors of one value's shape and layout, written as it is said."""

    def __init__(self, writing: Writing, shape: Sequence[int], dtype: str = "float32") -> None:
        self.writing = writing
        self.shape = tuple(shape)
        self.dtype = dtype

    def __call__(self, kind: str, *operands: float, name: str = "", **options: Any) -> int:  # noqa: ANN401
        """One operator; numbers that are no tensors are constants."""
        tensors = [one if type(one) is int else self.writing.scalar(one, self.dtype) for one in operands]
        return self.writing.draft.emit(kind, tensors, self.shape, self.dtype, name=name, **options)


def _binary(node: Step, writing: Writing) -> None:
    kind = _BINARY[node.operator]
    if kind == "ADD" and absorb_bias(node, writing):
        return
    _together(node, writing, kind, node.inputs)


def _together(node: Step, writing: Writing, kind: str, names: Sequence[str]) -> None:
    """An operator on values that are spread over each other."""
    rank = len(writing.shape(node.outputs[0]))
    layout = writing.layout_for(names, rank)
    tensors = [writing.spread(name, rank, layout) for name in names]
    options = {"fused_activation_function": 0} if kind in _OPTIONED else {}
    writing.emit(kind, tensors, node, layout, **options)


def _several(kind: str) -> Write:
    """Max, Min, Sum of any number of values, two at a time."""

    def write(node: Step, writing: Writing) -> None:
        name = node.outputs[0]
        rank = len(writing.shape(name))
        if len(node.inputs) == 1:
            writing.alias(name, node.inputs[0])
            return
        layout = writing.layout_for(node.inputs, rank)
        tensors = [writing.spread(one, rank, layout) for one in node.inputs]
        made = tensors[0]
        for number, other in enumerate(tensors[1:], start=2):
            shape = np.broadcast_shapes(*(_one(writing.draft.shape(one)) for one in (made, other)))
            last = number == len(tensors)
            whole = turned(writing.shape(name), layout)
            made = writing.draft.emit(kind, [made, other], whole if last else _free(shape, whole), writing.dtype(name))
        writing.give(name, made, layout)

    return write


def _one(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(1 if axis < 0 else axis for axis in shape)


def _free(shape: Sequence[int], whole: Sequence[int]) -> tuple[int, ...]:
    """A broadcast shape with -1 where the whole one has it."""
    tail = whole[len(whole) - len(shape) :]
    return tuple(-1 if known < 0 else axis for axis, known in zip(shape, tail, strict=True))


def _mean(node: Step, writing: Writing) -> None:
    _several("ADD")(node, writing)
    held = writing.held(node.outputs[0])
    layout, tensor = next(iter(held.tensors.items()))
    share = writing.scalar(1.0 / len(node.inputs))
    writing.emit("MUL", [tensor, share], node, layout, fused_activation_function=0)


def _unary(node: Step, writing: Writing) -> None:
    layout = writing.any_layout(node.inputs[0])
    writing.emit(_UNARY[node.operator], [writing.get(node.inputs[0], layout)], node, layout)


def _open(node: Step, writing: Writing) -> tuple[int, Layout, Sum]:
    """The input of a node of one operand, its layout, and what writes on tensors like it."""
    layout = writing.any_layout(node.inputs[0])
    tensor = writing.get(node.inputs[0], layout)
    return tensor, layout, Sum(writing, writing.draft.shape(tensor), writing.dtype(node.inputs[0]))


def _relu(node: Step, writing: Writing) -> None:
    if not writing.fuse(node, _RELU):
        x, layout, _ = _open(node, writing)
        writing.emit("RELU", [x], node, layout)


def _clip(node: Step, writing: Writing) -> None:
    low, high = (writing.option(node, place, "the bounds") for place in (1, 2))
    if low is not None and high is not None and float(low) == 0 and float(high) == 6:
        if not writing.fuse(node, _RELU6):
            x, layout, _ = _open(node, writing)
            writing.emit("RELU6", [x], node, layout)
        return
    x, layout, at = _open(node, writing)
    if low is not None and np.isfinite(low):
        x = at("MAXIMUM", x, float(low))
    if high is not None and np.isfinite(high):
        x = at("MINIMUM", x, float(high))
    writing.give(node.outputs[0], x, layout)


def _leaky(node: Step, writing: Writing) -> None:
    x, layout, _ = _open(node, writing)
    writing.emit("LEAKY_RELU", [x], node, layout, alpha=node.attributes.get("alpha", 0.01))


def _prelu(node: Step, writing: Writing) -> None:
    rank = len(writing.shape(node.outputs[0]))
    x, layout, at = _open(node, writing)
    slope = writing.spread(node.inputs[1], rank, layout)
    below = at("MUL", at("MINIMUM", x, 0.0), slope, fused_activation_function=0)
    writing.give(node.outputs[0], at("ADD", at("RELU", x), below, fused_activation_function=0), layout)


def _exponential(node: Step, writing: Writing) -> None:
    """Elu, Celu and Selu: ``outer × (max(x, 0) + alpha × (exp(min(x, 0) / inner) − 1))``."""
    alpha = node.attributes.get("alpha", 1.6732632 if node.operator == "Selu" else 1.0)
    outer = node.attributes.get("gamma", 1.0507009) if node.operator == "Selu" else 1.0
    inner = alpha if node.operator == "Celu" else 1.0
    x, layout, at = _open(node, writing)
    if alpha == 1.0 and outer == 1.0:
        writing.emit("ELU", [x], node, layout)
        return
    grown = at("EXP", at("MUL", at("MINIMUM", x, 0.0), 1.0 / inner))
    below = at("MUL", at("SUB", grown, 1.0), alpha)
    writing.give(node.outputs[0], at("MUL", at("ADD", at("RELU", x), below), outer), layout)


def _softplus(x: int, at: Sum) -> int:
    """``log(1 + exp(x))``, without the overflow."""
    small = at("EXP", at("NEG", at("ABS", x)))
    return at("ADD", at("RELU", x), at("LOG", at("ADD", small, 1.0)))


def _plain_softplus(node: Step, writing: Writing) -> None:
    x, layout, at = _open(node, writing)
    writing.give(node.outputs[0], _softplus(x, at), layout)


def _mish(node: Step, writing: Writing) -> None:
    x, layout, at = _open(node, writing)
    writing.give(node.outputs[0], at("MUL", x, at("TANH", _softplus(x, at))), layout)


def _softsign(node: Step, writing: Writing) -> None:
    x, layout, at = _open(node, writing)
    writing.give(node.outputs[0], at("DIV", x, at("ADD", at("ABS", x), 1.0)), layout)


def _hard_sigmoid(node: Step, writing: Writing) -> None:
    alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    x, layout, at = _open(node, writing)
    line = at("ADD", at("MUL", x, alpha), beta)
    writing.give(node.outputs[0], at("MINIMUM", at("MAXIMUM", line, 0.0), 1.0), layout)


def _gelu(node: Step, writing: Writing) -> None:
    x, layout, _ = _open(node, writing)
    writing.emit("GELU", [x], node, layout, approximate=node.attributes.get("approximate", "none") == "tanh")


def _erf(node: Step, writing: Writing) -> None:
    """The error function to 1.5e-7, which TFLite does not have.

    Source: Abramowitz and Stegun 1964, 7.1.26.
    """
    x, layout, at = _open(node, writing)
    size = at("ABS", x)
    t = at("DIV", 1.0, at("ADD", at("MUL", size, 0.3275911), 1.0))
    total = at("MUL", t, 1.061405429)
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        total = at("MUL", at("ADD", total, factor), t)
    tail = at("MUL", total, at("EXP", at("NEG", at("MUL", x, x))))
    writing.give(node.outputs[0], at("MUL", at("SIGN", x), at("SUB", 1.0, tail)), layout)


def _reciprocal(node: Step, writing: Writing) -> None:
    x, layout, at = _open(node, writing)
    writing.give(node.outputs[0], at("DIV", 1.0, x), layout)


def _tan(node: Step, writing: Writing) -> None:
    x, layout, at = _open(node, writing)
    writing.give(node.outputs[0], at("DIV", at("SIN", x), at("COS", x)), layout)


def _is_nan(node: Step, writing: Writing) -> None:
    x, layout, _ = _open(node, writing)
    writing.emit("NOT_EQUAL", [x, x], node, layout)


def _is_inf(node: Step, writing: Writing) -> None:
    x, layout, at = _open(node, writing)
    up, down = node.attributes.get("detect_positive", 1), node.attributes.get("detect_negative", 1)
    if not up and not down:
        raise ConversionError(f"IsInf {node.name!r} looks for nothing; remove it")
    size = at("ABS", x) if up and down else x
    writing.emit("EQUAL", [size, writing.scalar(math.inf if up else -math.inf)], node, layout)


def _mod(node: Step, writing: Writing) -> None:
    if node.attributes.get("fmod", 0):
        raise ConversionError(f"Mod {node.name!r} takes the sign of its first operand (fmod), which TFLite has not")
    _together(node, writing, "FLOOR_MOD", node.inputs)


def _cast(node: Step, writing: Writing) -> None:
    to = writing.dtype(node.outputs[0])
    x, layout, _ = _open(node, writing)
    given = writing.dtype(node.inputs[0])
    if to == given:
        writing.alias(node.outputs[0], node.inputs[0])
        return
    if "string" in {to, given}:
        raise ConversionError(f"Cast {node.name!r} makes numbers of texts or texts of numbers, which TFLite cannot do")
    if given == "float16" and writing.held(node.inputs[0]).array is not None:
        writing.emit("DEQUANTIZE", [x], node, layout)
        return
    codes = {"in_data_type": type_code(given), "out_data_type": type_code(to)}
    writing.emit("CAST", [x], node, layout, **codes)


TABLE: Mapping[str, Write] = {
    **dict.fromkeys(_BINARY, _binary),
    **dict.fromkeys(_UNARY, _unary),
    "Max": _several("MAXIMUM"),
    "Min": _several("MINIMUM"),
    "Sum": _several("ADD"),
    "Mean": _mean,
    "Relu": _relu,
    "Clip": _clip,
    "LeakyRelu": _leaky,
    "PRelu": _prelu,
    "Elu": _exponential,
    "Celu": _exponential,
    "Selu": _exponential,
    "Softplus": _plain_softplus,
    "Softsign": _softsign,
    "Mish": _mish,
    "HardSigmoid": _hard_sigmoid,
    "Gelu": _gelu,
    "Erf": _erf,
    "Reciprocal": _reciprocal,
    "Tan": _tan,
    "IsNaN": _is_nan,
    "IsInf": _is_inf,
    "Mod": _mod,
    "Cast": _cast,
    "CastLike": _cast,
}
