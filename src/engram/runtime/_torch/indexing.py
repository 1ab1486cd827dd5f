"""Operators that read or write at given places. A negative place counts from the end, which torch does not know."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from engram.runtime._torch.call import Call, Operator, Planned, like

__all__ = ["OPERATORS"]

_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _gather(call: Call) -> Callable[[Tensor, Tensor], Tensor]:
    axis, known = call.get("axis", 0), call.numbers(1, None)
    if known is not None and len(known) == 1 and not isinstance(call.known[1], list):
        place = known[0]
        return lambda x, _indices: x.select(axis, place)
    return lambda x, indices: _gathered(x, indices, axis % x.ndim)


def _gathered(x: Tensor, indices: Tensor, axis: int) -> Tensor:
    places = _counted(like(indices, x), x.shape[axis])
    if axis == 0 and x.is_floating_point() and x.ndim == 2:
        return F.embedding(places, x)
    found = x.index_select(axis, places.reshape(-1))
    return found.reshape([*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]])


def _counted(indices: Tensor, length: int) -> Tensor:
    places = indices.long()
    return torch.where(places < 0, places + length, places)


def _gather_elements(call: Call, x: Tensor, indices: Tensor) -> Tensor:
    axis = call.get("axis", 0)
    return torch.gather(x, axis, _counted(like(indices, x), x.shape[axis]))


def _gather_nd(call: Call, x: Tensor, indices: Tensor) -> Tensor:
    shared = call.get("batch_dims", 0)
    places = like(indices, x).long()
    if not shared:
        return x[tuple(places.unbind(-1))]
    rows = math.prod(x.shape[:shared])
    flat, given = x.reshape(rows, *x.shape[shared:]), places.reshape(rows, -1, places.shape[-1])
    row = torch.arange(rows, device=x.device).unsqueeze(-1).expand(given.shape[:2])
    found = flat[(row, *given.unbind(-1))]
    return found.reshape([*places.shape[:-1], *found.shape[2:]])


def _scatter_elements(call: Call, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    axis = call.get("axis", 0)
    places = _counted(like(indices, x), x.shape[axis])
    kind = call.get("reduction", "none")
    if kind == "none":
        return x.scatter(axis, places, updates)
    return x.scatter_reduce(axis, places, updates, _REDUCTIONS[kind])


def _scatter_nd(call: Call, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    kind = call.get("reduction", "none")
    places = tuple(like(indices, x).long().unbind(-1))
    if kind in {"none", "add"}:
        return x.index_put(places, updates, accumulate=kind == "add")
    # the others work along one axis, so the axes that are pointed into become one
    count = len(places)
    flat = x.reshape(-1, *x.shape[count:])
    number = torch.zeros_like(places[0])
    for place, length in zip(places, x.shape[:count], strict=True):
        number = number * length + torch.where(place < 0, place + length, place)
    rows = updates.reshape(-1, *x.shape[count:])
    wide = number.reshape(-1, *[1] * (flat.ndim - 1)).expand(rows.shape)
    return flat.scatter_reduce(0, wide, rows, _REDUCTIONS[kind]).reshape(x.shape)


def _tensor_scatter(call: Call, cache: Tensor, update: Tensor, begins: Tensor | None = None) -> Tensor:
    """New steps written into a cache, for each row where its own begin."""
    axis = call.get("axis", -2) % cache.ndim
    count, length = update.shape[axis], cache.shape[axis]
    first = torch.zeros(cache.shape[0], dtype=torch.int64) if begins is None else like(begins, cache).long()
    places = first.unsqueeze(-1) + torch.arange(count, device=cache.device)
    if call.get("mode", "linear") == "circular":
        places = places.remainder(length)
    shape = [cache.shape[0], *[1] * (cache.ndim - 1)]
    shape[axis] = count
    return cache.scatter(axis, places.reshape(shape).expand(update.shape), update)


def _reversed(call: Call, x: Tensor, lengths: Tensor) -> Tensor:
    """The first steps of each row turned round, as many as the row has."""
    time, rows = call.get("time_axis", 0), call.get("batch_axis", 1)
    steps = torch.arange(x.shape[time], device=x.device)
    given = like(lengths, x).long().unsqueeze(-1)
    places = torch.where(steps < given, given - 1 - steps, steps)
    shape = [1] * x.ndim
    shape[rows], shape[time] = places.shape
    turned = places if rows < time else places.T
    return torch.gather(x, time, turned.reshape(shape).expand(x.shape))


OPERATORS: dict[str, Operator | Planned] = {
    "Gather": Planned(_gather),
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "ReverseSequence": _reversed,
    "Scatter": _scatter_elements,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "TensorScatter": _tensor_scatter,
}
