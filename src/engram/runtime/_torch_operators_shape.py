"""Operators that change the shape or the type of a tensor, and none of its numbers."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from engram.runtime._torch_call import Call, Operator, dtype, like, together

__all__ = ["OPERATORS"]


def _shape(call: Call, x: Tensor) -> Tensor:
    return torch.tensor(list(x.shape)[call.get("start", 0) : call.get("end")], dtype=torch.int64)


def _size(_call: Call, x: Tensor) -> Tensor:
    return torch.tensor(x.numel(), dtype=torch.int64)


def _reshape(call: Call, x: Tensor, shape: Tensor | None = None) -> Tensor:
    wanted = call.numbers(1, shape) or call.get("shape", [])
    if not call.get("allowzero", 0):
        wanted = [x.shape[place] if axis == 0 else axis for place, axis in enumerate(wanted)]
    return torch.reshape(x, wanted)


def _flatten(call: Call, x: Tensor) -> Tensor:
    axis = call.get("axis", 1)
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _squeeze(call: Call, x: Tensor, axes: Tensor | None = None) -> Tensor:
    given = call.axes(1, axes)
    return x.squeeze() if given is None else x.squeeze(tuple(given))


def _unsqueeze(call: Call, x: Tensor, axes: Tensor | None = None) -> Tensor:
    given = call.axes(1, axes) or []
    rank = x.ndim + len(given)
    for axis in sorted(axis % rank for axis in given):
        x = x.unsqueeze(axis)
    return x


def _transpose(call: Call, x: Tensor) -> Tensor:
    return x.permute(call.get("perm", list(reversed(range(x.ndim)))))


def _concat(call: Call, *xs: Tensor) -> Tensor:
    return torch.cat(together(*xs), call.get("axis"))


def _split(call: Call, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, ...]:
    axis, parts = call.get("axis", 0), call.get("num_outputs", len(call.step.outputs))
    given = call.numbers(1, lengths) or call.get("split") or -(-x.shape[axis] // parts)
    return torch.split(x, given, axis)


def _slice(
    call: Call,
    x: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    begin, end = call.numbers(1, starts) or call.get("starts"), call.numbers(2, ends) or call.get("ends")
    places = call.axes(3, axes) or list(range(len(begin)))
    for place, first, last, step in zip(places, begin, end, call.numbers(4, steps) or [1] * len(begin), strict=True):
        x = _sliced(x, place, slice(first, last, step))
    return x


def _sliced(x: Tensor, axis: int, part: slice) -> Tensor:
    """One axis cut; torch takes no negative step, and clamps as ONNX does otherwise."""
    if part.step > 0:
        cut: list[slice] = [slice(None)] * x.ndim
        cut[axis] = part
        return x[tuple(cut)]
    length = x.shape[axis]
    first = part.start + length if part.start < 0 else part.start
    last = part.stop + length if part.stop < 0 else part.stop
    numbers = range(min(first, length - 1), max(last, -1), part.step)
    return x.index_select(axis, torch.tensor(list(numbers), dtype=torch.int64, device=x.device))


def _gather(call: Call, x: Tensor, indices: Tensor) -> Tensor:
    axis = call.get("axis", 0) % x.ndim
    places = like(indices, x).long()
    places = torch.where(places < 0, places + x.shape[axis], places)
    if axis == 0 and x.is_floating_point() and x.ndim == 2:
        return F.embedding(places, x)
    found = x.index_select(axis, places.reshape(-1))
    return torch.reshape(found, [*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]])


def _gather_elements(call: Call, x: Tensor, indices: Tensor) -> Tensor:
    axis = call.get("axis", 0)
    places = like(indices, x).long()
    return torch.gather(x, axis, torch.where(places < 0, places + x.shape[axis], places))


def _gather_nd(call: Call, x: Tensor, indices: Tensor) -> Tensor:
    if call.get("batch_dims", 0):
        raise call.refuse("batch_dims is not 0")
    return x[tuple(like(indices, x).long().unbind(-1))]


def _scatter_elements(call: Call, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    axis, places = call.get("axis", 0), like(indices, x).long()
    places = torch.where(places < 0, places + x.shape[axis], places)
    kind = {"none": "", "add": "sum", "mul": "prod", "max": "amax", "min": "amin"}[call.get("reduction", "none")]
    return x.scatter_reduce(axis, places, updates, kind) if kind else x.scatter(axis, places, updates)


def _scatter_nd(call: Call, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    if call.get("reduction", "none") not in {"none", "add"}:
        raise call.refuse("its reduction is neither none nor add")
    places = tuple(like(indices, x).long().unbind(-1))
    return x.index_put(places, updates, accumulate=call.get("reduction", "none") == "add")


def _expand(call: Call, x: Tensor, shape: Tensor) -> Tensor:
    wanted = call.numbers(1, shape) or []
    lengths = [1] * (len(wanted) - x.ndim) + list(x.shape)
    wanted = [1] * (x.ndim - len(wanted)) + wanted
    return x.expand([had if asked == 1 else asked for had, asked in zip(lengths, wanted, strict=True)])


def _tile(call: Call, x: Tensor, repeats: Tensor) -> Tensor:
    return x.repeat(call.numbers(1, repeats) or [])


def _pad(
    call: Call, x: Tensor, pads: Tensor | None = None, value: Tensor | None = None, axes: Tensor | None = None
) -> Tensor:
    given = call.numbers(1, pads) or call.get("pads")
    places = [axis % x.ndim for axis in call.numbers(3, axes) or range(x.ndim)]
    both = {axis: (given[place], given[place + len(places)]) for place, axis in enumerate(places)}
    lowest = min((axis for axis, pair in both.items() if any(pair)), default=x.ndim - 1)
    pairs = [number for axis in reversed(range(lowest, x.ndim)) for number in both.get(axis, (0, 0))]
    mode = {"constant": "constant", "edge": "replicate", "reflect": "reflect", "wrap": "circular"}[
        call.get("mode", "constant")
    ]
    if mode != "constant":
        return F.pad(x, pairs, mode)
    fill = (call.numbers(2, value) or [call.get("value", 0.0)])[0]
    return F.pad(x, pairs, value=fill)


def _cast(call: Call, x: Tensor) -> Tensor:
    return x.to(dtype(call.get("to"), call))


def _constant_of_shape(call: Call, shape: Tensor) -> Tensor:
    value = call.get("value")
    fill = torch.zeros(1) if value is None else torch.from_numpy(value.reshape(1).copy())
    return fill.expand(call.numbers(0, shape) or []).clone()


def _range(_call: Call, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype, device=start.device)


def _one_hot(call: Call, indices: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    classes = int((call.numbers(1, depth) or [0])[0])
    places = torch.where(indices < 0, indices + classes, indices)
    hot = places.unsqueeze(-1) == torch.arange(classes, device=places.device)
    off, on = like(values, indices).unbind()
    return torch.where(hot.movedim(-1, call.get("axis", -1)), on, off)


def _triangle(call: Call, x: Tensor, diagonal: Tensor | None = None) -> Tensor:
    place = int((call.numbers(1, diagonal) or [0])[0])
    return torch.triu(x, place) if call.get("upper", 1) else torch.tril(x, place)


def _eye(call: Call, x: Tensor) -> Tensor:
    kind = dtype(call.get("dtype"), call) if call.get("dtype") else x.dtype
    return torch.ones_like(x, dtype=kind).triu(call.get("k", 0)).tril(call.get("k", 0))


OPERATORS: dict[str, Operator] = {
    "Cast": _cast,
    "CastLike": lambda _call, x, other: x.to(other.dtype),
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "EyeLike": _eye,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Identity": lambda _call, x: x,
    "NonZero": lambda _call, x: torch.nonzero(x).T,
    "OneHot": _one_hot,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _triangle,
    "Unsqueeze": _unsqueeze,
}
