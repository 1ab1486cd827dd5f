"""Activations, and Dropout, which is one only while training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from engram.runtime._torch.arithmetic import unary
from engram.runtime._torch.call import Call, Operator, Planned

__all__ = ["OPERATORS", "named"]

_Function = Callable[[Tensor], Tensor]


def _leaky_relu(get: Callable[..., Any]) -> _Function:
    slope = get("alpha", 0.01)
    return lambda x: F.leaky_relu(x, slope)


def _elu(get: Callable[..., Any]) -> _Function:
    alpha = get("alpha", 1.0)
    return lambda x: F.elu(x, alpha)


def _celu(get: Callable[..., Any]) -> _Function:
    alpha = get("alpha", 1.0)
    return lambda x: F.celu(x, alpha)


def _selu(get: Callable[..., Any]) -> _Function:
    alpha, gamma = get("alpha", 1.67326319217681884765625), get("gamma", 1.05070102214813232421875)
    return lambda x: torch.where(x > 0, x, torch.expm1(torch.clamp(x, max=0)) * alpha) * gamma


def _thresholded_relu(get: Callable[..., Any]) -> _Function:
    alpha = get("alpha", 1.0)
    return lambda x: torch.where(x > alpha, x, torch.zeros_like(x))


def _hard_sigmoid(get: Callable[..., Any]) -> _Function:
    alpha, beta = get("alpha", 0.2), get("beta", 0.5)
    return lambda x: torch.clamp(x * alpha + beta, 0, 1)


def _gelu(get: Callable[..., Any]) -> _Function:
    kind = get("approximate", "none")
    return lambda x: F.gelu(x, approximate=kind)


def _swish(get: Callable[..., Any]) -> _Function:
    alpha = get("alpha", 1.0)
    return F.silu if alpha == 1.0 else lambda x: x * torch.sigmoid(alpha * x)


def _shrink(get: Callable[..., Any]) -> _Function:
    bound, bias = get("lambd", 0.5), get("bias", 0.0)

    def compute(x: Tensor) -> Tensor:
        return torch.where(x < -bound, x + bias, torch.where(x > bound, x - bias, torch.zeros_like(x))).to(x.dtype)

    return compute


def _scaled_tanh(get: Callable[..., Any]) -> _Function:
    alpha, beta = get("alpha", 1.0), get("beta", 1.0)
    return lambda x: alpha * torch.tanh(beta * x)


def _affine(get: Callable[..., Any]) -> _Function:
    alpha, beta = get("alpha", 1.0), get("beta", 0.0)
    return lambda x: alpha * x + beta


_MADE: Mapping[str, Callable[[Callable[..., Any]], _Function]] = {
    "Affine": _affine,
    "Celu": _celu,
    "Elu": _elu,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "LeakyRelu": _leaky_relu,
    "ScaledTanh": _scaled_tanh,
    "Selu": _selu,
    "Shrink": _shrink,
    "Swish": _swish,
    "ThresholdedRelu": _thresholded_relu,
}
_PLAIN: Mapping[str, _Function] = {
    "HardSwish": F.hardswish,
    "Mish": F.mish,
    "Relu": F.relu,
    "Sigmoid": torch.sigmoid,
    "Softplus": F.softplus,
    "Softsign": F.softsign,
    "Tanh": torch.tanh,
}
_RECURRENT_ONLY = {"Affine", "ScaledTanh"}


def named(name: str, get: Callable[..., Any]) -> _Function:
    """The function of an activation.

    Args:
        name: ONNX's, in any case; those of recurrent layers are among them.
        get: gives an attribute by name, or the default it is called with.

    Raises:
        KeyError: there is none of this name.
    """
    makers = {key.lower(): maker for key, maker in _MADE.items()}
    plain = {key.lower(): function for key, function in _PLAIN.items()}
    return plain[name.lower()] if name.lower() in plain else makers[name.lower()](get)


def _parametric_relu(_call: Call, x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, slope * x, x)


def _softmax(function: Callable[..., Tensor]) -> Planned:
    def plan(call: Call) -> _Function:
        axis = call.get("axis", -1)
        return lambda x: function(x, axis)

    return Planned(plan)


def _hardmax(call: Call, x: Tensor) -> Tensor:
    axis = call.get("axis", -1)
    return torch.zeros_like(x).scatter(axis, x.argmax(axis, keepdim=True), 1)


def _dropout(call: Call) -> Callable[..., Any]:
    masked = call.wants(1)

    def serve(x: Tensor, ratio: Tensor | None = None, mode: Tensor | None = None) -> Any:  # noqa: ANN401
        if mode is not None and bool(mode):
            return train(x, ratio)
        return (x, torch.ones_like(x, dtype=torch.bool)) if masked else x

    def train(x: Tensor, ratio: Tensor | None = None, _mode: Tensor | None = None) -> Any:  # noqa: ANN401
        share = call.number(1, ratio, call.get("ratio", 0.5))
        if not masked:
            return F.dropout(x, share, training=True)
        # drawn on ones, because a zero that was kept looks like one that was dropped
        mask = F.dropout(torch.ones_like(x), share, training=True)
        return x * mask, mask != 0

    return train if call.training else serve


def _made(name: str) -> Planned:
    return Planned(lambda call: named(name, call.get))


OPERATORS: dict[str, Operator | Planned] = {
    "Dropout": Planned(_dropout),
    "Hardmax": _hardmax,
    "LogSoftmax": _softmax(F.log_softmax),
    "PRelu": _parametric_relu,
    "Softmax": _softmax(F.softmax),
    **{name: _made(name) for name in _MADE if name not in _RECURRENT_ONLY},
    **{name: unary(function) for name, function in _PLAIN.items()},
}
