"""Normalizations.

BatchNormalization learns its running statistics while training, as torch's own does: ONNX's ``momentum`` is the share
that is kept, torch's the share that is new.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from engram.runtime._torch.call import Call, Operator, Planned

__all__ = ["OPERATORS"]


def _batch(call: Call) -> Callable[..., Tensor | tuple[Tensor, ...]]:
    kept, epsilon = call.get("momentum", 0.9), call.get("epsilon", 1e-5)
    new, training = round(1 - kept, 9), call.training

    def compute(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return F.batch_norm(x, mean, variance, scale, bias, training, new, epsilon)

    def told(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, ...]:
        """In the form of ONNX's own training: new statistics are answers, with the variance of the batch itself."""
        axes = [axis for axis in range(x.ndim) if axis != 1]
        found = x.mean(axes), x.var(axes, unbiased=False)
        y = F.batch_norm(x, None, None, scale.to(x.dtype), bias.to(x.dtype), True, 0.0, epsilon)
        old = mean, variance
        return y, *(a * kept + b * (1 - kept) for a, b in zip(old, found, strict=True))

    return told if call.wants(1) or call.wants(2) else compute


def _layer(call: Call) -> Callable[..., Tensor | tuple[Tensor, ...]]:
    place, epsilon = call.get("axis", -1), call.get("epsilon", 1e-5)
    told = call.wants(1) or call.wants(2)

    def compute(x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        first = place % x.ndim
        shape = x.shape[first:]
        if scale.shape != shape:
            scale = scale.expand(shape)
        if bias is not None and bias.shape != shape:
            bias = bias.expand(shape)
        normal = F.layer_norm(x, shape, scale, bias, epsilon)
        if not told:
            return normal
        axes = tuple(range(first, x.ndim))
        wide = x.float() if x.element_size() < 4 else x
        deviation = torch.rsqrt(wide.var(axes, unbiased=False, keepdim=True) + epsilon)
        return normal, wide.mean(axes, keepdim=True), deviation

    return compute


def _instance(call: Call, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    # group_norm takes what instance_norm refuses: a single number a channel
    return F.group_norm(x, x.shape[1], scale, bias, call.get("epsilon", 1e-5))


def _group(call: Call, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    groups, channels = call.get("num_groups"), x.shape[1]
    if scale.shape[0] != channels:  # one a group, as before operator set 21
        scale, bias = (part.repeat_interleave(channels // groups) for part in (scale, bias))
    return F.group_norm(x, groups, scale, bias, call.get("epsilon", 1e-5))


def _root_mean_square(call: Call, x: Tensor, scale: Tensor) -> Tensor:
    axes = tuple(range(call.get("axis", -1) % x.ndim, x.ndim))
    wide = x.float() if x.element_size() < 4 and call.get("stash_type", 1) == 1 else x
    mean = wide.square().mean(axes, keepdim=True)
    return (wide * torch.rsqrt(mean + call.get("epsilon", 1e-5))).to(x.dtype) * scale


def _local_response(call: Call, x: Tensor) -> Tensor:
    size, alpha = call.get("size"), call.get("alpha", 1e-4)
    square = F.pad(x.square(), [0, 0] * (x.ndim - 2) + [(size - 1) // 2, size // 2])
    total = square.unfold(1, size, 1).sum(-1)
    scale = torch.pow(total * (alpha / size) + call.get("bias", 1.0), call.get("beta", 0.75))
    return torch.div(x, scale)


def _norm(call: Call, x: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(x, call.get("p", 2), call.get("axis", -1), keepdim=True)
    nothing = length == 0
    # divided by one where there is nothing, because a gradient would go through the division that is not taken
    return torch.where(nothing, torch.zeros_like(x), x / torch.where(nothing, torch.ones_like(length), length))


def _mean_variance(call: Call, x: Tensor) -> Tensor:
    axes = tuple(call.get("axes", [0, 2, 3]))
    centered = x - x.mean(axes, keepdim=True)
    return centered / (centered.square().mean(axes, keepdim=True).sqrt() + 1e-9)


OPERATORS: dict[str, Operator | Planned] = {
    "BatchNormalization": Planned(_batch),
    "GroupNormalization": _group,
    "InstanceNormalization": _instance,
    "LRN": _local_response,
    "LayerNormalization": Planned(_layer),
    "LpNormalization": _norm,
    "MeanVarianceNormalization": _mean_variance,
    "RMSNormalization": _root_mean_square,
}
