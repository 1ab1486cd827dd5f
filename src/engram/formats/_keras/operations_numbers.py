"""Functions of ``keras.ops`` that make a number of each number, or of each pair."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from engram.formats._keras.activations import activation
from engram.formats._keras.arguments import both, first, given, tensor
from engram.formats._keras.kind import Drawn, Task
from engram.graphs.build import element_type

__all__ = ["DRAWN"]


def _unary(operator: str, **more: Any) -> Callable[[Task], Drawn]:  # noqa: ANN401 - any attribute
    return lambda task: task.sheet.node(operator, first(task), **more)


def _binary(operator: str) -> Callable[[Task], Drawn]:
    return lambda task: task.sheet.node(operator, *both(task))


def _divide(task: Task) -> Drawn:
    one, other = (
        value if task.sheet.dtype(value).startswith("float") else task.sheet.cast(value, "float32")
        for value in both(task)
    )
    return task.sheet.node("Div", one, other)


def _not_equal(task: Task) -> Drawn:
    return task.sheet.node("Not", task.sheet.node("Equal", *both(task)))


def _floor_divide(task: Task) -> Drawn:
    one, other = both(task)
    if not task.sheet.dtype(one).startswith("float"):
        raise task.refused("divides whole numbers downwards, which is not read")
    return task.sheet.node("Floor", task.sheet.node("Div", one, other))


def _composed(*operators: str) -> Callable[[Task], Drawn]:
    def draw(task: Task) -> Drawn:
        value = first(task)
        for operator in operators:
            value = task.sheet.node(operator, value)
        return value

    return draw


def _log1p(task: Task) -> Drawn:
    value = first(task)
    return task.sheet.node("Log", task.sheet.node("Add", value, task.sheet.like(1.0, value)))


def _expm1(task: Task) -> Drawn:
    made = task.sheet.node("Exp", first(task))
    return task.sheet.node("Sub", made, task.sheet.like(1.0, made))


def _log(base: float) -> Callable[[Task], Drawn]:
    def draw(task: Task) -> Drawn:
        made = task.sheet.node("Log", first(task))
        return task.sheet.node("Mul", made, task.sheet.like(1 / math.log(base), made))

    return draw


def _logaddexp(task: Task) -> Drawn:
    """The larger of both, and what the smaller adds to it."""
    sheet, (one, other) = task.sheet, both(task)
    apart = sheet.node("Neg", sheet.node("Abs", sheet.node("Sub", one, other)))
    return sheet.node("Add", sheet.node("Max", one, other), sheet.node("Softplus", apart))


def _mod(task: Task) -> Drawn:
    """What is left, with the sign of the divisor."""
    sheet, (one, other) = task.sheet, both(task)
    if not sheet.dtype(one).startswith("float"):
        return sheet.node("Mod", one, other)
    whole = sheet.node("Floor", sheet.node("Div", one, other))
    return sheet.node("Sub", one, sheet.node("Mul", whole, other))


def _square(task: Task) -> Drawn:
    value = first(task)
    return task.sheet.node("Mul", value, value)


def _activated(name: str) -> Callable[[Task], Drawn]:
    return lambda task: activation(task.sheet, name, first(task))


def _gelu(task: Task) -> Drawn:
    near = given(task, 1, "approximate")
    return task.sheet.node("Gelu", first(task), approximate="tanh" if near or near is None else "none")


def _sloped(operator: str, key: str, default: float) -> Callable[[Task], Drawn]:
    def draw(task: Task) -> Drawn:
        slope = given(task, 1, key, "alpha")
        return task.sheet.node(operator, first(task), alpha=float(default if slope is None else slope))

    return draw


def _cast(task: Task) -> Drawn:
    kind = given(task, 1, "dtype")
    try:
        number = element_type(str(kind))
    except ValueError as wrong:
        raise task.refused(f"casts to {kind!r}, which is no type") from wrong
    return task.sheet.node("Cast", first(task), to=number)


def _clip(task: Task) -> Drawn:
    sheet, value = task.sheet, first(task)
    bounds = [tensor(task, given(task, place, key), value) for place, key in ((1, "x_min"), (2, "x_max"))]
    return sheet.node("Min", sheet.node("Max", value, bounds[0]), bounds[1])


def _where(task: Task) -> Drawn:
    sheet = task.sheet
    found = [given(task, 1, "x1"), given(task, 2, "x2")]
    known = next((one for one in found if isinstance(one, str)), "")
    one, other = (tensor(task, value, known) for value in found)
    return sheet.node("Where", sheet.cast(tensor(task, given(task, 0, "condition")), "bool"), one, other)


def _filled(number: float) -> Callable[[Task], Drawn]:
    def draw(task: Task) -> Drawn:
        value = first(task)
        return task.sheet.node(
            "Add", task.sheet.node("Mul", value, task.sheet.like(0, value)), task.sheet.like(number, value)
        )

    return draw


def _logical(operator: str) -> Callable[[Task], Drawn]:
    return lambda task: task.sheet.node(operator, *(task.sheet.cast(one, "bool") for one in both(task)))


def _same(task: Task) -> Drawn:
    return first(task)


_ACTIVATIONS = {
    "Celu": "celu", "Glu": "glu", "HardShrink": "hard_shrink", "HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu",
    "HardTanh": "hard_tanh", "LogSigmoid": "log_sigmoid", "Relu": "relu", "Relu6": "relu6", "Selu": "selu",
    "Sigmoid": "sigmoid", "Silu": "silu", "SoftShrink": "soft_shrink", "Softplus": "softplus", "Softsign": "softsign",
    "SparsePlus": "sparse_plus", "Sparsemax": "sparsemax", "Squareplus": "squareplus", "TanhShrink": "tanh_shrink",
}  # fmt: skip
_UNARY = {
    "Absolute": "Abs", "Arccos": "Acos", "Arccosh": "Acosh", "Arcsin": "Asin", "Arcsinh": "Asinh", "Arctan": "Atan",
    "Arctanh": "Atanh", "Ceil": "Ceil", "Cos": "Cos", "Cosh": "Cosh", "Erf": "Erf", "Exp": "Exp", "Floor": "Floor",
    "Isinf": "IsInf", "Isnan": "IsNaN", "Log": "Log", "Negative": "Neg", "Reciprocal": "Reciprocal", "Round": "Round",
    "Sign": "Sign", "Sin": "Sin", "Sinh": "Sinh", "Sqrt": "Sqrt", "Tan": "Tan", "Tanh": "Tanh",
}  # fmt: skip
_BINARY = {
    "Add": "Add", "Equal": "Equal", "Greater": "Greater", "GreaterEqual": "GreaterOrEqual", "Less": "Less",
    "LessEqual": "LessOrEqual", "Maximum": "Max", "Minimum": "Min", "Multiply": "Mul", "Power": "Pow",
    "Subtract": "Sub",
}  # fmt: skip

DRAWN: Mapping[str, Callable[[Task], Drawn]] = {
    **{name: _unary(operator) for name, operator in _UNARY.items()},
    **{name: _binary(operator) for name, operator in _BINARY.items()},
    **{name: _activated(word) for name, word in _ACTIVATIONS.items()},
    "Abs": _unary("Abs"),
    "Cast": _cast,
    "Clip": _clip,
    "Copy": _same,
    "Divide": _divide,
    "Elu": _sloped("Elu", "alpha", 1.0),
    "Expm1": _expm1,
    "FloorDivide": _floor_divide,
    "Gelu": _gelu,
    "LeakyRelu": _sloped("LeakyRelu", "negative_slope", 0.2),
    "Log10": _log(10.0),
    "Log1p": _log1p,
    "Log2": _log(2.0),
    "Logaddexp": _logaddexp,
    "LogicalAnd": _logical("And"),
    "LogicalNot": lambda task: task.sheet.node("Not", task.sheet.cast(first(task), "bool")),
    "LogicalOr": _logical("Or"),
    "LogicalXor": _logical("Xor"),
    "Mod": _mod,
    "NotEqual": _not_equal,
    "OnesLike": _filled(1.0),
    "Rsqrt": _composed("Sqrt", "Reciprocal"),
    "Square": _square,
    "StopGradient": _same,
    "TrueDivide": _divide,
    "Where": _where,
    "ZerosLike": _filled(0.0),
}
