"""Operators that make fewer numbers of many: sums, means, maxima, and where those are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from engram.runtime._torch_call import Call, Operator

__all__ = ["OPERATORS"]


def _reduction(function: Callable[[Tensor, tuple[int, ...], bool], Tensor]) -> Operator:
    def compute(call: Call, x: Tensor, axes: Tensor | None = None) -> Tensor:
        given = call.axes(1, axes)
        if not given and call.get("noop_with_empty_axes", 0):
            return x
        chosen = tuple(given) if given else tuple(range(x.ndim))
        return function(x, chosen, bool(call.get("keepdims", 1)))

    return compute


def _product(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


def _mean(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    if x.is_floating_point():
        return x.mean(axes, keepdim=keep)
    return x.to(torch.float64).mean(axes, keepdim=keep).trunc().to(x.dtype)


def _sum(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return x.sum(axes, keepdim=keep, dtype=x.dtype)


def _place(function: Callable[..., Tensor]) -> Operator:
    def compute(call: Call, x: Tensor) -> Tensor:
        axis, keep = call.get("axis", 0), bool(call.get("keepdims", 1))
        last = bool(call.get("select_last_index", 0))
        place = function(x.flip(axis) if last else x, axis, keepdim=keep)
        return x.shape[axis] - 1 - place if last else place

    return compute


def _largest(call: Call, x: Tensor, count: Tensor) -> tuple[Tensor, ...]:
    number = (call.numbers(1, count) or [1])[0]
    axis = call.get("axis", -1)
    # sorted and not torch.topk, which breaks ties as it likes where ONNX takes the first
    ordered, places = torch.sort(x, dim=axis, descending=bool(call.get("largest", 1)), stable=True)
    return ordered.narrow(axis, 0, number), places.narrow(axis, 0, number)


def _running_sum(call: Call, x: Tensor, axis: Tensor) -> Tensor:
    place = (call.numbers(1, axis) or [0])[0]
    turned = x.flip(place) if call.get("reverse", 0) else x
    total = turned.cumsum(place, dtype=x.dtype)
    if call.get("exclusive", 0):
        total = total - turned
    return total.flip(place) if call.get("reverse", 0) else total


OPERATORS: dict[str, Operator] = {
    "ArgMax": _place(torch.argmax),
    "ArgMin": _place(torch.argmin),
    "CumSum": _running_sum,
    "ReduceL1": _reduction(lambda x, axes, keep: x.abs().sum(axes, keepdim=keep)),
    "ReduceL2": _reduction(lambda x, axes, keep: x.square().sum(axes, keepdim=keep).sqrt()),
    "ReduceLogSum": _reduction(lambda x, axes, keep: x.sum(axes, keepdim=keep).log()),
    "ReduceLogSumExp": _reduction(lambda x, axes, keep: x.logsumexp(axes, keepdim=keep)),
    "ReduceMax": _reduction(lambda x, axes, keep: x.amax(axes, keepdim=keep)),
    "ReduceMean": _reduction(_mean),
    "ReduceMin": _reduction(lambda x, axes, keep: x.amin(axes, keepdim=keep)),
    "ReduceProd": _reduction(_product),
    "ReduceSum": _reduction(_sum),
    "ReduceSumSquare": _reduction(lambda x, axes, keep: x.square().sum(axes, keepdim=keep)),
    "TopK": _largest,
}
