"""Operators that compute number by number.

Types follow ONNX: a quotient of whole numbers is cut towards zero. Torch has no arithmetic for unsigned numbers of 16
bits and more, so those are computed by numpy; nothing is learned from them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engram.runtime._torch.call import Call, Operator, Planned, like, together

__all__ = ["LACKING", "OPERATORS", "binary", "unary"]

LACKING = frozenset({torch.uint16, torch.uint32, torch.uint64})
"""Types that torch can hold and not compute with."""


def unary(function: Callable[[Tensor], Tensor], plain: Callable[..., Any] | None = None) -> Planned:
    """An operator of one input.

    Args:
        function: torch's.
        plain: numpy's, for types that torch cannot compute with.
    """

    def compute(x: Tensor) -> Tensor:
        return torch.from_numpy(np.asarray(plain(x.numpy()))) if plain and x.dtype in LACKING else function(x)

    return Planned(lambda _call: compute if plain else function)


def binary(function: Callable[[Tensor, Tensor], Tensor], plain: Callable[..., Any] | None = None) -> Planned:
    """An operator of two inputs, likewise."""

    def compute(a: Tensor, b: Tensor) -> Tensor:
        if plain is not None and a.dtype in LACKING:
            return torch.from_numpy(np.asarray(plain(a.numpy(), b.numpy())))
        if a.device != b.device and a.ndim and b.ndim:
            a, b = together(a, b)
        return function(a, b)

    return Planned(lambda _call: compute)


def _many(function: Callable[[Tensor, Tensor], Tensor], plain: Callable[..., Any]) -> Operator:
    two = binary(function, plain)

    def compute(call: Call, *xs: Tensor) -> Tensor:
        return reduce(two.plan(call), xs)

    return compute


def _divided(a: Tensor, b: Tensor) -> Tensor:
    return torch.div(a, b, rounding_mode=None if a.is_floating_point() else "trunc")


def _cut(a: Any, b: Any) -> Any:  # noqa: ANN401 - arrays of numpy
    return np.floor_divide(a, b)  # of unsigned numbers, where down is towards zero


def _modulo(call: Call, a: Tensor, b: Tensor) -> Tensor:
    if a.dtype in LACKING:
        return torch.from_numpy(np.asarray(np.mod(a.numpy(), b.numpy())))
    return torch.fmod(a, like(b, a)) if call.get("fmod", 0) else torch.remainder(a, like(b, a))


def _power(a: Tensor, b: Tensor) -> Tensor:
    return torch.pow(a, b).to(a.dtype)


def _mean(_call: Call, *xs: Tensor) -> Tensor:
    return reduce(torch.add, xs) / len(xs)


def _clip(call: Call, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    least = call.number(1, low, call.get("min"))
    most = call.number(2, high, call.get("max"))
    if least is None and most is None:
        return x
    if x.dtype in LACKING:
        return torch.from_numpy(np.clip(x.numpy(), least, most))
    if low is not None and high is not None and low.requires_grad | high.requires_grad:
        return torch.clamp(x, like(low, x), like(high, x))
    # ONNX lets the upper bound win where the two are crossed, as torch does
    return torch.clamp(x, least, most)


def _where(_call: Call, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    condition, a, b = together(condition, a, b)
    return torch.where(condition, a, b)


def _is_infinite(call: Call, x: Tensor) -> Tensor:
    positive = torch.isposinf(x) if call.get("detect_positive", 1) else torch.zeros_like(x, dtype=torch.bool)
    negative = torch.isneginf(x) if call.get("detect_negative", 1) else torch.zeros_like(x, dtype=torch.bool)
    return positive | negative


OPERATORS: dict[str, Operator | Planned] = {
    "Abs": unary(torch.abs, np.abs),
    "Acos": unary(torch.acos),
    "Acosh": unary(torch.acosh),
    "Add": binary(torch.add, np.add),
    "And": binary(torch.logical_and),
    "Asin": unary(torch.asin),
    "Asinh": unary(torch.asinh),
    "Atan": unary(torch.atan),
    "Atanh": unary(torch.atanh),
    "Ceil": unary(torch.ceil),
    "Clip": _clip,
    "Cos": unary(torch.cos),
    "Cosh": unary(torch.cosh),
    "Div": binary(_divided, _cut),
    "Equal": binary(torch.eq, np.equal),
    "Erf": unary(torch.erf),
    "Exp": unary(torch.exp),
    "Floor": unary(torch.floor),
    "Greater": binary(torch.gt, np.greater),
    "GreaterOrEqual": binary(torch.ge, np.greater_equal),
    "IsInf": _is_infinite,
    "IsNaN": unary(torch.isnan),
    "Less": binary(torch.lt, np.less),
    "LessOrEqual": binary(torch.le, np.less_equal),
    "Log": unary(torch.log),
    "Max": _many(torch.maximum, np.maximum),
    "Mean": _mean,
    "Min": _many(torch.minimum, np.minimum),
    "Mod": _modulo,
    "Mul": binary(torch.mul, np.multiply),
    "Neg": unary(torch.neg),
    "Not": unary(torch.logical_not),
    "Or": binary(torch.logical_or),
    "Pow": binary(_power, np.power),
    "Reciprocal": unary(torch.reciprocal),
    "Round": unary(torch.round),
    "Sign": unary(torch.sign, np.sign),
    "Sin": unary(torch.sin),
    "Sinh": unary(torch.sinh),
    "Sqrt": unary(torch.sqrt),
    "Sub": binary(torch.sub, np.subtract),
    "Sum": _many(torch.add, np.add),
    "Tan": unary(torch.tan),
    "Where": _where,
    "Xor": binary(torch.logical_xor),
}
