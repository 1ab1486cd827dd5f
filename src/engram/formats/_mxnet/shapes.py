"""Operators that move numbers and compute nothing, with the codes of MXNet for shapes that follow from others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engram.formats._mxnet.task import Draw, Drawn, Task
from engram.records.tensors import DTYPES

__all__ = ["TABLE"]

_END = 2**62
_COPY, _FOUND, _REST, _MERGED, _SPLIT = 0, -1, -2, -3, -4


def _flatten(task: Task) -> Drawn:
    value = task.value()
    return value if task.sheet.rank(value) == 2 else task.sheet.node("Flatten", value, axis=1)


def _reshape(task: Task) -> Drawn:
    sheet, value = task.sheet, task.value()
    codes = task.wholes("shape")
    if task.truth("reverse") or not codes or any(code < _SPLIT for code in codes):
        raise task.refused(f"has the shape {codes}, which is not read")
    if codes == (-1,):
        made = sheet.reshaped(value, [-1])
        task.drawing.flat[made] = value
        return made
    if min(codes) >= _FOUND:
        return sheet.reshaped(value, codes)
    return _coded(task, _lengths(task, codes))


Length = int | tuple[int, ...]
"""A number, ``_FOUND``, or the axes whose lengths are multiplied."""


def _lengths(task: Task, codes: Sequence[int]) -> list[Length]:
    """What each of MXNet's codes means, with the axes of the input taken one after the other."""
    rank, at, place = task.sheet.rank(task.value()), 0, 0
    made: list[Length] = []
    while place < len(codes):
        code = codes[place]
        if at >= rank and code != _REST and code <= 0:
            raise task.refused(f"has the shape {codes}, which asks for more than {rank} axes")
        match code:
            case 0:
                made.append((at,))
            case -2:
                made += [(axis,) for axis in range(at, rank)]
                at = rank
            case -3:
                if at + 1 >= rank:
                    raise task.refused(f"has the shape {codes}, which asks for more than {rank} axes")
                made.append((at, at + 1))
                at += 1
            case -4:
                if len(codes) < place + 3:
                    raise task.refused(f"has the shape {codes}, in which -4 needs two numbers behind it")
                made += _parts(task, at, codes[place + 1 : place + 3])
                place += 2
            case _:
                made.append(code)
        at, place = at + 1, place + 1
    return made


def _parts(task: Task, axis: int, codes: Sequence[int]) -> list[Length]:
    one, other = codes
    whole = task.sheet.shape(task.value())[axis]
    known = other if one == _FOUND else one
    if known < 1 or (_FOUND not in codes and one * other != (whole or one * other)):
        raise task.refused(f"splits an axis into {one} and {other}")
    if whole is not None and _FOUND in codes:
        return [whole // known if code == _FOUND else code for code in codes]
    return [one, other]


def _coded(task: Task, lengths: list[Length]) -> Drawn:
    """The value in a shape in which some lengths are those of the input."""
    sheet, value = task.sheet, task.value()
    shape = sheet.shape(value)
    settled: list[Length] = []
    for length in lengths:
        known = isinstance(length, tuple) and all(shape[axis] is not None for axis in length)
        settled.append(_product(shape, length) if known and isinstance(length, tuple) else length)
    free = [at for at, length in enumerate(settled) if isinstance(length, tuple) and length != (at,)]
    if len(free) == 1 and _FOUND not in settled:
        settled[free[0]] = _FOUND
    wanted = [None if isinstance(length, tuple) or length == _FOUND else length for length in settled]
    numbers = [length if isinstance(length, int) else _COPY for length in settled]
    if all(isinstance(length, int) or length == (at,) for at, length in enumerate(settled)):
        return sheet.told(sheet.reshaped(value, numbers), wanted)
    pieces = [
        sheet.constant([length], "int64") if isinstance(length, int) else _multiplied(task, length)
        for length in settled
    ]
    return sheet.told(sheet.node("Reshape", value, sheet.node("Concat", *pieces, axis=0)), wanted)


def _product(shape: Sequence[int | None], axes: tuple[int, ...]) -> int:
    made = 1
    for axis in axes:
        made *= shape[axis] or 0
    return made


def _multiplied(task: Task, axes: tuple[int, ...]) -> str:
    sheet = task.sheet
    found = [sheet.node("Shape", task.value(), start=axis, end=axis + 1) for axis in axes]
    return found[0] if len(found) == 1 else sheet.node("Mul", *found)


def _transpose(task: Task) -> Drawn:
    rank = task.sheet.rank(task.value())
    axes = task.wholes("axes") or tuple(reversed(range(rank)))
    order = [axis % rank if -rank <= axis < rank else rank for axis in axes]
    if sorted(order) != list(range(rank)):
        raise task.refused(f"has the axes {axes}, but there are {rank}")
    return task.sheet.turned(task.value(), order)


def _swap(task: Task) -> Drawn:
    rank = task.sheet.rank(task.value())
    one, other = (task.axis(key, 0, rank) for key in ("dim1", "dim2"))
    order = list(range(rank))
    order[one], order[other] = order[other], order[one]
    return task.sheet.turned(task.value(), order)


def _expand(task: Task) -> Drawn:
    axis = task.axis("axis", 0, task.sheet.rank(task.value()) + 1)
    return task.sheet.node("Unsqueeze", task.value(), task.sheet.constant([axis], "int64"))


def _squeeze(task: Task) -> Drawn:
    if task.said("axis", None) is None:
        raise task.refused("leaves out whatever has the length 1, which depends on the batch; it is not read")
    return task.sheet.node("Squeeze", task.value(), task.sheet.constant(list(task.wholes("axis")), "int64"))


def _concat(task: Task) -> Drawn:
    axis = task.axis("dim", 1, task.sheet.rank(task.value()))
    return task.sheet.node("Concat", *task.inputs, axis=axis)


def _joined(task: Task) -> Drawn:
    """The parameters of a recurrent layer in one row; the layer looks behind it."""
    made = task.sheet.node("Concat", *task.inputs, axis=0)
    task.drawing.joined[made] = [task.drawing.flat.get(value, value) for value in task.inputs]
    return made


def _stack(task: Task) -> Drawn:
    axis = task.axis("axis", 0, task.sheet.rank(task.value()) + 1)
    axes = task.sheet.constant([axis], "int64")
    return task.sheet.node("Concat", *(task.sheet.node("Unsqueeze", one, axes) for one in task.inputs), axis=axis)


def _split(task: Task) -> Drawn:
    sheet, count = task.sheet, task.whole("num_outputs")
    axis = task.axis("axis", 1, sheet.rank(task.value()))
    length = sheet.shape(task.value())[axis]
    if not 1 <= count <= _MOST or (length is not None and length % count):
        raise task.refused(f"cuts {length} into {count} parts")
    made = sheet.nodes("Split", task.value(), outputs=count, axis=axis, num_outputs=count)
    if task.truth("squeeze_axis"):
        made = tuple(sheet.node("Squeeze", one, sheet.constant([axis], "int64")) for one in made)
    return made if count > 1 else made[0]


_MOST = 10_000


def _slice(task: Task) -> Drawn:
    begins, ends, steps = (task.said(key, ()) for key in ("begin", "end", "step"))
    if not all(isinstance(one, (tuple, list)) for one in (begins, ends, steps)) or len(begins) != len(ends):
        raise task.refused("is not told where it begins and ends, axis by axis")
    steps = list(steps) or [None] * len(begins)
    found = []
    for begin, end, step in zip(begins, ends, steps, strict=True):
        by = 1 if step is None else step
        found.append((begin if begin is not None else 0 if by > 0 else -1, end if end is not None else _beyond(by), by))
    if not all(type(number) is int for bounds in found for number in bounds):
        raise task.refused("begins, ends or steps at what is no whole number")
    columns = [task.sheet.constant(list(column), "int64") for column in zip(*found, strict=True)]
    axes = task.sheet.constant(list(range(len(found))), "int64")
    return task.sheet.node("Slice", task.value(), columns[0], columns[1], axes, columns[2])


def _beyond(step: int) -> int:
    return _END if step > 0 else -_END


def _slice_axis(task: Task) -> Drawn:
    axis = task.axis("axis", 0, task.sheet.rank(task.value()))
    end = task.said("end", None)
    return task.sheet.cut(task.value(), axis, task.whole("begin", 0), _END if end is None else task.whole("end"))


def _reverse(task: Task) -> Drawn:
    made = task.value()
    for axis in task.wholes("axis"):
        made = task.sheet.cut(made, axis, -1, -_END, -1)
    return made


def _tile(task: Task) -> Drawn:
    sheet, value, times = task.sheet, task.value(), list(task.wholes("reps"))
    missing = len(times) - sheet.rank(value)
    if missing > 0:
        value = sheet.node("Unsqueeze", value, sheet.constant(list(range(missing)), "int64"))
    return sheet.node("Tile", value, sheet.constant([1] * -min(missing, 0) + times, "int64"))


def _pad(task: Task) -> Drawn:
    widths = task.wholes("pad_width")
    mode = task.word("mode", "constant", {"constant", "edge", "reflect"})
    if len(widths) != 2 * task.sheet.rank(task.value()):
        raise task.refused(f"has {len(widths)} widths for {task.sheet.rank(task.value())} axes")
    pads = task.sheet.constant([*widths[::2], *widths[1::2]], "int64")
    fill = (task.sheet.like(task.number("constant_value", 0.0), task.value()),) if mode == "constant" else ()
    return task.sheet.node("Pad", task.value(), pads, *fill, mode=mode)


def _upsample(task: Task) -> Drawn:
    task.word("sample_type", "nearest", {"nearest"})
    if len(task.inputs) != 1:
        raise task.refused("enlarges several pictures at once, which is not read")
    scale, rank = task.whole("scale"), task.sheet.rank(task.value())
    scales = task.sheet.constant([1.0, 1.0, *[float(scale)] * (rank - 2)])
    return task.sheet.node(
        "Resize", task.value(), "", scales,
        mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip


def _widened(task: Task) -> Drawn:
    sheet, value = task.sheet, task.value()
    axes, sizes = task.wholes("axis"), task.wholes("size")
    shape = [1] * sheet.rank(value)
    for axis, size in zip(axes, sizes, strict=True):
        shape[axis] = size
    return sheet.node("Expand", value, sheet.constant(shape, "int64"))


def _one_hot(task: Task) -> Drawn:
    sheet = task.sheet
    dtype = task.word("dtype", "float32", DTYPES)
    values = sheet.constant([task.number("off_value", 0.0), task.number("on_value", 1.0)], dtype)
    return sheet.node(
        "OneHot", sheet.cast(task.value(), "int64"), sheet.constant([task.whole("depth")], "int64"), values
    )


TABLE: Mapping[str, Draw] = {
    "Flatten": _flatten,
    "flatten": _flatten,
    "Reshape": _reshape,
    "reshape": _reshape,
    "transpose": _transpose,
    "SwapAxis": _swap,
    "swapaxes": _swap,
    "expand_dims": _expand,
    "squeeze": _squeeze,
    "Concat": _concat,
    "concat": _concat,
    "_rnn_param_concat": _joined,
    "stack": _stack,
    "SliceChannel": _split,
    "split": _split,
    "slice": _slice,
    "crop": _slice,
    "slice_axis": _slice_axis,
    "reverse": _reverse,
    "flip": _reverse,
    "tile": _tile,
    "Pad": _pad,
    "pad": _pad,
    "UpSampling": _upsample,
    "broadcast_axis": _widened,
    "broadcast_axes": _widened,
    "one_hot": _one_hot,
}
