"""How much a node is about to make, told from its inputs without computing it.

Only operators that can make more than they read are here; for the others, what their inputs broadcast to is enough.
Each answer is a bound from above, close enough that an honest graph is not refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

from torch import Tensor

from engram.runtime._torch.call import Call, Value

__all__ = ["reckoned", "size"]

_Reckoning: TypeAlias = Callable[[Call, list[Tensor]], float]


def size(value: Value) -> int:
    """Bytes of a value's numbers; a view counts as if it were none."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    return sum(size(part) for part in value) if isinstance(value, list) else 0


def reckoned(call: Call, read: list[Value]) -> float:
    """Bytes a node is about to make, at most; 0 where it makes no more than it reads."""
    find = _GROWING.get(call.step.operator)
    if find is None:
        tensors = [value for value in read if isinstance(value, Tensor)]
        return _broadcast(tensors) if len(tensors) > 1 else 0
    try:
        return find(call, read)
    except (ValueError, TypeError, IndexError, AttributeError, OverflowError, ZeroDivisionError):
        return 0  # the operator itself says what is wrong with its inputs


def _broadcast(tensors: list[Tensor]) -> float:
    """Bytes of what is as long on each axis as the longest."""
    if all(tensor.shape == tensors[0].shape for tensor in tensors):
        return float(size(tensors[0]))
    rank = max(tensor.ndim for tensor in tensors)
    shapes = [(1,) * (rank - tensor.ndim) + tuple(tensor.shape) for tensor in tensors]
    if not all(len({axis for axis in axes if axis != 1}) <= 1 for axes in zip(*shapes, strict=True)):
        return 0  # these do not broadcast, so the node does something else with them
    shape = [max(axes) for axes in zip(*shapes, strict=True)]
    return float(math.prod(shape)) * max(tensor.element_size() for tensor in tensors)


def _given(call: Call, read: list[Tensor], place: int) -> list[float]:
    """The numbers of an input."""
    return [float(number) for number in call.numbers(place, read[place] if place < len(read) else None) or []]


def _shaped(place: int) -> _Reckoning:
    """The input of this place is the shape that is made."""

    def reckon(call: Call, read: list[Tensor]) -> float:
        return 8 * abs(math.prod(_given(call, read, place)))

    return reckon


def _expanded(call: Call, read: list[Tensor]) -> float:
    wanted = _given(call, read, 1)
    lengths = [1] * (len(wanted) - read[0].ndim) + list(read[0].shape)
    asked = [1.0] * (len(lengths) - len(wanted)) + wanted
    shape = [float(max(pair)) for pair in zip(lengths, asked, strict=True)]
    return read[0].element_size() * math.prod(shape)


def _tiled(call: Call, read: list[Tensor]) -> float:
    return size(read[0]) * abs(math.prod(_given(call, read, 1)))


def _padded(call: Call, read: list[Tensor]) -> float:
    pads = _given(call, read, 1) or [float(pad) for pad in call.get("pads", [])]
    axes = [int(axis) % read[0].ndim for axis in _given(call, read, 3)] or list(range(read[0].ndim))
    lengths = [float(axis) for axis in read[0].shape]
    for place, axis in enumerate(axes):
        lengths[axis] += max(pads[place], 0) + max(pads[place + len(axes)], 0)
    return read[0].element_size() * math.prod(lengths)


def _ranged(call: Call, read: list[Tensor]) -> float:
    start, limit, step = (_given(call, read, place)[0] for place in range(3))
    return 8 * abs((limit - start) / step)


def _product(_call: Call, read: list[Tensor]) -> float:
    a, b = read[0], read[1]
    if min(a.ndim, b.ndim) < 2:
        return 0
    rank = max(a.ndim, b.ndim) - 2
    left, right = ([1] * (rank + 2 - x.ndim) + list(x.shape) for x in (a, b))
    outer = math.prod(max(pair) for pair in zip(left[:rank], right[:rank], strict=True))
    return float(a.element_size()) * outer * left[-2] * right[-1]


def _flat_product(call: Call, read: list[Tensor]) -> float:
    rows = read[0].shape[1 if call.get("transA", 0) else 0]
    return float(read[0].element_size()) * rows * read[1].shape[0 if call.get("transB", 0) else 1]


def _gathered(call: Call, read: list[Tensor]) -> float:
    axis = int(call.get("axis", 0))
    return float(size(read[0])) * read[1].numel() / max(read[0].shape[axis], 1)


def _resized(call: Call, read: list[Tensor]) -> float:
    sizes, axes = _given(call, read, 3), call.get("axes") or range(read[0].ndim)
    lengths = [float(axis) for axis in read[0].shape]
    factors = _given(call, read, 2 if call.step.operator == "Resize" else 1)
    for place, axis in enumerate(axes):
        lengths[axis] = sizes[place] if sizes else lengths[axis] * factors[place]
    return max(read[0].element_size(), 4) * abs(math.prod(lengths))


def _one_hot(call: Call, read: list[Tensor]) -> float:
    return float(read[0].numel()) * abs(_given(call, read, 1)[0]) * read[2].element_size()


def _attributed(call: Call, _read: list[Tensor]) -> float:
    return 8.0 * math.prod(int(axis) for axis in call.get("shape", []))


def _windowed(call: Call, read: list[Tensor]) -> float:
    return 8 * abs(_given(call, read, 0)[0])


def _convolved(call: Call, read: list[Tensor]) -> float:
    """Rows × channels × (length × stride where transposed, with padding and kernel) for each axis."""
    x, w = read[0], read[1]
    transposed, axes = call.step.operator == "ConvTranspose", x.ndim - 2
    channels = w.shape[1] * int(call.get("group", 1)) if transposed else w.shape[0]
    strides = [int(s) for s in call.get("strides", [1] * axes)] if transposed else [1] * axes
    dilations = [int(d) for d in call.get("dilations", [1] * axes)]
    pads = max(abs(int(pad)) for pad in call.get("pads", [0]))
    extra = [int(e) for e in call.get("output_padding", [0] * axes)]
    lengths = [
        n * s + 2 * pads + e + (d * k if transposed else 0)
        for n, s, e, d, k in zip(x.shape[2:], strides, extra, dilations, w.shape[2:], strict=True)
    ]
    return 4.0 * x.shape[0] * channels * math.prod(lengths)


def _pooled(call: Call, read: list[Tensor]) -> float:
    """Windows times their size: the general form lays them out."""
    x, strides = read[0], call.get("strides", [1] * (read[0].ndim - 2))
    pads = max(abs(int(pad)) for pad in call.get("pads", [0]))
    windows = math.prod((n + 2 * pads) / int(s) for n, s in zip(x.shape[2:], strides, strict=True))
    return x.element_size() * x.shape[0] * x.shape[1] * windows * math.prod(map(int, call.get("kernel_shape", [])))


def _summed(call: Call, read: list[Tensor]) -> float:
    """An Einsum: at most as much as all letters together span."""
    lengths: dict[str, int] = {}
    terms = str(call.get("equation")).replace(" ", "").split("->")[0].split(",")
    for letters, x in zip(terms, read, strict=True):
        names = letters.replace(".", "")
        lengths |= {letter: int(axis) for letter, axis in zip(names, x.shape[x.ndim - len(names) :], strict=False)}
        lengths |= {f"{place}.": int(axis) for place, axis in enumerate(x.shape[: x.ndim - len(names)])}
    return float(read[0].element_size()) * math.prod(lengths.values())


def _drawn(call: Call, read: list[Tensor]) -> float:
    return 8.0 * read[0].shape[0] * int(call.get("sample_size", 1))


_GROWING: Mapping[str, _Reckoning] = {
    "AveragePool": _pooled, "BlackmanWindow": _windowed, "CenterCropPad": _shaped(1), "Col2Im": _shaped(1),
    "ConstantOfShape": _shaped(0), "Conv": _convolved, "ConvInteger": _convolved, "ConvTranspose": _convolved,
    "Einsum": _summed, "Expand": _expanded, "Gather": _gathered, "Gemm": _flat_product, "HammingWindow": _windowed,
    "HannWindow": _windowed, "LpPool": _pooled, "MatMul": _product, "MatMulInteger": _product, "MaxPool": _pooled,
    "Multinomial": _drawn, "OneHot": _one_hot, "Pad": _padded, "RandomNormal": _attributed,
    "RandomUniform": _attributed, "Range": _ranged, "Resize": _resized, "Tile": _tiled, "Upsample": _resized,
}  # fmt: skip
