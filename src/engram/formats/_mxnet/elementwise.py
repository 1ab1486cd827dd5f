"""Operators that treat each number alone, or two at the same place."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engram.formats._mxnet.task import Draw, Drawn, Task
from engram.graphs.build import element_type
from engram.records.tensors import DTYPES

__all__ = ["KEEPING", "TABLE"]

_UNARY = {
    "abs": "Abs", "ceil": "Ceil", "cos": "Cos", "erf": "Erf", "exp": "Exp", "floor": "Floor", "log": "Log",
    "negative": "Neg", "reciprocal": "Reciprocal", "relu": "Relu", "sigmoid": "Sigmoid", "sign": "Sign", "sin": "Sin",
    "softsign": "Softsign", "sqrt": "Sqrt", "tan": "Tan", "tanh": "Tanh", "arctan": "Atan", "sinh": "Sinh",
    "cosh": "Cosh", "arcsin": "Asin", "arccos": "Acos", "arcsinh": "Asinh", "arccosh": "Acosh", "arctanh": "Atanh",
    "identity": "Identity", "_copy": "Identity", "BlockGrad": "Identity", "stop_gradient": "Identity",
    "make_loss": "Identity", "MakeLoss": "Identity", "_identity_with_attr_like_rhs": "Identity",
    "LinearRegressionOutput": "Identity", "MAERegressionOutput": "Identity", "LogisticRegressionOutput": "Sigmoid",
}  # fmt: skip
_BINARY = {
    "elemwise_add": "Add", "_plus": "Add", "_Plus": "Add", "_add": "Add", "broadcast_add": "Add",
    "broadcast_plus": "Add", "elemwise_sub": "Sub", "_minus": "Sub", "_Minus": "Sub", "_sub": "Sub",
    "broadcast_sub": "Sub", "broadcast_minus": "Sub", "elemwise_mul": "Mul", "_mul": "Mul", "_Mul": "Mul",
    "broadcast_mul": "Mul", "elemwise_div": "Div", "_div": "Div", "_Div": "Div", "broadcast_div": "Div",
    "broadcast_power": "Pow", "_power": "Pow", "_Power": "Pow", "broadcast_maximum": "Max", "_maximum": "Max",
    "_Maximum": "Max", "broadcast_minimum": "Min", "_minimum": "Min", "_Minimum": "Min",
}  # fmt: skip
_SCALAR = {
    "plus": ("Add", False), "minus": ("Sub", False), "rminus": ("Sub", True), "mul": ("Mul", False),
    "div": ("Div", False), "rdiv": ("Div", True), "power": ("Pow", False), "rpower": ("Pow", True),
    "maximum": ("Max", False), "minimum": ("Min", False),
}  # fmt: skip
_COMPARED = {"equal": "Equal", "greater": "Greater", "greater_equal": "GreaterOrEqual", "lesser": "Less",
             "lesser_equal": "LessOrEqual"}  # fmt: skip
_ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softrelu": "Softplus", "softsign": "Softsign"}


def _unary(operator: str) -> Draw:
    return lambda task: task.sheet.node(operator, task.value())


def _binary(operator: str) -> Draw:
    return lambda task: task.sheet.node(operator, task.value(0), task.value(1))


def _scalar(operator: str, *, turned: bool) -> Draw:
    def draw(task: Task) -> Drawn:
        number = task.sheet.like(task.number("scalar", 0.0), task.value())
        pair = (number, task.value()) if turned else (task.value(), number)
        return task.sheet.node(operator, *pair)

    return draw


def _compared(operator: str, *, scalar: bool, negated: bool = False) -> Draw:
    """MXNet answers with ones and zeros of the type of what it compares."""

    def draw(task: Task) -> Drawn:
        sheet, one = task.sheet, task.value()
        other = sheet.like(task.number("scalar", 0.0), one) if scalar else task.value(1)
        found = sheet.node(operator, one, other)
        return sheet.cast(sheet.node("Not", found) if negated else found, sheet.dtype(one))

    return draw


def _activation(task: Task) -> Drawn:
    return task.sheet.node(_ACTIVATIONS[task.word("act_type", "", _ACTIVATIONS)], task.value())


def _leaky(task: Task) -> Drawn:
    sheet, value = task.sheet, task.value()
    match task.word("act_type", "leaky", {"leaky", "elu", "selu", "gelu", "prelu", "rrelu"}):
        case "leaky":
            return sheet.node("LeakyRelu", value, alpha=task.number("slope", 0.25))
        case "elu":
            return sheet.node("Elu", value, alpha=task.number("slope", 0.25))
        case "selu":
            return sheet.node("Selu", value)
        case "gelu":
            return sheet.node("Gelu", value)
        case "rrelu":  # when it answers, it takes the middle of the slopes it draws from
            middle = (task.number("lower_bound", 0.125) + task.number("upper_bound", 0.334)) / 2
            return sheet.node("LeakyRelu", value, alpha=middle)
    slopes = task.weight(1)
    if sheet.rank(slopes) == 1 and sheet.shape(slopes) != (1,) and sheet.rank(value) > 2:
        slopes = sheet.reshaped(slopes, [-1, *[1] * (sheet.rank(value) - 2)])
    return sheet.node("PRelu", value, slopes)


def _add_many(task: Task) -> Drawn:
    made = task.value()
    for place in range(1, len(task.inputs)):
        made = task.sheet.node("Add", made, task.value(place))
    return made


def _clip(task: Task) -> Drawn:
    bounds = [task.sheet.like(task.number(key, 0.0), task.value()) for key in ("a_min", "a_max")]
    return task.sheet.node("Clip", task.value(), *bounds)


def _square(task: Task) -> Drawn:
    return task.sheet.node("Mul", task.value(), task.value())


def _rsqrt(task: Task) -> Drawn:
    return task.sheet.node("Reciprocal", task.sheet.node("Sqrt", task.value()))


def _hard_sigmoid(task: Task) -> Drawn:
    alpha, beta = task.number("alpha", 0.2), task.number("beta", 0.5)
    return task.sheet.node("HardSigmoid", task.value(), alpha=alpha, beta=beta)


def _cast(task: Task) -> Drawn:
    kind = task.word("dtype", "", DTYPES)
    return task.sheet.node("Cast", task.value(), to=element_type(kind))


def _where(task: Task) -> Drawn:
    return task.sheet.node("Where", task.sheet.cast(task.value(), "bool"), task.value(1), task.value(2))


def _alike(number: float) -> Draw:
    def draw(task: Task) -> Drawn:
        zeros = task.sheet.node("Mul", task.value(), task.sheet.like(0.0, task.value()))
        return task.sheet.node("Add", zeros, task.sheet.like(number, zeros))

    return draw


def _filled(number: float) -> Draw:
    """An array of one number; where a length is 0, which is to be found, it is left to whoever takes it."""

    def draw(task: Task) -> Drawn:
        shape = task.wholes("shape")
        if any(length < 0 for length in shape) or np.prod([max(length, 1) for length in shape]) > _LARGEST:
            raise task.refused(f"has the shape {shape}, which is not read")
        dtype = task.word("dtype", "float32", DTYPES)
        return task.sheet.constant(np.full(shape, number), dtype)

    return draw


_LARGEST = 1_000_000
_SQUARES = {"square": _square, "rsqrt": _rsqrt, "clip": _clip, "hard_sigmoid": _hard_sigmoid}
KEEPING = frozenset(
    {*_UNARY, *_BINARY, *(f"_{word}_scalar" for word in _SCALAR), *_SQUARES, "Activation", "LeakyReLU", "Cast", "cast",
     "add_n", "ElementWiseSum", "Dropout", "softmax", "log_softmax", "SoftmaxActivation", "LRN", "L2Normalization"}
)  # fmt: skip
"""Operators whose answer has the shape of their first input."""

TABLE: Mapping[str, Draw] = {
    **{name: _unary(operator) for name, operator in _UNARY.items()},
    **{name: _binary(operator) for name, operator in _BINARY.items()},
    **{f"_{word}_scalar": _scalar(operator, turned=turned) for word, (operator, turned) in _SCALAR.items()},
    **{f"broadcast_{word}": _compared(operator, scalar=False) for word, operator in _COMPARED.items()},
    **{f"_{word}": _compared(operator, scalar=False) for word, operator in _COMPARED.items()},
    **{f"_{word}_scalar": _compared(operator, scalar=True) for word, operator in _COMPARED.items()},
    "broadcast_not_equal": _compared("Equal", scalar=False, negated=True),
    "_not_equal_scalar": _compared("Equal", scalar=True, negated=True),
    **_SQUARES,
    "Activation": _activation,
    "LeakyReLU": _leaky,
    "Cast": _cast,
    "cast": _cast,
    "where": _where,
    "add_n": _add_many,
    "ElementWiseSum": _add_many,
    "zeros_like": _alike(0.0),
    "ones_like": _alike(1.0),
    "_zeros": _filled(0.0),
    "_ones": _filled(1.0),
}
