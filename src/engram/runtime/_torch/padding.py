"""What lies around a tensor: the padding of convolutions and pools, and the operator Pad.

ONNX lists padding as all beginnings, then all ends; torch lists pairs from the last axis to the first.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from engram.runtime._torch.call import Call

__all__ = ["SAME", "around", "pad", "pads"]

SAME = frozenset({"SAME_UPPER", "SAME_LOWER"})


def pads(
    call: Call, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[int]:
    """Padding of a node, beginnings then ends, with ``auto_pad`` worked out."""
    mode = call.get("auto_pad", "NOTSET")
    if mode not in SAME:
        return list(call.get("pads", [0] * 2 * len(kernel))) if mode == "NOTSET" else [0] * 2 * len(kernel)
    needed = [
        max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        for n, k, s, d in zip(sizes, kernel, strides, dilations, strict=True)
    ]
    small, large = [n // 2 for n in needed], [n - n // 2 for n in needed]
    return small + large if mode == "SAME_UPPER" else large + small


def around(x: Tensor, begins: Sequence[int], ends: Sequence[int], fill: float = 0.0) -> Tensor:
    """The tensor with a constant around its last axes; a negative number cuts."""
    if not any(begins) and not any(ends):
        return x
    pairs = [number for pair in zip(reversed(begins), reversed(ends), strict=True) for number in pair]
    return F.pad(x, pairs, value=fill)


def pad(
    call: Call, x: Tensor, amounts: Tensor | None = None, value: Tensor | None = None, axes: Tensor | None = None
) -> Tensor:
    """The operator Pad; all axes and all types, where torch's own takes some."""
    given = call.numbers(1, amounts) or call.get("pads", [])
    places = [axis % x.ndim for axis in call.numbers(3, axes) or range(x.ndim)]
    mode = call.get("mode", "constant")
    if mode != "constant":
        for place, axis in enumerate(places):
            x = _along(x, axis, (given[place], given[place + len(places)]), mode)
        return x
    begins, ends = [0] * x.ndim, [0] * x.ndim
    for place, axis in enumerate(places):
        begins[axis], ends[axis] = given[place], given[place + len(places)]
    return around(x, begins, ends, call.number(2, value, call.get("value", 0.0)))


def _along(x: Tensor, axis: int, amounts: tuple[int, int], mode: str) -> Tensor:
    """One axis continued by what is in it, found by number; torch's own modes take the last axes alone."""
    length = x.shape[axis]
    numbers = torch.arange(-amounts[0], length + amounts[1], device=x.device)
    if mode == "edge":
        numbers = numbers.clamp(0, length - 1)
    elif mode == "wrap":
        numbers = numbers.remainder(length)
    else:
        period = max(2 * (length - 1), 1)
        numbers = numbers.remainder(period)
        numbers = torch.where(numbers >= length, period - numbers, numbers)
    return x.index_select(axis, numbers)
