"""Operators that make one number of many: along axes, or running."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engram.runtime._torch.arithmetic import LACKING
from engram.runtime._torch.call import Call, Operator, Planned

__all__ = ["OPERATORS"]


def _reduction(function: Callable[[Tensor, tuple[int, ...], bool], Tensor], plain: Callable[..., Any]) -> Planned:
    def plan(call: Call) -> Callable[..., Tensor]:
        keep, idle = bool(call.get("keepdims", 1)), bool(call.get("noop_with_empty_axes", 0))

        def compute(x: Tensor, axes: Tensor | None = None) -> Tensor:
            given = call.axes(1, axes)
            chosen = tuple(given or (() if idle else range(x.ndim)))
            if x.dtype in LACKING:
                return torch.from_numpy(np.asarray(plain(x.numpy(), axis=chosen, keepdims=keep)))
            # over no axes, a square or a logarithm is still taken
            found = function(x.unsqueeze(-1), (-1,), False) if not chosen and x.ndim else function(x, chosen, keep)
            return found if found.dtype == x.dtype else found.to(x.dtype)

        return compute

    return Planned(plan)


def _product(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    for axis in sorted((axis % max(x.ndim, 1) for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keep, dtype=x.dtype)
    return x


def _mean(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return (x if x.is_floating_point() else x.to(torch.float64)).mean(axes, keepdim=keep)


def _sum(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return x.sum(axes, keepdim=keep, dtype=x.dtype)


def _largest_of(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    if any(x.shape[axis] == 0 for axis in axes):
        return _of_nothing(x, axes, keep, largest=True)
    return x.amax(axes, keepdim=keep)


def _smallest_of(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    if any(x.shape[axis] == 0 for axis in axes):
        return _of_nothing(x, axes, keep, largest=False)
    return x.amin(axes, keepdim=keep)


def _of_nothing(x: Tensor, axes: tuple[int, ...], keep: bool, *, largest: bool) -> Tensor:
    """The extreme of no numbers is the one that any number passes."""
    limits: tuple[float, float] = (0, 1) if x.dtype == torch.bool else (-torch.inf, torch.inf)
    if not x.is_floating_point() and x.dtype != torch.bool:
        limits = torch.iinfo(x.dtype).min, torch.iinfo(x.dtype).max
    lowest, highest = limits
    return torch.full_like(x.sum(axes, keepdim=keep, dtype=x.dtype), lowest if largest else highest)


def _exponents(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return (x if x.is_floating_point() else x.double()).logsumexp(axes, keepdim=keep)


def _logarithm(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return (x if x.is_floating_point() else x.double()).sum(axes, keepdim=keep).log()


def _length(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return torch.linalg.vector_norm(x if x.is_floating_point() else x.double(), 2, axes, keepdim=keep)  # type: ignore[no-any-return]


def _place(function: Callable[..., Tensor]) -> Operator:
    def compute(call: Call, x: Tensor) -> Tensor:
        axis, keep = call.get("axis", 0), bool(call.get("keepdims", 1))
        last = bool(call.get("select_last_index", 0))
        place = function(x.flip(axis) if last else x, axis, keepdim=keep)
        return x.shape[axis] - 1 - place if last else place

    return compute


def _running(function: Callable[..., Tensor], start: int) -> Operator:
    def compute(call: Call, x: Tensor, axis: Tensor) -> Tensor:
        place, reverse = int(call.number(1, axis)), bool(call.get("reverse", 0))
        turned = x.flip(place) if reverse else x
        if call.get("exclusive", 0):
            first = torch.full_like(turned.narrow(place, 0, min(1, turned.shape[place])), start)
            turned = torch.cat([first, turned.narrow(place, 0, max(turned.shape[place] - 1, 0))], place)
        total = function(turned, place, dtype=x.dtype)
        return total.flip(place) if reverse else total

    return compute


def _absolute(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return x.abs().sum(axes, keepdim=keep)


def _squares(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return x.square().sum(axes, keepdim=keep)


def _plain_log(x: Any, **how: Any) -> Any:  # noqa: ANN401 - arrays of numpy
    return np.log(np.sum(x, **how)).astype(x.dtype)


def _plain_exponents(x: Any, **how: Any) -> Any:  # noqa: ANN401
    return np.log(np.sum(np.exp(x.astype(np.float64)), **how)).astype(x.dtype)


def _plain_length(x: Any, **how: Any) -> Any:  # noqa: ANN401
    return np.sqrt(np.sum(np.square(x.astype(np.float64)), **how)).astype(x.dtype)


def _plain_mean(x: Any, **how: Any) -> Any:  # noqa: ANN401
    return np.mean(x, **how).astype(x.dtype)


def _plain_sum(x: Any, **how: Any) -> Any:  # noqa: ANN401
    return np.sum(x, **how, dtype=x.dtype)


OPERATORS: dict[str, Operator | Planned] = {
    "ArgMax": _place(torch.argmax),
    "ArgMin": _place(torch.argmin),
    "CumProd": _running(torch.cumprod, 1),
    "CumSum": _running(torch.cumsum, 0),
    "ReduceL1": _reduction(_absolute, _plain_sum),
    "ReduceL2": _reduction(_length, _plain_length),
    "ReduceLogSum": _reduction(_logarithm, _plain_log),
    "ReduceLogSumExp": _reduction(_exponents, _plain_exponents),
    "ReduceMax": _reduction(_largest_of, np.max),
    "ReduceMean": _reduction(_mean, _plain_mean),
    "ReduceMin": _reduction(_smallest_of, np.min),
    "ReduceProd": _reduction(_product, np.prod),
    "ReduceSum": _reduction(_sum, _plain_sum),
    "ReduceSumSquare": _reduction(_squares, lambda x, **how: _plain_sum(np.square(x), **how)),
}
