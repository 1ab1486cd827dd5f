"""Operators that look at one place of each operand, read in whatever layout their operands have."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import TensorProto

from engram.formats._tflite.parts import Operator
from engram.formats._tflite.reading import Layout, Read, Reading, code_of

__all__ = ["TABLE"]

_BINARY = {
    "ADD": "Add", "SUB": "Sub", "MUL": "Mul", "DIV": "Div", "MAXIMUM": "Max", "MINIMUM": "Min", "POW": "Pow",
    "EQUAL": "Equal", "GREATER": "Greater", "GREATER_EQUAL": "GreaterOrEqual", "LESS": "Less",
    "LESS_EQUAL": "LessOrEqual", "LOGICAL_AND": "And", "LOGICAL_OR": "Or",
}  # fmt: skip
_UNARY = {
    "ABS": "Abs", "CEIL": "Ceil", "COS": "Cos", "EXP": "Exp", "FLOOR": "Floor", "LOG": "Log", "NEG": "Neg",
    "ROUND": "Round", "SIN": "Sin", "SQRT": "Sqrt", "SIGN": "Sign", "LOGISTIC": "Sigmoid", "TANH": "Tanh",
    "RELU": "Relu", "ELU": "Elu", "HARD_SWISH": "HardSwish", "LOGICAL_NOT": "Not",
}  # fmt: skip
_CLIPS = {"RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0), "RELU_0_TO_1": (0.0, 1.0)}


def _layout(reading: Reading, *numbers: int) -> Layout | None:
    """A layout in which all these values are there, if they have the same shape; None for the natural one."""
    shapes = {reading.shape(number) for number in numbers}
    if len(shapes) != 1:
        return None
    common = set.intersection(*(set(reading.layouts(number)) for number in numbers))
    natural = tuple(range(reading.rank(numbers[0])))
    return None if natural in common else next(iter(sorted(common)), None)


def _binary(operator: Operator, reading: Reading) -> None:
    layout = _layout(reading, *operator.inputs)
    operands = [reading.get(number, layout) for number in operator.inputs]
    reading.put(_BINARY[operator.kind], operator, *operands, layout=layout)


def _unary(operator: Operator, reading: Reading) -> None:
    layout = _layout(reading, operator.inputs[0])
    reading.put(_UNARY[operator.kind], operator, reading.get(operator.inputs[0], layout), layout=layout)


def _clip(operator: Operator, reading: Reading) -> None:
    layout = _layout(reading, operator.inputs[0])
    bounds = [reading.constant(bound, "float32") for bound in _CLIPS[operator.kind]]
    reading.put("Clip", operator, reading.get(operator.inputs[0], layout), *bounds, layout=layout)


def _leaky(operator: Operator, reading: Reading) -> None:
    layout = _layout(reading, operator.inputs[0])
    alpha = float(operator.options.get("alpha", 0.0))
    reading.put("LeakyRelu", operator, reading.get(operator.inputs[0], layout), layout=layout, alpha=alpha)


def _prelu(operator: Operator, reading: Reading) -> None:
    reading.put("PRelu", operator, *(reading.get(number) for number in operator.inputs))


def _gelu(operator: Operator, reading: Reading) -> None:
    layout = _layout(reading, operator.inputs[0])
    how = "tanh" if operator.options.get("approximate") else "none"
    reading.put("Gelu", operator, reading.get(operator.inputs[0], layout), layout=layout, approximate=how)


def _not_equal(operator: Operator, reading: Reading) -> None:
    same = reading.node("Equal", *(reading.get(number) for number in operator.inputs))
    reading.put("Not", operator, same)


def _squared_difference(operator: Operator, reading: Reading) -> None:
    rest = reading.node("Sub", *(reading.get(number) for number in operator.inputs))
    reading.put("Mul", operator, rest, rest)


def _square(operator: Operator, reading: Reading) -> None:
    x = reading.get(operator.inputs[0])
    reading.put("Mul", operator, x, x)


def _rsqrt(operator: Operator, reading: Reading) -> None:
    reading.put("Reciprocal", operator, reading.node("Sqrt", reading.get(operator.inputs[0])))


def _floor_div(operator: Operator, reading: Reading) -> None:
    one, other = (reading.get(number) for number in operator.inputs)
    kind = reading.tensor(operator.outputs[0]).type
    if kind == "FLOAT32":
        reading.put("Floor", operator, reading.node("Div", one, other))
        return
    one, other = (reading.node("Cast", value, to=TensorProto.DOUBLE) for value in (one, other))
    reading.put("Cast", operator, reading.node("Floor", reading.node("Div", one, other)), to=code_of(kind))


def _floor_mod(operator: Operator, reading: Reading) -> None:
    one, other = (reading.get(number) for number in operator.inputs)
    if reading.tensor(operator.outputs[0]).type != "FLOAT32":
        reading.put("Mod", operator, one, other)
        return
    rest = reading.node("Mod", one, other, fmod=1)
    moved = reading.node("Add", rest, other)
    zero = reading.constant(0.0, "float32")
    below = reading.node("Less", reading.node("Mul", rest, other), zero)
    reading.put("Where", operator, below, moved, rest)


def _select(operator: Operator, reading: Reading) -> None:
    chosen, one, other = operator.inputs
    condition = reading.get(chosen)
    if operator.kind == "SELECT" and reading.rank(chosen) == 1 < reading.rank(one):
        axes = reading.constant(list(range(1, reading.rank(one))))
        condition = reading.node("Unsqueeze", condition, axes)
    reading.put("Where", operator, condition, reading.get(one), reading.get(other))


def _add_n(operator: Operator, reading: Reading) -> None:
    reading.put("Sum", operator, *(reading.get(number) for number in operator.inputs))


def _cast(operator: Operator, reading: Reading) -> None:
    kind = reading.tensor(operator.outputs[0]).type
    reading.put("Cast", operator, reading.get(operator.inputs[0]), to=code_of(kind))


def _zeros_like(operator: Operator, reading: Reading) -> None:
    kind = reading.tensor(operator.outputs[0]).type
    zero = reading.constant(0, kind.lower())
    reading.put("Expand", operator, zero, reading.node("Shape", reading.get(operator.inputs[0])))


def _quantize(operator: Operator, reading: Reading) -> None:
    """The number itself; that the output is quantized is said by its tensor."""
    layout = _layout(reading, operator.inputs[0])
    reading.give(operator.outputs[0], reading.get(operator.inputs[0], layout), layout)


def _dequantize(operator: Operator, reading: Reading) -> None:
    number = operator.inputs[0]
    layout = _layout(reading, number)
    value = reading.get(number, layout)
    if reading.tensor(number).type in {"FLOAT16", "BFLOAT16"}:
        value = reading.node("Cast", value, to=TensorProto.FLOAT)
    reading.give(operator.outputs[0], value, layout)


def _fake_quant(operator: Operator, reading: Reading) -> None:
    """To the steps that eight bits have between two bounds, with zero among them.

    Source: TensorFlow, fake_quant_ops_functor.h, Nudge.
    """
    bits = int(operator.options.get("num_bits", 8))
    low, high = (float(operator.options.get(name, 0.0)) for name in ("min", "max"))
    if bits != 8 or operator.options.get("narrow_range") or not low < high:
        raise reading.refused(f"FAKE_QUANT with {bits} bits between {low} and {high} is not read")
    scale = (high - low) / 255
    zero = np.clip(np.round(-low / scale), 0, 255)
    scale_name, zero_name = reading.constant(scale, "float32"), reading.constant(zero, "uint8")
    made = reading.node("QuantizeLinear", reading.get(operator.inputs[0]), scale_name, zero_name)
    reading.put("DequantizeLinear", operator, made, scale_name, zero_name)


TABLE: Mapping[str, Read] = {
    **dict.fromkeys(_BINARY, _binary),
    **dict.fromkeys(_UNARY, _unary),
    **dict.fromkeys(_CLIPS, _clip),
    "LEAKY_RELU": _leaky,
    "PRELU": _prelu,
    "GELU": _gelu,
    "NOT_EQUAL": _not_equal,
    "SQUARED_DIFFERENCE": _squared_difference,
    "SQUARE": _square,
    "RSQRT": _rsqrt,
    "FLOOR_DIV": _floor_div,
    "FLOOR_MOD": _floor_mod,
    "SELECT": _select,
    "SELECT_V2": _select,
    "ADD_N": _add_n,
    "CAST": _cast,
    "ZEROS_LIKE": _zeros_like,
    "QUANTIZE": _quantize,
    "DEQUANTIZE": _dequantize,
    "FAKE_QUANT": _fake_quant,
}
