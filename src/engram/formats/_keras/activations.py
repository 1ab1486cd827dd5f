"""Activations, by the names Keras gives them.

Each is the formula of Keras 3. Only ``hard_sigmoid`` changed between Keras 2 (slope 0.2) and 3 (slope 1/6).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from engram.errors import FormatError
from engram.formats._sheet import Sheet
from engram.plugins import nearest

__all__ = ["NAMES", "activation", "called", "recurrent"]

_SELU = {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}
_SIMPLE: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "celu": ("Celu", {"alpha": 1.0}),
    "elu": ("Elu", {"alpha": 1.0}),
    "exponential": ("Exp", {}),
    "gelu": ("Gelu", {"approximate": "none"}),
    "hard_shrink": ("Shrink", {"lambd": 0.5, "bias": 0.0}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "hard_silu": ("HardSwish", {}),
    "hard_swish": ("HardSwish", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.2}),
    "log_softmax": ("LogSoftmax", {"axis": -1}),
    "mish": ("Mish", {}),
    "relu": ("Relu", {}),
    "selu": ("Selu", _SELU),
    "sigmoid": ("Sigmoid", {}),
    "soft_shrink": ("Shrink", {"lambd": 0.5, "bias": 0.5}),
    "softmax": ("Softmax", {"axis": -1}),
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
    "tanh": ("Tanh", {}),
}
_RECURRENT: Mapping[str, tuple[str, float, float]] = {
    "elu": ("Elu", 1.0, 0.0),
    "hard_sigmoid": ("HardSigmoid", 1 / 6, 0.5),
    "leaky_relu": ("LeakyRelu", 0.2, 0.0),
    "linear": ("Affine", 1.0, 0.0),
    "relu": ("Relu", 0.0, 0.0),
    "sigmoid": ("Sigmoid", 0.0, 0.0),
    "softplus": ("Softplus", 0.0, 0.0),
    "softsign": ("Softsign", 0.0, 0.0),
    "tanh": ("Tanh", 0.0, 0.0),
}


def called(found: Any, where: str) -> str:  # noqa: ANN401 - of a stranger's file
    """The name of an activation in a config, which may be a text, nothing, or an object around a name.

    Raises:
        FormatError: it is a function or a class of the user's.
    """
    if found is None:
        return "linear"
    if isinstance(found, Mapping):
        config = found.get("config")
        inner = config if isinstance(config, str) else found.get("class_name")
        if found.get("module") not in {None, "builtins", "keras.activations", "keras.src.activations.activations"}:
            raise FormatError(f"{where}: the activation {found.get('module')}.{inner} is not Keras' own and is not run")
        if isinstance(config, Mapping) and config:
            raise FormatError(f"{where}: the activation {inner} has settings; make it a layer of its own")
        found = inner
    if isinstance(found, str) and ">" in found:
        raise FormatError(f"{where}: the activation {found} is not Keras' own and is not run; say it with layers")
    if not isinstance(found, str) or found.lower() not in NAMES:
        raise FormatError(f"{where}: the activation {found!r} is not known; {nearest(str(found), NAMES)}")
    return found.lower()


def activation(sheet: Sheet, name: str, value: str, version: int = 3) -> str:
    """Add an activation and return its output; ``linear`` adds nothing."""
    if name == "linear":
        return value
    if name == "hard_sigmoid" and version < 3:
        return sheet.node("HardSigmoid", value, alpha=0.2, beta=0.5)
    if name in _SIMPLE:
        operator, numbers = _SIMPLE[name]
        return sheet.node(operator, value, **numbers)
    return _FORMULAS[name](sheet, value)


def recurrent(name: str, where: str, version: int) -> tuple[str, float, float]:
    """The activation inside a recurrent operator: its name there, alpha and beta.

    Raises:
        FormatError: ONNX has it outside of such operators alone.
    """
    if name not in _RECURRENT:
        raise FormatError(f"{where}: the activation {name} inside a recurrent layer cannot be said in ONNX")
    if name == "hard_sigmoid" and version < 3:
        return "HardSigmoid", 0.2, 0.5
    return _RECURRENT[name]


def _silu(sheet: Sheet, value: str) -> str:
    return sheet.node("Mul", value, sheet.node("Sigmoid", value))


def _clip(low: float, high: float) -> Callable[[Sheet, str], str]:
    return lambda sheet, value: sheet.node("Clip", value, sheet.like(low, value), sheet.like(high, value))


def _glu(sheet: Sheet, value: str) -> str:
    half = sheet.nodes("Split", value, outputs=2, axis=-1, num_outputs=2)
    return sheet.node("Mul", half[0], sheet.node("Sigmoid", half[1]))


def _log_sigmoid(sheet: Sheet, value: str) -> str:
    return sheet.node("Neg", sheet.node("Softplus", sheet.node("Neg", value)))


def _sparse_plus(sheet: Sheet, value: str) -> str:
    one = sheet.like(1.0, value)
    above = sheet.node("Add", value, one)
    curve = sheet.node("Mul", sheet.node("Mul", above, above), sheet.like(0.25, value))
    high = sheet.node("Where", sheet.node("Less", value, one), curve, value)
    return sheet.node("Where", sheet.node("LessOrEqual", value, sheet.like(-1.0, value)), sheet.like(0.0, value), high)


def _sparsemax(sheet: Sheet, value: str) -> str:
    """What Keras computes under this name.

    Martins and Astudillo 2016 take the sum of the numbers above the threshold; Keras takes the sum of their running
    sums, and a graph that answers otherwise would not be that of the file.
    """
    length = sheet.shape(value)[-1]
    if length is None:
        raise FormatError(f"layer {sheet.where!r}: sparsemax needs a last axis of known length")
    ordered, _ = sheet.nodes("TopK", value, sheet.constant([length], "int64"), outputs=2, axis=-1)
    sums = sheet.node("CumSum", ordered, sheet.constant(-1, "int64"))
    places = sheet.like(np.arange(1, length + 1), value)
    bound = sheet.node("Add", sheet.node("Mul", ordered, places), sheet.like(1.0, value))
    inside = sheet.cast(sheet.node("Greater", bound, sums), sheet.dtype(value))
    last = sheet.constant([-1], "int64")
    count = sheet.node("ReduceSum", inside, last, keepdims=1)
    total = sheet.node("ReduceSum", sheet.node("Mul", inside, sums), last, keepdims=1)
    threshold = sheet.node("Div", sheet.node("Sub", total, sheet.like(1.0, value)), count)
    return sheet.node("Relu", sheet.node("Sub", value, threshold))


def _squareplus(sheet: Sheet, value: str) -> str:
    root = sheet.node("Sqrt", sheet.node("Add", sheet.node("Mul", value, value), sheet.like(4.0, value)))
    return sheet.node("Mul", sheet.node("Add", value, root), sheet.like(0.5, value))


def _tanh_shrink(sheet: Sheet, value: str) -> str:
    return sheet.node("Sub", value, sheet.node("Tanh", value))


_FORMULAS: Mapping[str, Callable[[Sheet, str], str]] = {
    "glu": _glu,
    "hard_tanh": _clip(-1.0, 1.0),
    "log_sigmoid": _log_sigmoid,
    "relu6": _clip(0.0, 6.0),
    "silu": _silu,
    "sparse_plus": _sparse_plus,
    "sparsemax": _sparsemax,
    "squareplus": _squareplus,
    "swish": _silu,
    "tanh_shrink": _tanh_shrink,
}
NAMES = frozenset({"linear", *_SIMPLE, *_FORMULAS})
