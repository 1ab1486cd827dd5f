"""Layers that move, cut, repeat or join numbers and compute little."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce

import numpy as np

from engram.formats._keras.kind import Drawn, Kind, Task
from engram.formats._keras.layers_convolution import back, first

__all__ = ["KINDS"]


def _flatten(task: Task) -> Drawn:
    sheet, value = task.sheet, task.value
    rank = sheet.rank(value)
    if task.text("data_format", "channels_last") == "channels_first" and rank > 2:
        value = sheet.turned(value, [0, *range(2, rank), 1])
    if rank == 1:
        return sheet.node("Unsqueeze", value, sheet.constant([1], "int64"))
    lengths = sheet.shape(value)[1:]
    size = -1 if None in lengths else int(np.prod([length or 0 for length in lengths], dtype=np.int64))
    return value if rank == 2 else sheet.reshaped(value, [-1 if size > 0 else 0, size] if size != -1 else [0, -1])


def _reshape(task: Task) -> Drawn:
    shape = task.settings.get("target_shape")
    if not isinstance(shape, list) or not all(type(length) is int and length >= -1 for length in shape):
        raise task.refused(f"has target_shape = {shape!r}")
    lengths = task.sheet.shape(task.value)[1:]
    if shape.count(-1) == 1 and None not in lengths:
        rest = int(np.prod([length for length in shape if length != -1], dtype=np.int64))
        size = int(np.prod([length or 0 for length in lengths], dtype=np.int64))
        if rest <= 0 or size % rest:
            raise task.refused(f"cannot bring {list(lengths)} to {shape}")
        shape = [size // rest if length == -1 else length for length in shape]
    return task.sheet.reshaped(task.value, [0 if -1 in shape else -1, *shape])


def _permute(task: Task) -> Drawn:
    rank = task.sheet.rank(task.value)
    order = [0, *task.whole("dims", rank - 1)]
    if sorted(order) != list(range(rank)):
        raise task.refused(f"has dims = {order[1:]}, which is no order of its axes")
    return task.sheet.turned(task.value, order)


def _repeat(task: Task) -> Drawn:
    sheet = task.sheet
    wide = sheet.node("Unsqueeze", task.value, sheet.constant([1], "int64"))
    return sheet.node("Tile", wide, sheet.constant([1, task.whole("n", 1)[0], 1], "int64"))


def _pairs(task: Task, key: str, count: int) -> list[tuple[int, int]]:
    """Numbers at both ends of each axis: one for all, one an axis, or a pair an axis."""
    found = task.settings.get(key, 1)
    if count == 1 and isinstance(found, list) and len(found) == 2 and all(type(one) is int for one in found):
        found = [found]
    listed = found if isinstance(found, list) else [found] * count
    pairs = [tuple(one) if isinstance(one, list) else (one, one) for one in listed]
    if len(pairs) != count or not all(len(p) == 2 and all(type(n) is int and 0 <= n < 2**31 for n in p) for p in pairs):
        raise task.refused(f"has {key} = {found!r}")
    return [(one, other) for one, other in pairs]


def _zero_padding(count: int) -> Kind:
    def draw(task: Task) -> Drawn:
        pairs, value = _pairs(task, "padding", count), first(task, task.value)
        pads = [0, 0, *(begin for begin, _ in pairs), 0, 0, *(end for _, end in pairs)]
        made = task.sheet.node("Pad", value, task.sheet.constant(pads, "int64"), task.sheet.like(0, value))
        return back(task, made)

    return Kind(draw, masks="ends")


def _cropping(count: int) -> Kind:
    def draw(task: Task) -> Drawn:
        value = first(task, task.value)
        for axis, (begin, end) in enumerate(_pairs(task, "cropping", count), start=2):
            value = task.sheet.cut(value, axis, begin, -end if end else 2**62)
        return back(task, value)

    return Kind(draw, masks="ends")


def _up_sampling(count: int) -> Kind:
    def draw(task: Task) -> Drawn:
        sheet, value = task.sheet, first(task, task.value)
        many = task.whole("size", count, 2)
        word = task.text("interpolation", "nearest", ("nearest", "bilinear"))
        scales = sheet.constant(np.array([1.0, 1.0, *many], np.float32))
        more = {"coordinate_transformation_mode": "asymmetric", "mode": "nearest", "nearest_mode": "floor"}
        if word == "bilinear":
            more = {"coordinate_transformation_mode": "half_pixel", "mode": "linear"}
        return back(task, sheet.node("Resize", value, "", scales, **more))

    return Kind(draw, masks="ends")


def _ranks(task: Task) -> list[str]:
    """Inputs of one rank: Keras gives the smaller ones axes of one behind the batch."""
    sheet, values = task.sheet, task.values
    most = max(sheet.rank(value) for value in values)
    return [
        sheet.node("Unsqueeze", value, sheet.constant(list(range(1, 1 + most - sheet.rank(value))), "int64"))
        if sheet.rank(value) < most
        else value
        for value in values
    ]


def _folded(operator: str) -> Callable[[Task], Drawn]:
    def draw(task: Task) -> Drawn:
        made = reduce(lambda one, other: task.sheet.node(operator, one, other), _ranks(task))
        return _all_masks(task, made)

    return draw


def _all_masks(task: Task, made: str) -> str:
    """Where every input has a mask, what all of them let through counts."""
    masks = [task.sheet.masks.get(value, "") for value in task.values]
    if all(masks):
        task.sheet.masks[made] = reduce(lambda one, other: task.sheet.node("And", one, other), masks)
    return made


def _average(task: Task) -> Drawn:
    values = _ranks(task)
    total = reduce(lambda one, other: task.sheet.node("Add", one, other), values)
    return _all_masks(task, task.sheet.node("Div", total, task.sheet.like(len(values), total)))


def _concatenate(task: Task) -> Drawn:
    sheet, values = task.sheet, task.values
    axis = task.counted(task.settings.get("axis", -1), sheet.rank(values[0]))[0]
    made = sheet.node("Concat", *values, axis=axis)
    masks = [sheet.masks.get(value, "") for value in values]
    if all(masks) and axis == sheet.rank(values[0]) - 1:
        sheet.masks[made] = reduce(lambda one, other: sheet.node("And", one, other), masks)
    elif any(masks) and axis == 1 and all(masks):
        sheet.masks[made] = sheet.node("Concat", *masks, axis=1)
    return made


def _dot(task: Task) -> Drawn:
    sheet, values = task.sheet, task.values
    axes = task.settings.get("axes")
    both = axes if isinstance(axes, list) else [axes, axes]
    if len(values) != 2 or len(both) != 2:
        raise task.refused("takes two tensors and an axis of each")
    one, other = (task.counted(axis, sheet.rank(value))[0] for axis, value in zip(both, values, strict=True))
    if task.truth("normalize"):
        values = [_unit(task, value, axis) for value, axis in zip(values, (one, other), strict=True)]
    left = "".join(chr(ord("a") + place) for place in range(sheet.rank(values[0])))
    right = "".join(chr(ord("m") + place) for place in range(sheet.rank(values[1])))
    right = right.replace(right[0], "a").replace(right[other], left[one])
    rest = "".join(c for c in (*left, *right[1:]) if c != left[one])
    made = sheet.node("Einsum", *values, equation=f"{left},{right}->{rest}")
    return sheet.node("Unsqueeze", made, sheet.constant([1], "int64")) if len(rest) == 1 else made


def _unit(task: Task, value: str, axis: int) -> str:
    sheet = task.sheet
    squares = sheet.node("ReduceSumSquare", value, sheet.constant([axis], "int64"), keepdims=1)
    return sheet.node("Div", value, sheet.node("Sqrt", sheet.node("Max", squares, sheet.like(1e-12, value))))


def _same(task: Task) -> Drawn:
    return task.value


def _dropout(task: Task) -> Drawn:
    rate = task.number("rate", 0.5)
    if not 0 <= rate < 1:
        raise task.refused(f"has rate = {rate}, which is not from 0 to below 1")
    return task.sheet.node("Dropout", task.value, task.sheet.constant(np.float32(rate)))


def _masking(task: Task) -> Drawn:
    """Steps whose numbers all equal the mask value do not count, and become 0."""
    sheet, value = task.sheet, task.value
    last = sheet.constant([-1], "int64")
    other = sheet.node("Not", sheet.node("Equal", value, sheet.like(task.number("mask_value", 0.0), value)))
    some = sheet.node("ReduceMax", sheet.cast(other, "int32"), last, keepdims=1)
    made = sheet.node("Mul", value, sheet.cast(some, sheet.dtype(value)))
    sheet.masks[made] = sheet.cast(sheet.node("Squeeze", some, last), "bool")
    return made


KINDS: Mapping[str, Kind] = {
    "ActivityRegularization": Kind(_same),
    "Add": Kind(_folded("Add"), masks="own"),
    "AlphaDropout": Kind(_same),
    "Average": Kind(_average, masks="own"),
    "Concatenate": Kind(_concatenate, masks="own"),
    **{f"Cropping{count}D": _cropping(count) for count in (1, 2, 3)},
    "Dot": Kind(_dot, masks="ends"),
    "Dropout": Kind(_dropout),
    "Flatten": Kind(_flatten, masks="ends"),
    "GaussianDropout": Kind(_same),
    "GaussianNoise": Kind(_same),
    "Identity": Kind(_same),
    "Masking": Kind(_masking, masks="own"),
    "Maximum": Kind(_folded("Max"), masks="own"),
    "Minimum": Kind(_folded("Min"), masks="own"),
    "Multiply": Kind(_folded("Mul"), masks="own"),
    "Permute": Kind(_permute, masks="ends"),
    "RepeatVector": Kind(_repeat, masks="ends"),
    "Reshape": Kind(_reshape, masks="ends"),
    **{f"SpatialDropout{count}D": Kind(_dropout) for count in (1, 2, 3)},
    "StochasticDepth": Kind(_same),
    "Subtract": Kind(_folded("Sub"), masks="own"),
    **{f"UpSampling{count}D": _up_sampling(count) for count in (1, 2, 3)},
    **{f"ZeroPadding{count}D": _zero_padding(count) for count in (1, 2, 3)},
}
