"""Functions of ``keras.ops`` that move, cut, repeat or join numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np

from engram.formats._keras.arguments import first, given, numbers_of, several
from engram.formats._keras.kind import Drawn, Task

__all__ = ["DRAWN"]


_END = 2**62


def _reshape(task: Task) -> Drawn:
    found = given(task, 1, "newshape", "target_shape", "shape")
    sizes = found if isinstance(found, list) else [found]
    return task.sheet.reshaped(first(task), numbers_of(task, [-1 if size is None else size for size in sizes]))


def _transpose(task: Task) -> Drawn:
    value = first(task)
    axes = given(task, 1, "axes")
    order = list(reversed(range(task.sheet.rank(value)))) if axes is None else numbers_of(task, axes)
    if sorted(order) != list(range(task.sheet.rank(value))):
        raise task.refused(f"has axes = {order}, which is no order of {task.sheet.rank(value)} axes")
    return task.sheet.turned(value, order)


def _swapped(task: Task) -> Drawn:
    value = first(task)
    rank = task.sheet.rank(value)
    one, other = (task.counted(given(task, place, f"axis{place}"), rank)[0] for place in (1, 2))
    order = list(range(rank))
    order[one], order[other] = other, one
    return task.sheet.turned(value, order)


def _expanded(task: Task) -> Drawn:
    return task.sheet.node(
        "Unsqueeze", first(task), task.sheet.constant(numbers_of(task, given(task, 1, "axis")), "int64")
    )


def _squeezed(task: Task) -> Drawn:
    value, axis = first(task), given(task, 1, "axis")
    if axis is None:
        axis = [place for place, length in enumerate(task.sheet.shape(value)) if length == 1]
    return task.sheet.node("Squeeze", value, task.sheet.constant(numbers_of(task, axis), "int64"))


def _concatenate(task: Task) -> Drawn:
    values = several(task)
    axis = given(task, 1, "axis")
    return task.sheet.node(
        "Concat", *values, axis=task.counted(-1 if axis is None else axis, task.sheet.rank(values[0]))[0]
    )


def _stack(task: Task) -> Drawn:
    sheet, values = task.sheet, several(task)
    axis = task.counted(given(task, 1, "axis") or 0, sheet.rank(values[0]) + 1)[0]
    wide = [sheet.node("Unsqueeze", value, sheet.constant([axis], "int64")) for value in values]
    return sheet.node("Concat", *wide, axis=axis)


def _split(task: Task) -> Drawn:
    sheet, value = task.sheet, first(task)
    axis = task.counted(given(task, 2, "axis") or 0, sheet.rank(value))[0]
    found = given(task, 1, "indices_or_sections")
    length = sheet.shape(value)[axis]
    if length is None:
        raise task.refused("splits an axis of unknown length")
    if isinstance(found, list):
        bounds = [0, *numbers_of(task, found), length]
        sizes = [end - begin for begin, end in pairwise(bounds)]
    else:
        many = numbers_of(task, found)[0]
        if many < 1 or length % many:
            raise task.refused(f"cannot split {length} into {many}")
        sizes = [length // many] * many
    if min(sizes) < 0 or len(sizes) > length + 1:
        raise task.refused(f"cannot split {length} at {found}")
    return sheet.nodes("Split", value, sheet.constant(sizes, "int64"), outputs=len(sizes), axis=axis)


def _item(task: Task) -> Drawn:
    """``x[…]`` with numbers, slices, nothing and an ellipsis."""
    sheet, value = task.sheet, first(task)
    axis, dropped, added = 0, list[int](), list[int]()
    for one in _keys(task, sheet.rank(value)):
        if one is None:
            added.append(axis - len(dropped) + len(added))
            continue
        if isinstance(one, slice):
            value = _sliced(task, value, axis, one)
        else:
            value = sheet.cut(value, axis, one, one + 1 if one != -1 else _END)
            dropped.append(axis)
        axis += 1
    if dropped:
        value = sheet.node("Squeeze", value, sheet.constant(dropped, "int64"))
    return sheet.node("Unsqueeze", value, sheet.constant(added, "int64")) if added else value


def _keys(task: Task, rank: int) -> list[int | slice | None]:
    """What stands between the brackets, with whole axes in the place of an ellipsis."""
    key = given(task, 1, "key")
    found: list[int | slice | None] = []
    listed = key if isinstance(key, list) else [key]
    used = sum(type(one) is int or isinstance(one, slice) for one in listed)
    for one in listed:
        if one is Ellipsis:
            found += [slice(None)] * (rank - used)
        elif one is None or type(one) is int or isinstance(one, slice):
            found.append(one)
        else:
            raise task.refused(f"is indexed by {str(one)[:40]!r}, which is not read")
    return found


def _sliced(task: Task, value: str, axis: int, key: slice) -> str:
    if key == slice(None):
        return value
    step = 1 if key.step is None else key.step
    start = (0 if step > 0 else -1) if key.start is None else key.start
    stop = (_END if step > 0 else -_END) if key.stop is None else key.stop
    if not all(type(number) is int for number in (start, stop, step)) or not step:
        raise task.refused("is cut at tensors or by no steps, which is not read")
    return task.sheet.cut(value, axis, start, stop, step)


def _rolled(task: Task) -> Drawn:
    """The end of an axis comes to its front."""
    sheet, value, axis = task.sheet, first(task), given(task, 2, "axis")
    (many,) = numbers_of(task, given(task, 1, "shift"))[:1]
    at = task.counted(axis, sheet.rank(value))[0]
    length = sheet.shape(value)[at]
    if length is None or not length:
        raise task.refused("rolls an axis of unknown length")
    begin = -many % length
    return sheet.node("Concat", sheet.cut(value, at, begin, _END), sheet.cut(value, at, 0, begin), axis=at)


def _flip(task: Task) -> Drawn:
    value = first(task)
    axis = given(task, 1, "axis")
    rank = task.sheet.rank(value)
    for place in range(rank) if axis is None else task.counted(axis, rank):
        value = task.sheet.cut(value, place, -1, -(2**63), -1)
    return value


def _take(task: Task) -> Drawn:
    sheet, value = task.sheet, first(task)
    places, axis = given(task, 1, "indices"), given(task, 2, "axis")
    if axis is None:
        value, axis = sheet.reshaped(value, [-1]), 0
    at = places if isinstance(places, str) else sheet.constant(np.asarray(places), "int64")
    return sheet.node("Gather", value, at, axis=task.counted(axis, sheet.rank(value))[0])


def _tile(task: Task) -> Drawn:
    value = first(task)
    many = numbers_of(task, given(task, 1, "repeats"))
    many = [1] * (task.sheet.rank(value) - len(many)) + many
    return task.sheet.node("Tile", value, task.sheet.constant(many, "int64"))


def _repeat(task: Task) -> Drawn:
    sheet, value = task.sheet, first(task)
    many, axis = given(task, 1, "repeats"), given(task, 2, "axis")
    if type(many) is not int or axis is None or not 0 < many < 2**20:
        raise task.refused("repeats by other than one number along an axis, which is not read")
    axis = task.counted(axis, sheet.rank(value))[0]
    length = sheet.shape(value)[axis]
    if length is None:
        raise task.refused("repeats along an axis of unknown length")
    return sheet.node("Gather", value, sheet.constant(np.repeat(np.arange(length), many), "int64"), axis=axis)


def _pad(task: Task) -> Drawn:
    sheet, value = task.sheet, first(task)
    found, number = given(task, 1, "pad_width"), given(task, 2, "constant_values")
    mode = task.settings.get("mode", "constant")
    if mode not in {"constant", "reflect"} or not isinstance(found, list):
        raise task.refused(f"pads in the mode {mode!r}, which is not read")
    pairs = found if isinstance(found[0], list) else [found] * sheet.rank(value)
    pads = numbers_of(task, [pair[0] for pair in pairs] + [pair[1] for pair in pairs])
    return sheet.node("Pad", value, sheet.constant(pads, "int64"), sheet.like(number or 0, value), mode=mode)


DRAWN: Mapping[str, Callable[[Task], Drawn]] = {
    "Concatenate": _concatenate,
    "ExpandDims": _expanded,
    "Flip": _flip,
    "GetItem": _item,
    "Pad": _pad,
    "Ravel": lambda task: task.sheet.reshaped(first(task), [-1]),
    "Repeat": _repeat,
    "Reshape": _reshape,
    "Roll": _rolled,
    "Split": _split,
    "Squeeze": _squeezed,
    "Stack": _stack,
    "SwapAxes": _swapped,
    "Swapaxes": _swapped,
    "Take": _take,
    "Tile": _tile,
    "Transpose": _transpose,
}
