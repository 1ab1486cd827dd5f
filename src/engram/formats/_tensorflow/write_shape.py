"""ONNX nodes that move numbers, as TensorFlow has them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from engram.formats._tensorflow.job import Job, Writers
from engram.formats._tensorflow.sheet import Kind, Operand, Shape
from engram.formats._tensorflow.values import inverse

__all__ = ["FAR", "WRITERS", "joined", "lengths", "shape_of", "sliced", "stored_shape", "taken"]

FAR = 2**31 - 1
_LONGEST = 64


def shape_of(job: Job, value: Operand) -> Operand:
    """The lengths of a value's axes, int64."""
    stored = job.sheet.stored(value)
    made = job.one("Shape", stored, dtype="int64", shape=(value.rank,), out_type=Kind("int64"))
    if not value.turn:
        return made
    return taken(job, made, job.sheet.constant(list(value.turn), "int64"), 0)


def lengths(job: Job, value: Operand, axes: list[int]) -> Operand:
    """The lengths of some axes; a constant where they are known."""
    shape = value.shape or ()
    known = [shape[axis] for axis in axes]
    if all(isinstance(axis, int) for axis in known):
        return job.sheet.constant(known, "int64")
    return taken(job, shape_of(job, value), job.sheet.constant(axes, "int64"), 0)


def joined(job: Job, values: list[Operand], axis: int) -> Operand:
    """Values one after the other along an axis."""
    if len(values) == 1:
        return values[0]
    if all(value.constant is not None for value in values):
        return job.sheet.constant(
            np.concatenate([value.constant for value in values if value.constant is not None], axis)
        )
    place = job.sheet.constant(axis, "int32")
    said: dict[str, Any] = {"T": Kind(values[0].dtype), "Tidx": Kind("int32"), "N": len(values)}
    return job.sheet.emit("ConcatV2", *values, place, shape=None, **said)


def sliced(job: Job, value: Operand, axis: int, start: int, stop: int) -> Operand:
    """A piece of a value along one axis."""
    rank = value.rank
    begins, ends = [0] * rank, [0] * rank
    begins[axis], ends[axis] = start, stop
    mask = sum(1 << place for place in range(rank) if place != axis)
    return _strided(job, value, (begins, ends, [1] * rank), (mask, mask))


def _strided(
    job: Job, value: Operand, cuts: tuple[list[int], list[int], list[int]], masks: tuple[int, int], shape: Shape = None
) -> Operand:
    given = [job.sheet.constant(numbers, "int64") for numbers in cuts]
    said: dict[str, Any] = {"Index": Kind("int64"), "begin_mask": masks[0], "end_mask": masks[1]}
    said |= {"ellipsis_mask": 0, "new_axis_mask": 0, "shrink_axis_mask": 0}
    return job.one("StridedSlice", value, *given, shape=shape, **said)


def taken(job: Job, value: Operand, places: Operand, axis: int, shape: Shape = None) -> Operand:
    """Parts of a value along an axis, by their places (``GatherV2``)."""
    where = job.sheet.constant(axis, "int32")
    said: dict[str, Any] = {
        "Tparams": Kind(value.dtype),
        "Tindices": Kind(places.dtype),
        "Taxis": Kind("int32"),
        "batch_dims": 0,
    }
    return job.sheet.emit("GatherV2", value, places, where, shape=shape, **said)


def _shape(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    start, end = int(job.said("start", 0)), job.said("end")
    axes = list(range(value.rank))[start : None if end is None else int(end)]
    return (lengths(job, value, axes),)


def _size(job: Job) -> tuple[Operand, ...]:
    return (job.one("Size", job.sheet.stored(job.get(0)), dtype="int64", shape=(), out_type=Kind("int64")),)


def _reshape(job: Job) -> tuple[Operand, ...]:
    value, target = job.get(0), job.whole(1)
    if target is None:
        return (job.reshape(value, job.get(1), job.shapes[0]),)
    keeps = [place for place, length in enumerate(target) if length == 0] if not job.said("allowzero", 0) else []
    if not keeps:
        return (job.reshape(value, target, job.shapes[0]),)
    known = value.shape or ()
    if all(isinstance(known[place], int) for place in keeps):
        whole = [int(known[place]) if place in keeps else length for place, length in enumerate(target)]
        return (job.reshape(value, whole, job.shapes[0]),)
    free = [place for place in keeps if not isinstance(known[place], int)]
    whole = [-1 if place in free else (int(known[place]) if place in keeps else n) for place, n in enumerate(target)]
    if len(free) == 1 and whole.count(-1) == 1:
        return (job.reshape(value, whole, job.shapes[0]),)
    pieces = [
        lengths(job, value, [place]) if place in keeps else job.sheet.constant([length], "int64")
        for place, length in enumerate(target)
    ]
    return (job.reshape(value, joined(job, pieces, 0), job.shapes[0]),)


def _flatten(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    axis = int(job.said("axis", 1))
    axis = axis + value.rank if axis < 0 else axis
    front, back = (value.shape or ())[:axis], (value.shape or ())[axis:]
    if all(isinstance(length, int) for length in back):
        return (job.reshape(value, [-1, int(np.prod([int(n) for n in back]))], job.shapes[0]),)
    if all(isinstance(length, int) for length in front):
        return (job.reshape(value, [int(np.prod([int(n) for n in front])), -1], job.shapes[0]),)
    ahead = lengths(job, value, list(range(axis)))
    said: dict[str, Any] = {"Tidx": Kind("int32"), "keep_dims": True}
    whole = job.one("Prod", ahead, job.sheet.constant([0], "int32"), shape=(1,), **said)
    return (job.reshape(value, joined(job, [whole, job.sheet.constant([-1], "int64")], 0), job.shapes[0]),)


def _transpose(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    order = job.said("perm") or list(reversed(range(value.rank)))
    return (job.sheet.turned(value, tuple(int(axis) for axis in order)),)


def _squeeze(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    axes = job.whole(1) if job.maybe(1) is not None else [i for i, n in enumerate(value.shape or ()) if n == 1]
    if axes is None:
        raise job.refused("takes its axes from data")
    places = sorted(job.axis(axis, value.rank) for axis in axes)
    if value.constant is not None:
        return (job.sheet.constant(np.squeeze(value.constant, tuple(places))),)
    return (job.one("Squeeze", value, shape=job.shapes[0], squeeze_dims=places),) if places else (value,)


def _unsqueeze(job: Job) -> tuple[Operand, ...]:
    value, axes = job.get(0), job.whole(1)
    if axes is None:
        raise job.refused("takes its axes from data")
    rank = value.rank + len(axes)
    made = value
    for axis in sorted(job.axis(number, rank) for number in axes):
        if made.constant is not None:
            made = job.sheet.constant(np.expand_dims(made.constant, axis))
            continue
        shape = (*(made.shape or ())[:axis], 1, *(made.shape or ())[axis:])
        made = job.one("ExpandDims", made, job.sheet.constant(axis, "int32"), shape=shape, Tdim=Kind("int32"))
    return (made,)


def _concat(job: Job) -> tuple[Operand, ...]:
    values = [value for value in job.inputs if value is not None]
    axis = job.axis(int(job.said("axis")), values[0].rank)
    turns = {value.turn for value in values}
    if len(turns) == 1 and turns != {()}:
        turn = next(iter(turns))
        made = joined(job, [job.sheet.stored(value) for value in values], turn[axis])
        return (job.sheet.turned(replace(made, shape=stored_shape(job.shapes[0], turn)), turn),)
    return (joined(job, values, axis),)


def stored_shape(shape: Shape, turn: tuple[int, ...]) -> Shape:
    """The shape as a value lies that owes a transposition."""
    return None if shape is None else tuple(shape[axis] for axis in inverse(turn))


def _split(job: Job) -> tuple[Operand, ...]:
    value, sizes = job.get(0), job.whole(1)
    axis = job.axis(int(job.said("axis", 0)), value.rank)
    count = len(job.step.outputs)
    place = value.turn[axis] if value.turn else axis
    length = (value.shape or ())[axis]
    if sizes is None:
        if not isinstance(length, int):
            raise job.refused("splits an axis of unknown length")
        step = -(-length // count)
        sizes = [min(step, length - step * i) for i in range(count)]
    stored = job.sheet.stored(value)
    given = job.sheet.constant(sizes, "int64"), job.sheet.constant(place, "int32")
    said: dict[str, Any] = {"T": Kind(value.dtype), "Tlen": Kind("int64"), "num_split": count}
    made = job.sheet.several("SplitV", stored, *given, dtypes=[value.dtype] * count, **said)
    shaped = [
        replace(one, shape=stored_shape(shape, value.turn) if value.turn else shape)
        for one, shape in zip(made, job.shapes, strict=True)
    ]
    return tuple(job.sheet.turned(one, value.turn) if value.turn else one for one in shaped)


def _slice(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    starts, ends = job.whole(1), job.whole(2)
    axes = job.whole(3) if job.maybe(3) is not None else None
    steps = job.whole(4) if job.maybe(4) is not None else None
    if starts is None or ends is None or (job.maybe(3) is not None and axes is None):
        return (_dynamic_slice(job, value),)
    axes = axes if axes is not None else list(range(len(starts)))
    steps = steps or [1] * len(starts)
    rank = value.rank
    cuts = ([0] * rank, [0] * rank, [1] * rank)
    closed = [0, 0]
    for number, start, end, step in zip(axes, starts, ends, steps, strict=True):
        axis = job.axis(number, rank)
        place = value.turn[axis] if value.turn else axis
        start = 0 if step > 0 and start <= -FAR else start  # noqa: PLW2901 - the same place, as TensorFlow writes it
        cuts[0][place], cuts[1][place], cuts[2][place] = start, end, step
        whole = start == 0 if step > 0 else start >= FAR or start == -1
        closed[0] |= 0 if whole else 1 << place
        closed[1] |= 0 if (end >= FAR if step > 0 else end <= -FAR) else 1 << place
    masks = [sum(1 << p for p in range(rank)) & ~bits for bits in closed]
    tame = tuple([max(-FAR, min(FAR, number)) for number in part] for part in cuts)
    made = _strided(job, job.sheet.stored(value), (tame[0], tame[1], tame[2]), (masks[0], masks[1]))
    made = replace(made, shape=stored_shape(job.shapes[0], value.turn) if value.turn else job.shapes[0])
    return (job.sheet.turned(made, value.turn) if value.turn else made,)


def _dynamic_slice(job: Job, value: Operand) -> Operand:
    """A piece whose ends hang on data, along the first axes."""
    starts, ends, axes = job.get(1), job.get(2), job.whole(3)
    steps = job.whole(4) if job.maybe(4) is not None else None
    count = len(axes) if axes is not None else int((starts.shape or (1,))[0])
    if (axes or list(range(count))) != list(range(count)):
        if axes is None or len(axes) != 1 or value.turn:
            raise job.refused("cuts at places that hang on data")
        front = axes[0]
        zeros = job.sheet.constant([0] * front, "int64")
        starts = joined(job, [zeros, job.cast(starts, "int64")], 0)
        ends = joined(job, [zeros, job.cast(ends, "int64")], 0)
        mask, width = (1 << front) - 1, front + 1
    else:
        mask, width = 0, count
    paces = job.sheet.constant([1] * (width - count) + (steps or [1] * count), "int64")
    said: dict[str, Any] = {
        "begin_mask": mask,
        "end_mask": mask,
        "ellipsis_mask": 0,
        "new_axis_mask": 0,
        "shrink_axis_mask": 0,
    }
    given = job.cast(starts, "int64"), job.cast(ends, "int64"), paces
    return job.one("StridedSlice", value, *given, shape=job.shapes[0], Index=Kind("int64"), **said)


WRITERS: Writers = {
    "Concat": _concat,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
