"""Activations, and Dropout, which is one only while training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from engram.runtime._torch_call import Call, Operator, like

__all__ = ["OPERATORS"]


def _leaky_relu(call: Call, x: Tensor) -> Tensor:
    return F.leaky_relu(x, call.get("alpha", 0.01))


def _parametric_relu(_call: Call, x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, slope * x, x)


def _elu(call: Call, x: Tensor) -> Tensor:
    return F.elu(x, call.get("alpha", 1.0))


def _celu(call: Call, x: Tensor) -> Tensor:
    return F.celu(x, call.get("alpha", 1.0))


def _selu(call: Call, x: Tensor) -> Tensor:
    alpha, gamma = call.get("alpha", 1.67326319217681884765625), call.get("gamma", 1.05070102214813232421875)
    bent = torch.where(x > 0, x, torch.expm1(torch.clamp(x, max=0)) * alpha)
    return torch.mul(bent, gamma)


def _thresholded_relu(call: Call, x: Tensor) -> Tensor:
    return torch.where(x > call.get("alpha", 1.0), x, torch.zeros_like(x))


def _hard_sigmoid(call: Call, x: Tensor) -> Tensor:
    return torch.clamp(x * call.get("alpha", 0.2) + call.get("beta", 0.5), 0, 1)


def _softmax(call: Call, x: Tensor) -> Tensor:
    return F.softmax(x, call.get("axis", -1))


def _log_softmax(call: Call, x: Tensor) -> Tensor:
    return F.log_softmax(x, call.get("axis", -1))


def _gelu(call: Call, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=call.get("approximate", "none"))


def _swish(call: Call, x: Tensor) -> Tensor:
    return x * torch.sigmoid(call.get("alpha", 1.0) * x)


def _shrink(call: Call, x: Tensor) -> Tensor:
    bound, bias = call.get("lambd", 0.5), call.get("bias", 0.0)
    return torch.where(x < -bound, x + bias, torch.where(x > bound, x - bias, torch.zeros_like(x)))


def _dropout(call: Call, x: Tensor, ratio: Tensor | None = None, _mode: Tensor | None = None) -> tuple[Tensor, ...]:
    share = (call.numbers(1, ratio) or [call.get("ratio", 0.5)])[0]
    if not call.training:
        return x, torch.ones_like(x, dtype=torch.bool)
    kept = F.dropout(x, share, training=True)
    return kept, like(kept != 0, x)


OPERATORS: dict[str, Operator] = {
    "Celu": _celu,
    "Dropout": _dropout,
    "Elu": _elu,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda _call, x: F.hardswish(x),
    "LeakyRelu": _leaky_relu,
    "LogSoftmax": _log_softmax,
    "Mish": lambda _call, x: F.mish(x),
    "PRelu": _parametric_relu,
    "Relu": lambda _call, x: F.relu(x),
    "Selu": _selu,
    "Shrink": _shrink,
    "Sigmoid": lambda _call, x: torch.sigmoid(x),
    "Softmax": _softmax,
    "Softplus": lambda _call, x: F.softplus(x),
    "Softsign": lambda _call, x: F.softsign(x),
    "Swish": _swish,
    "Tanh": lambda _call, x: torch.tanh(x),
    "ThresholdedRelu": _thresholded_relu,
}
