"""Convolutions and pools over one, two or three axes.

ONNX lists padding as all beginnings, then all ends; torch knows only the same padding on both sides, so anything else
is padded first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from engram.runtime._torch_call import Call, Operator

__all__ = ["OPERATORS"]

_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Callable[..., Tensor]] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_MAXIMA: dict[int, Callable[..., Tensor]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGES: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def _convolution(call: Call, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    axes = x.ndim - 2
    strides, dilations = call.get("strides", [1] * axes), call.get("dilations", [1] * axes)
    pads = _pads(call, x.shape[2:], list(w.shape[2:]), strides, dilations)
    x, padding = _padded(x, pads, 0.0)
    return _over(_CONVOLUTIONS, axes, call)(x, w, b, strides, padding, dilations, call.get("group", 1))


def _transposed(call: Call, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    axes = x.ndim - 2
    strides, dilations = call.get("strides", [1] * axes), call.get("dilations", [1] * axes)
    extra, kernel = call.get("output_padding", [0] * axes), list(w.shape[2:])
    full = [(n - 1) * s + d * (k - 1) + 1 + e
            for n, s, d, k, e in zip(x.shape[2:], strides, dilations, kernel, extra, strict=True)]  # fmt: skip
    cut = _cut(call, full, [n * s for n, s in zip(x.shape[2:], strides, strict=True)])
    even = cut[:axes] == cut[axes:] and min(cut) >= 0
    padding = cut[:axes] if even else [0] * axes
    y = _over(_TRANSPOSED, axes, call)(x, w, b, strides, padding, extra, call.get("group", 1), dilations)
    if even:
        return y
    # a negative pad of F.pad cuts, and a negative cut pads
    return F.pad(y, [-cut[side + place] for place in reversed(range(axes)) for side in (0, axes)])


def _cut(call: Call, full: list[int], same: list[int]) -> list[int]:
    """What a transposed convolution loses at its edges, beginnings then ends."""
    wanted = call.get("output_shape")
    mode = call.get("auto_pad", "NOTSET")
    if wanted is None and mode not in {"SAME_UPPER", "SAME_LOWER"}:
        return list(call.get("pads", [0] * 2 * len(full))) if mode == "NOTSET" else [0] * 2 * len(full)
    lost = [f - w for f, w in zip(full, (wanted or same)[-len(full) :], strict=True)]
    small, large = [n // 2 for n in lost], [n - n // 2 for n in lost]
    return small + large if mode == "SAME_UPPER" else large + small


def _max_pool(call: Call, x: Tensor) -> Tensor | tuple[Tensor, ...]:
    axes = x.ndim - 2
    kernel, strides = call.get("kernel_shape"), call.get("strides", [1] * axes)
    dilations, ceil = call.get("dilations", [1] * axes), bool(call.get("ceil_mode", 0))
    if len(call.step.outputs) > 1 and call.step.outputs[1]:
        raise call.refuse("the places of the maxima are asked for")
    pads = _pads(call, x.shape[2:], kernel, strides, dilations)
    low = -math.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
    x, padding = _padded(x, pads, low, most=[k // 2 for k in kernel])
    return _over(_MAXIMA, axes, call)(x, kernel, strides, padding, dilations, ceil)


def _average_pool(call: Call, x: Tensor) -> Tensor:
    axes = x.ndim - 2
    kernel, strides = call.get("kernel_shape"), call.get("strides", [1] * axes)
    if any(d != 1 for d in call.get("dilations", [1])):
        raise call.refuse("its dilations are not 1")
    ceil, counted = bool(call.get("ceil_mode", 0)), bool(call.get("count_include_pad", 0))
    pads = _pads(call, x.shape[2:], kernel, strides, [1] * axes)
    average = _over(_AVERAGES, axes, call)
    even = pads[:axes] == pads[axes:] and all(p <= k // 2 for p, k in zip(pads, kernel, strict=False))
    if even:
        return average(x, kernel, strides, pads[:axes], ceil, counted)
    padded, padding = _padded(x, pads, 0.0, most=[0] * axes)
    y = average(padded, kernel, strides, padding, ceil, True)
    if counted:
        return y
    inside, _ = _padded(torch.ones_like(x[:1, :1]), pads, 0.0, most=[0] * axes)
    return y / average(inside, kernel, strides, padding, ceil, True)


def _pads(
    call: Call, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[int]:
    """Padding of a node, beginnings then ends, with ``auto_pad`` worked out."""
    mode = call.get("auto_pad", "NOTSET")
    if mode not in {"SAME_UPPER", "SAME_LOWER"}:
        return list(call.get("pads", [0] * 2 * len(kernel))) if mode == "NOTSET" else [0] * 2 * len(kernel)
    needed = [
        max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        for n, k, s, d in zip(sizes, kernel, strides, dilations, strict=True)
    ]
    small, large = [n // 2 for n in needed], [n - n // 2 for n in needed]
    return small + large if mode == "SAME_UPPER" else large + small


def _padded(x: Tensor, pads: list[int], fill: float, most: list[int] | None = None) -> tuple[Tensor, list[int]]:
    """The tensor and the padding torch shall add; what torch cannot add itself is there already."""
    axes = len(pads) // 2
    begins, ends = pads[:axes], pads[axes:]
    if begins == ends and (most is None or all(b <= m for b, m in zip(begins, most, strict=True))):
        return x, begins
    # torch lists padding from the last axis to the first
    pairs = [number for begin, end in zip(reversed(begins), reversed(ends), strict=True) for number in (begin, end)]
    return F.pad(x, pairs, value=fill), [0] * axes


def _over(table: dict[int, Callable[..., Tensor]], axes: int, call: Call) -> Callable[..., Tensor]:
    if axes not in table:
        raise call.refuse(f"it works over {axes} axes, torch over one to three")
    return table[axes]


def _global(function: Callable[..., Tensor]) -> Operator:
    return lambda _call, x: function(x, dim=tuple(range(2, x.ndim)), keepdim=True)


OPERATORS: dict[str, Operator] = {
    "AveragePool": _average_pool,
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "GlobalAveragePool": _global(torch.mean),
    "GlobalMaxPool": _global(torch.amax),
    "MaxPool": _max_pool,
}
