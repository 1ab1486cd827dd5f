"""Operators that compute number by number, and products of matrices.

Types follow ONNX: a quotient of whole numbers is cut towards zero.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor

from engram.runtime._torch_call import Call, Operator, like, together

__all__ = ["OPERATORS"]


def _unary(function: Callable[[Tensor], Tensor]) -> Operator:
    return lambda _call, x: function(x)


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    def compute(_call: Call, a: Tensor, b: Tensor) -> Tensor:
        return function(*(together(a, b) if a.ndim and b.ndim else (a, b)))

    return compute


def _many(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda _call, *xs: reduce(function, xs)


def _divide(_call: Call, a: Tensor, b: Tensor) -> Tensor:
    mode = None if a.is_floating_point() else "trunc"
    return torch.div(a, b if b.ndim == 0 else like(b, a), rounding_mode=mode)


def _modulo(call: Call, a: Tensor, b: Tensor) -> Tensor:
    return torch.fmod(a, like(b, a)) if call.get("fmod", 0) else torch.remainder(a, like(b, a))


def _power(_call: Call, a: Tensor, b: Tensor) -> Tensor:
    return torch.pow(a, like(b, a)).to(a.dtype)


def _mean(_call: Call, *xs: Tensor) -> Tensor:
    return reduce(torch.add, xs) / len(xs)


def _clip(call: Call, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    least = call.get("min") if low is None else like(low, x)
    most = call.get("max") if high is None else like(high, x)
    return x if least is None and most is None else torch.clamp(x, least, most)


def _where(_call: Call, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    condition, a, b = together(condition, a, b)
    return torch.where(condition, a, b)


def _gemm(call: Call, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    alpha, beta = call.get("alpha", 1.0), call.get("beta", 1.0)
    left = a.T if call.get("transA", 0) else a
    if call.get("transB", 0) and alpha == 1.0 and beta == 1.0 and (c is None or c.ndim == 1):
        # the same kernel as nn.Linear, so that training rounds alike
        return torch.nn.functional.linear(left, b, c)
    product: Tensor = alpha * (left @ (b.T if call.get("transB", 0) else b))
    return product if c is None else product + beta * like(c, a)


def _is_infinite(call: Call, x: Tensor) -> Tensor:
    positive = torch.isposinf(x) if call.get("detect_positive", 1) else torch.zeros_like(x, dtype=torch.bool)
    negative = torch.isneginf(x) if call.get("detect_negative", 1) else torch.zeros_like(x, dtype=torch.bool)
    return positive | negative


def _einsum(call: Call, *xs: Tensor) -> Tensor:
    product: Tensor = torch.einsum(call.get("equation"), *xs)
    return product


OPERATORS: dict[str, Operator] = {
    "Abs": _unary(torch.abs),
    "Acos": _unary(torch.acos),
    "Acosh": _unary(torch.acosh),
    "Add": _binary(torch.add),
    "And": _binary(torch.logical_and),
    "Asin": _unary(torch.asin),
    "Asinh": _unary(torch.asinh),
    "Atan": _unary(torch.atan),
    "Atanh": _unary(torch.atanh),
    "Ceil": _unary(torch.ceil),
    "Clip": _clip,
    "Cos": _unary(torch.cos),
    "Cosh": _unary(torch.cosh),
    "Div": _divide,
    "Einsum": _einsum,
    "Equal": _binary(torch.eq),
    "Erf": _unary(torch.erf),
    "Exp": _unary(torch.exp),
    "Floor": _unary(torch.floor),
    "Gemm": _gemm,
    "Greater": _binary(torch.gt),
    "GreaterOrEqual": _binary(torch.ge),
    "IsInf": _is_infinite,
    "IsNaN": _unary(torch.isnan),
    "Less": _binary(torch.lt),
    "LessOrEqual": _binary(torch.le),
    "Log": _unary(torch.log),
    "MatMul": _binary(torch.matmul),
    "Max": _many(torch.maximum),
    "Mean": _mean,
    "Min": _many(torch.minimum),
    "Mod": _modulo,
    "Mul": _binary(torch.mul),
    "Neg": _unary(torch.neg),
    "Not": _unary(torch.logical_not),
    "Or": _binary(torch.logical_or),
    "Pow": _power,
    "Reciprocal": _unary(torch.reciprocal),
    "Round": _unary(torch.round),
    "Sign": _unary(torch.sign),
    "Sin": _unary(torch.sin),
    "Sinh": _unary(torch.sinh),
    "Sqrt": _unary(torch.sqrt),
    "Sub": _binary(torch.sub),
    "Sum": _many(torch.add),
    "Tan": _unary(torch.tan),
    "Where": _where,
    "Xor": _binary(torch.logical_xor),
}
