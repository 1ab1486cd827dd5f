"""Operators that change the shape or the type of a tensor, and none of its numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from engram.runtime._torch.call import Call, Operator, Planned, dtype, together
from engram.runtime._torch.padding import around, pad

__all__ = ["OPERATORS"]

_NARROW = {torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz}
_FOREVER = 2**62


def _shape(call: Call, x: Tensor) -> Tensor:
    return torch.tensor(list(x.shape)[call.get("start", 0) : call.get("end")], dtype=torch.int64)


def _size(_call: Call, x: Tensor) -> Tensor:
    return torch.tensor(x.numel(), dtype=torch.int64)


def _reshape(call: Call) -> Callable[..., Tensor]:
    known, literal = call.numbers(1, None) or call.get("shape"), bool(call.get("allowzero", 0))
    if known is not None and (literal or 0 not in known):
        return lambda x, _shape=None: x.reshape(known)

    def compute(x: Tensor, shape: Tensor | None = None) -> Tensor:
        wanted = call.numbers(1, shape) or call.get("shape", [])
        if not literal:
            wanted = [x.shape[place] if axis == 0 else axis for place, axis in enumerate(wanted)]
        return x.reshape(wanted)

    return compute


def _flatten(call: Call, x: Tensor) -> Tensor:
    axis = call.get("axis", 1)
    rows = math.prod(x.shape[:axis])
    return x.reshape(rows, math.prod(x.shape[axis:]))


def _squeeze(call: Call, x: Tensor, axes: Tensor | None = None) -> Tensor:
    given = call.axes(1, axes)
    return x.squeeze() if given is None else x.squeeze(tuple(given))


def _unsqueeze(call: Call, x: Tensor, axes: Tensor | None = None) -> Tensor:
    given = call.axes(1, axes) or []
    rank = x.ndim + len(given)
    for axis in sorted(axis % rank for axis in given):
        x = x.unsqueeze(axis)
    return x


def _transpose(call: Call) -> Callable[[Tensor], Tensor]:
    order = call.get("perm")
    return (lambda x: x.permute(order)) if order else lambda x: x.permute(*reversed(range(x.ndim)))


def _concat(call: Call) -> Callable[..., Tensor]:
    axis = call.get("axis")
    return lambda *xs: torch.cat(together(*xs), axis)


def _split(call: Call, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, ...]:
    axis, parts = call.get("axis", 0), call.get("num_outputs", len(call.step.outputs))
    given = call.numbers(1, lengths) or call.get("split")
    if given is None:
        each = -(-x.shape[axis] // parts)
        given = [max(min(each, x.shape[axis] - each * place), 0) for place in range(parts)]
    return torch.split(x, given, axis)


def _slice(call: Call) -> Callable[..., Tensor]:
    parts = [call.numbers(place, None) for place in range(1, 5)]
    if all(part is not None or place >= len(call.step.inputs) for place, part in enumerate(parts, 1)):
        return _known_slice(call, parts)

    def compute(x: Tensor, *given: Tensor | None) -> Tensor:
        wide = [*given, None, None, None, None]
        found = [call.numbers(place, wide[place - 1]) for place in range(1, 5)]
        return _cut(x, _cuts(call, found))

    return compute


def _known_slice(call: Call, parts: list[list[int] | None]) -> Callable[..., Tensor]:
    cuts = _cuts(call, parts)
    whole = [cut for cut in cuts if not (cut[1].start == 0 and cut[1].stop >= _FOREVER and cut[1].step == 1)]
    return lambda x, *_given: _cut(x, whole)


def _cuts(call: Call, parts: list[list[int] | None]) -> list[tuple[int, slice]]:
    begin, end = parts[0] or call.get("starts", []), parts[1] or call.get("ends", [])
    places = parts[2] or call.get("axes") or list(range(len(begin)))
    steps = parts[3] or [1] * len(begin)
    return [(axis, slice(*part)) for axis, *part in zip(places, begin, end, steps, strict=True)]


def _cut(x: Tensor, cuts: list[tuple[int, slice]]) -> Tensor:
    for axis, part in cuts:
        x = _sliced(x, axis, part)
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


def _expand(call: Call, x: Tensor, shape: Tensor) -> Tensor:
    wanted = call.numbers(1, shape) or []
    lengths = [1] * (len(wanted) - x.ndim) + list(x.shape)
    wanted = [1] * (x.ndim - len(wanted)) + wanted
    return x.expand([had if asked == 1 else asked for had, asked in zip(lengths, wanted, strict=True)])


def _tile(call: Call, x: Tensor, repeats: Tensor) -> Tensor:
    return x.repeat(call.numbers(1, repeats) or [])


def _cast(call: Call) -> Callable[[Tensor], Tensor]:
    kind = dtype(call.get("to"), call)
    return (lambda x: _narrowed(call, x, kind)) if kind in _NARROW else lambda x: x.to(kind)


def _cast_like(call: Call, x: Tensor, other: Tensor) -> Tensor:
    return _narrowed(call, x, other.dtype) if other.dtype in _NARROW else x.to(other.dtype)


def _narrowed(call: Call, x: Tensor, kind: torch.dtype) -> Tensor:
    if not call.get("saturate", 1):
        raise call.refuse("numbers of 8 bits without saturation")
    limit = torch.finfo(kind).max
    return x.clamp(-limit, limit).to(kind)


def _constant_of_shape(call: Call) -> Callable[[Tensor], Tensor]:
    value = call.get("value")
    fill = torch.zeros(1) if value is None else torch.from_numpy(value.reshape(1).copy())
    return lambda shape: fill.expand(call.numbers(0, shape) or []).clone()


def _range(call: Call, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    first, last, step = (call.number(place, part) for place, part in enumerate((start, limit, delta)))
    count = max(math.ceil((last - first) / step), 0)
    wide: Tensor = torch.arange(
        count, device=start.device, dtype=torch.int64 if isinstance(step, int) else torch.float64
    )
    return torch.add(wide * step, first).to(start.dtype)


def _one_hot(call: Call, indices: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    classes = int(call.number(1, depth))
    numbers = indices.long()
    places = torch.where(numbers < 0, numbers + classes, numbers)
    hot = places.unsqueeze(-1) == torch.arange(classes, device=places.device)
    off, on = values.to(indices.device).unbind()
    return torch.where(hot.movedim(-1, call.get("axis", -1)), on, off)


def _triangle(call: Call, x: Tensor, diagonal: Tensor | None = None) -> Tensor:
    place = int(call.number(1, diagonal, 0))
    return torch.triu(x, place) if call.get("upper", 1) else torch.tril(x, place)


def _eye(call: Call, x: Tensor) -> Tensor:
    kind = dtype(call.get("dtype"), call) if call.get("dtype") else x.dtype
    return torch.ones(x.shape, device=x.device).triu(call.get("k", 0)).tril(call.get("k", 0)).to(kind)


def _centered(call: Call, x: Tensor, shape: Tensor) -> Tensor:
    """Cut or continued with zeros on both sides; the odd one falls at the end."""
    axes = [axis % x.ndim for axis in call.get("axes") or range(x.ndim)]
    begins, ends = [0] * x.ndim, [0] * x.ndim
    for axis, wanted in zip(axes, call.numbers(1, shape) or [], strict=True):
        more = wanted - x.shape[axis]
        begins[axis] = more // 2 if more > 0 else -(-more // 2)
        ends[axis] = more - begins[axis]
    return around(x, begins, ends)


def _depth_to_space(call: Call, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    b = call.get("blocksize")
    if call.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, b)
    return x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // b**2, h * b, w * b)


def _space_to_depth(call: Call, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    b = call.get("blocksize")
    if call.get("mode", "DCR") == "CRD":
        return F.pixel_unshuffle(x, b)
    return x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4).reshape(n, c * b**2, h // b, w // b)


OPERATORS: dict[str, Operator | Planned] = {
    "Cast": Planned(_cast),
    "CastLike": _cast_like,
    "CenterCropPad": _centered,
    "Concat": Planned(_concat),
    "ConstantOfShape": Planned(_constant_of_shape),
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "EyeLike": _eye,
    "Flatten": _flatten,
    "Identity": Planned(lambda _call: lambda x: x),
    "OneHot": _one_hot,
    "Pad": pad,
    "Range": _range,
    "Reshape": Planned(_reshape),
    "Shape": _shape,
    "Size": _size,
    "Slice": Planned(_slice),
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": Planned(_transpose),
    "Trilu": _triangle,
    "Unsqueeze": _unsqueeze,
}
