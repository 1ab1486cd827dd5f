"""Pools: torch's own where it has the same one, otherwise windows laid out and reduced.

Torch pads both sides alike, by at most half a window; it knows no gaps in an average and no norms over three axes.
Windows are views, so that the general form costs time and little memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from engram.runtime._torch.call import Call, Operator, Planned
from engram.runtime._torch.padding import around, pads

__all__ = ["OPERATORS"]

_MAXIMA: dict[int, Callable[..., Tensor]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGES: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@dataclass(frozen=True, slots=True)
class _Windows:
    """How windows lie over an input.

    Attributes:
        kernel, strides, dilations: one an axis.
        begins, ends: padding.
        extra: what the last window reaches over the padding, one an axis.
    """

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    begins: list[int]
    ends: list[int]
    extra: list[int]

    def lay(self, x: Tensor, fill: float) -> Tensor:
        """Windows of a padded input: (rows, channels, places…, kernel…)."""
        padded = around(x, self.begins, [end + more for end, more in zip(self.ends, self.extra, strict=True)], fill)
        return self.over(padded)

    def over(self, padded: Tensor) -> Tensor:
        """Windows of an input that is padded already."""
        for place, (k, s, d) in enumerate(zip(self.kernel, self.strides, self.dilations, strict=True)):
            padded = padded.unfold(2 + place, d * (k - 1) + 1, s)[..., ::d]
        return padded


def _windows(call: Call, x: Tensor) -> _Windows:
    axes = x.ndim - 2
    kernel, strides = call.get("kernel_shape"), call.get("strides", [1] * axes)
    dilations = call.get("dilations", [1] * axes)
    both = pads(call, x.shape[2:], kernel, strides, dilations)
    begins, ends = both[:axes], both[axes:]
    extra = [0] * axes
    if call.get("ceil_mode", 0):
        for place, (n, k, s, d) in enumerate(zip(x.shape[2:], kernel, strides, dilations, strict=True)):
            room = n + begins[place] + ends[place] - d * (k - 1) - 1
            count = -(-room // s) + 1
            if (count - 1) * s >= n + begins[place]:
                count -= 1  # a window that begins in the padding behind is none
            extra[place] = max((count - 1) * s - room, 0)
    return _Windows(kernel, strides, dilations, begins, ends, extra)


def _max_pool(call: Call) -> Callable[..., Tensor | tuple[Tensor, ...]]:
    own = _own(call, _MAXIMA)
    if own is None or call.wants(1):
        return lambda x: _maxima(call, x)
    function, strides, padding, axes = own
    kernel, dilations = call.get("kernel_shape"), call.get("dilations", [1] * axes)

    def compute(x: Tensor) -> Tensor | tuple[Tensor, ...]:
        if x.is_floating_point():
            return function(x, kernel, strides, padding, dilations)
        return _maxima(call, x)

    return compute


def _own(
    call: Call, table: dict[int, Callable[..., Tensor]]
) -> tuple[Callable[..., Tensor], list[int], list[int], int] | None:
    """Torch's own pool, its strides and padding, where it means the same."""
    kernel = call.get("kernel_shape")
    axes = len(kernel)
    given = call.get("pads", [0] * 2 * axes)
    same = given[:axes] == given[axes:] and all(p <= k // 2 for p, k in zip(given, kernel, strict=False))
    if axes not in table or not same or call.get("auto_pad", "NOTSET") != "NOTSET" or call.get("ceil_mode", 0):
        return None
    return table[axes], call.get("strides", [1] * axes), given[:axes], axes


def _maxima(call: Call, x: Tensor) -> Tensor | tuple[Tensor, ...]:
    laid = _windows(call, x)
    low = -math.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
    windows = laid.lay(x if x.is_floating_point() else x.to(torch.int64), low).flatten(x.ndim)
    if not call.wants(1):
        return windows.amax(-1).to(x.dtype)
    places = torch.arange(math.prod(x.shape[2:]), device=x.device)
    if call.get("storage_order", 0):
        shape = list(x.shape[2:])
        places = places.reshape(shape[::-1]).permute(*reversed(range(len(shape)))).reshape(-1)
    numbers = laid.lay(places.reshape(1, 1, *x.shape[2:]), -1).flatten(x.ndim)
    best = windows.masked_fill(numbers < 0, low).argmax(-1, keepdim=True)
    plane = torch.arange(x.shape[0] * x.shape[1], device=x.device) * math.prod(x.shape[2:])
    plane = plane.reshape(*x.shape[:2], *[1] * (x.ndim - 2))
    where = numbers.expand(windows.shape).gather(-1, best)[..., 0] + plane
    return windows.gather(-1, best)[..., 0].to(x.dtype), where


def _average_pool(call: Call) -> Callable[..., Tensor]:
    own = _own(call, _AVERAGES)
    if own is None or any(d != 1 for d in call.get("dilations", [1])):
        return lambda x: _averages(call, x)
    function, strides, padding, _ = own
    kernel, counted = call.get("kernel_shape"), bool(call.get("count_include_pad", 0))
    return lambda x: function(x, kernel, strides, padding, False, counted)


def _averages(call: Call, x: Tensor) -> Tensor:
    laid = _windows(call, x)
    inside = torch.ones_like(x[:1, :1])
    if call.get("count_include_pad", 0):
        counted = laid.over(around(around(inside, laid.begins, laid.ends, 1.0), [0] * len(laid.ends), laid.extra))
    else:
        counted = laid.lay(inside, 0.0)
    return laid.lay(x, 0.0).flatten(x.ndim).sum(-1) / counted.flatten(x.ndim).sum(-1)


def _norm_pool(call: Call, x: Tensor) -> Tensor:
    power = call.get("p", 2)
    return _windows(call, x.abs().pow(power)).lay(x.abs().pow(power), 0.0).flatten(x.ndim).sum(-1).pow(1 / power)


def _norm_global(call: Call, x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, call.get("p", 2), tuple(range(2, x.ndim)), keepdim=True)  # type: ignore[no-any-return]


def _unpool(call: Call, x: Tensor, places: Tensor, shape: Tensor | None = None) -> Tensor:
    axes = x.ndim - 2
    strides, both = call.get("strides", [1] * axes), call.get("pads", [0] * 2 * axes)
    own = [
        (n - 1) * s - both[place] - both[place + axes] + k
        for place, (n, s, k) in enumerate(zip(x.shape[2:], strides, call.get("kernel_shape"), strict=True))
    ]
    flat = x.new_zeros(math.prod(x.shape[:2]) * math.prod(own))
    y = flat.scatter(0, places.reshape(-1), x.reshape(-1)).reshape(*x.shape[:2], *own)
    wanted = call.numbers(2, shape)
    return y if wanted is None else around(y, [0] * axes, [w - n for w, n in zip(wanted[2:], own, strict=True)])


def _global(function: Callable[..., Tensor]) -> Operator:
    return lambda _call, x: function(x, dim=tuple(range(2, x.ndim)), keepdim=True)


OPERATORS: dict[str, Operator | Planned] = {
    "AveragePool": Planned(_average_pool),
    "GlobalAveragePool": _global(torch.mean),
    "GlobalLpPool": _norm_global,
    "GlobalMaxPool": _global(torch.amax),
    "LpPool": _norm_pool,
    "MaxPool": Planned(_max_pool),
    "MaxUnpool": _unpool,
}
