"""Operators that choose: the largest, the different, the ones that are not zero, boxes that do not overlap.

What they choose passes gradients on; where it lay does not.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engram.runtime._torch.arithmetic import LACKING
from engram.runtime._torch.call import Call, Operator, Planned, like

__all__ = ["OPERATORS"]


def _largest(call: Call, x: Tensor, count: Tensor) -> tuple[Tensor, ...]:
    number, axis = int(call.number(1, count)), call.get("axis", -1)
    # sorted and not torch.topk, which breaks ties as it likes where ONNX takes the first
    wide = x.to(torch.int64) if x.dtype in LACKING else x
    ordered, places = torch.sort(wide, dim=axis, descending=bool(call.get("largest", 1)), stable=True)
    return ordered.narrow(axis, 0, number).to(x.dtype), places.narrow(axis, 0, number)


def _not_zero(_call: Call, x: Tensor) -> Tensor:
    return torch.nonzero(x).T if x.ndim else torch.nonzero(x.reshape(1)).T[:0]


def _compress(call: Call, x: Tensor, condition: Tensor) -> Tensor:
    axis = call.get("axis")
    places = torch.nonzero(like(condition, x)).reshape(-1)
    return x.reshape(-1).index_select(0, places) if axis is None else x.index_select(axis, places)


def _unique(call: Call, x: Tensor) -> tuple[Tensor, ...]:
    axis = call.get("axis")
    whole = x.reshape(-1) if axis is None else x
    along = 0 if axis is None else axis % x.ndim
    found = torch.unique(whole.detach(), sorted=True, return_inverse=True, return_counts=True, dim=along)
    _, inverse, counts = found
    inverse = inverse.reshape(-1)
    first = torch.full_like(counts, inverse.numel())
    first = first.scatter_reduce(0, inverse, torch.arange(inverse.numel(), device=x.device), "amin")
    if not call.get("sorted", 1):
        order = first.argsort()
        rank = torch.empty_like(order).scatter_(0, order, torch.arange(order.numel(), device=x.device))
        first, counts, inverse = first[order], counts[order], rank[inverse]
    return whole.index_select(along, first), first, inverse, counts


def _suppressed(
    call: Call,
    boxes: Tensor,
    scores: Tensor,
    most: Tensor | None = None,
    overlap: Tensor | None = None,
    least: Tensor | None = None,
) -> Tensor:
    """(batch, class, box) of the boxes that are kept, the best of each class first."""
    limit = int(call.number(2, most, 0))
    shared = float(call.number(3, overlap, 0.0))
    lowest = call.number(4, least)
    corners = _corners(boxes.detach(), bool(call.get("center_point_box", 0)))
    chosen = []
    for batch, classes in enumerate(scores.detach()):
        for number, each in enumerate(classes):
            candidates = each.argsort(descending=True, stable=True)
            if lowest is not None:
                candidates = candidates[each[candidates] > lowest]
            chosen += [(batch, number, box) for box in _kept(corners[batch], candidates, limit, shared)]
    return torch.tensor(chosen, dtype=torch.int64).reshape(-1, 3)


def _kept(corners: Tensor, candidates: Tensor, limit: int, shared: float) -> list[int]:
    kept: list[int] = []
    while len(candidates) and len(kept) < limit:
        best = int(candidates[0])
        kept.append(best)
        rest = candidates[1:]
        candidates = rest[_overlap(corners[best], corners[rest]) <= shared]
    return kept


def _corners(boxes: Tensor, centered: bool) -> Tensor:
    """Boxes as lowest and highest corner, (batch, boxes, 4)."""
    if centered:
        middle, half = boxes[..., :2], boxes[..., 2:] / 2
        return torch.cat([middle - half, middle + half], -1)
    first, second = boxes[..., :2], boxes[..., 2:]
    return torch.cat([torch.minimum(first, second), torch.maximum(first, second)], -1)


def _overlap(one: Tensor, others: Tensor) -> Tensor:
    """The shared part of the area that two boxes cover together."""
    low, high = torch.maximum(one[:2], others[:, :2]), torch.minimum(one[2:], others[:, 2:])
    both = (high - low).clamp(min=0).prod(-1)
    areas = (one[2:] - one[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(-1)
    return torch.where(both > 0, both / (areas - both), torch.zeros_like(both))


OPERATORS: dict[str, Operator | Planned] = {
    "Compress": _compress,
    "NonMaxSuppression": _suppressed,
    "NonZero": _not_zero,
    "TopK": _largest,
    "Unique": _unique,
}
