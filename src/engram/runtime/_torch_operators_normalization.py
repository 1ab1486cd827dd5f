"""Normalizations.

BatchNormalization learns its running statistics while training, as torch's own does: ONNX's ``momentum`` is the share
that is kept, torch's the share that is new.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from engram.runtime._torch_call import Call, Operator

__all__ = ["OPERATORS"]


def _batch(call: Call, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    if len(call.step.outputs) > 1:
        raise call.refuse("its statistics are outputs of the graph")
    new = round(1 - call.get("momentum", 0.9), 9)
    return F.batch_norm(x, mean, variance, scale, bias, call.training, new, call.get("epsilon", 1e-5))


def _layer(call: Call, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
    first, epsilon = call.get("axis", -1) % x.ndim, call.get("epsilon", 1e-5)
    shape = list(x.shape[first:])
    normal = F.layer_norm(x, shape, scale.expand(shape), None if bias is None else bias.expand(shape), epsilon)
    if not any(call.step.outputs[1:]):
        return normal
    axes = tuple(range(first, x.ndim))
    return normal, x.mean(axes, keepdim=True), torch.rsqrt(x.var(axes, unbiased=False, keepdim=True) + epsilon)


def _instance(call: Call, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return F.instance_norm(x, weight=scale, bias=bias, eps=call.get("epsilon", 1e-5))


def _group(call: Call, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    groups, channels = call.get("num_groups"), x.shape[1]
    if scale.shape[0] != channels:
        raise call.refuse("scale and bias are one a group, as before operator set 21")
    return F.group_norm(x, groups, scale, bias, call.get("epsilon", 1e-5))


def _root_mean_square(call: Call, x: Tensor, scale: Tensor) -> Tensor:
    axes = tuple(range(call.get("axis", -1) % x.ndim, x.ndim))
    mean = x.square().mean(axes, keepdim=True)
    scaled: Tensor = x * torch.rsqrt(mean + call.get("epsilon", 1e-5)) * scale
    return scaled


def _local_response(call: Call, x: Tensor) -> Tensor:
    size, alpha = call.get("size"), call.get("alpha", 1e-4)
    square = F.pad(x.square(), [0, 0] * (x.ndim - 2) + [(size - 1) // 2, size // 2])
    total = torch.stack([square.narrow(1, place, x.shape[1]) for place in range(size)]).sum(0)
    scale = torch.pow(total * (alpha / size) + call.get("bias", 1.0), call.get("beta", 0.75))
    return torch.div(x, scale)


def _norm(call: Call, x: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(x, call.get("p", 2), call.get("axis", -1), keepdim=True)
    return torch.where(length == 0, torch.zeros_like(x), x / length)


def _mean_variance(call: Call, x: Tensor) -> Tensor:
    axes = tuple(call.get("axes", [0, 2, 3]))
    centered = x - x.mean(axes, keepdim=True)
    return centered / (centered.square().mean(axes, keepdim=True).sqrt() + 1e-9)


OPERATORS: dict[str, Operator] = {
    "BatchNormalization": _batch,
    "GroupNormalization": _group,
    "InstanceNormalization": _instance,
    "LRN": _local_response,
    "LayerNormalization": _layer,
    "LpNormalization": _norm,
    "MeanVarianceNormalization": _mean_variance,
    "RMSNormalization": _root_mean_square,
}
