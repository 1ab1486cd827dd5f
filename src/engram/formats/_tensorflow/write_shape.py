"""ONNX nodes that move numbers, as TensorFlow has them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from engram.formats._tensorflow.job import Job, Writer, Writers
from engram.formats._tensorflow.sheet import Kind, Operand, Shape
from engram.formats._tensorflow.values import inverse
from engram.formats._tensorflow.write_elementwise import binary

__all__ = ["WRITERS", "joined", "lengths", "shape_of", "sliced"]

_FAR = 2**31 - 1
_LONGEST = 64


def shape_of(job: Job, value: Operand) -> Operand:
    """The lengths of a value's axes, int64."""
    stored = job.sheet.stored(value)
    made = job.one("Shape", stored, dtype="int64", shape=(value.rank,), out_type=Kind("int64"))
    if not value.turn:
        return made
    return _taken(job, made, job.sheet.constant(list(value.turn), "int64"), 0)


def lengths(job: Job, value: Operand, axes: list[int]) -> Operand:
    """The lengths of some axes; a constant where they are known."""
    shape = value.shape or ()
    known = [shape[axis] for axis in axes]
    if all(isinstance(axis, int) for axis in known):
        return job.sheet.constant(known, "int64")
    return _taken(job, shape_of(job, value), job.sheet.constant(axes, "int64"), 0)


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


def _taken(job: Job, value: Operand, places: Operand, axis: int, shape: Shape = None) -> Operand:
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
        return (job.sheet.turned(replace(made, shape=_back(job.shapes[0], turn)), turn),)
    return (joined(job, values, axis),)


def _back(shape: Shape, turn: tuple[int, ...]) -> Shape:
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
        replace(one, shape=_back(shape, value.turn) if value.turn else shape)
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
        start = 0 if step > 0 and start <= -_FAR else start  # noqa: PLW2901 - the same place, as TensorFlow writes it
        cuts[0][place], cuts[1][place], cuts[2][place] = start, end, step
        whole = start == 0 if step > 0 else start >= _FAR or start == -1
        closed[0] |= 0 if whole else 1 << place
        closed[1] |= 0 if (end >= _FAR if step > 0 else end <= -_FAR) else 1 << place
    masks = [sum(1 << p for p in range(rank)) & ~bits for bits in closed]
    tame = tuple([max(-_FAR, min(_FAR, number)) for number in part] for part in cuts)
    made = _strided(job, job.sheet.stored(value), (tame[0], tame[1], tame[2]), (masks[0], masks[1]))
    made = replace(made, shape=_back(job.shapes[0], value.turn) if value.turn else job.shapes[0])
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


def _gather(job: Job) -> tuple[Operand, ...]:
    value, places = job.get(0), job.get(1)
    axis = job.axis(int(job.said("axis", 0)), value.rank)
    length = (value.shape or ())[axis]
    if places.constant is not None and isinstance(length, int):
        places = job.sheet.constant(np.where(places.constant < 0, places.constant + length, places.constant))
    elif places.constant is None or (places.constant < 0).any():
        # TensorFlow does not count from the end
        below = binary(job, "Less", places, job.number(0, places), "bool")
        ends = job.reshape(lengths(job, value, [axis]), [])
        ends = job.cast(ends, places.dtype)
        places = binary(job, "AddV2", places, binary(job, "Mul", job.cast(below, places.dtype), ends))
    return (_taken(job, value, places, axis, job.shapes[0]),)


def _gather_elements(job: Job) -> tuple[Operand, ...]:
    """Along the last axis, with the axes before it shared."""
    value, places = job.get(0), job.get(1)
    axis = job.axis(int(job.said("axis", 0)), value.rank)
    rank = value.rank
    order = (*(i for i in range(rank) if i != axis), axis)
    value, places = job.sheet.turned(value, order), job.sheet.turned(places, order)
    said: dict[str, Any] = {
        "Tparams": Kind(value.dtype),
        "Tindices": Kind(places.dtype),
        "Taxis": Kind("int32"),
        "batch_dims": rank - 1,
    }
    shape = None if places.shape is None else places.shape
    made = job.sheet.emit("GatherV2", value, places, job.sheet.constant(rank - 1, "int32"), shape=shape, **said)
    return (job.sheet.turned(made, inverse(order)),)


def _gather_nd(job: Job) -> tuple[Operand, ...]:
    if int(job.said("batch_dims", 0)):
        raise job.refused("gathers along shared axes")
    value, places = job.get(0), job.get(1)
    said: dict[str, Any] = {"Tparams": Kind(value.dtype), "Tindices": Kind(places.dtype)}
    return (job.sheet.emit("GatherNd", value, places, shape=job.shapes[0], **said),)


def _scatter_nd(job: Job) -> tuple[Operand, ...]:
    word = job.said("reduction", "none")
    operation = {
        "none": "TensorScatterUpdate",
        "add": "TensorScatterAdd",
        "max": "TensorScatterMax",
        "min": "TensorScatterMin",
    }.get(word)
    if operation is None:
        raise job.refused(f"scatters with {word}")
    value, places, updates = job.get(0), job.get(1), job.get(2)
    return (job.one(operation, value, places, updates, shape=value.shape, Tindices=Kind(places.dtype)),)


def _expand(job: Job) -> tuple[Operand, ...]:
    value, target = job.get(0), job.get(1)
    wanted = job.whole(1)
    if wanted is not None and value.shape is not None:
        full = (1,) * (len(wanted) - len(value.shape)) + value.shape
        if all(length in {1, axis} for length, axis in zip(wanted, full[len(full) - len(wanted) :], strict=True)):
            # lengths of one keep what is there, which TensorFlow's operation would refuse
            return (
                value
                if len(value.shape) >= len(wanted)
                else job.reshape(value, _padded(job, value, len(wanted)), job.shapes[0]),
            )
    like = job.sheet.emit("BroadcastArgs", shape_of(job, value), job.cast(target, "int64"), shape=None, T=Kind("int64"))
    return (job.one("BroadcastTo", value, like, shape=job.shapes[0], Tidx=Kind("int64")),)


def _padded(job: Job, value: Operand, rank: int) -> Operand:
    ones = job.sheet.constant([1] * (rank - value.rank), "int64")
    return joined(job, [ones, lengths(job, value, list(range(value.rank)))], 0)


def _tile(job: Job) -> tuple[Operand, ...]:
    counts = job.get(1)
    return (job.one("Tile", job.get(0), counts, shape=job.shapes[0], Tmultiples=Kind(counts.dtype)),)


def _constant_of_shape(job: Job) -> tuple[Operand, ...]:
    value = job.said("value")
    filler = job.sheet.constant(np.asarray(value).reshape(()) if value is not None else np.float32(0))
    shape = job.get(0)
    return (
        job.sheet.emit(
            "Fill",
            shape,
            filler,
            dtype=filler.dtype,
            shape=job.shapes[0],
            T=Kind(filler.dtype),
            index_type=Kind(shape.dtype),
        ),
    )


def _range(job: Job) -> tuple[Operand, ...]:
    ends = job.get(0), job.get(1), job.get(2)
    return (job.sheet.emit("Range", *ends, shape=job.shapes[0], Tidx=Kind(ends[0].dtype)),)


def _pad(job: Job) -> tuple[Operand, ...]:
    value, amounts, mode = job.get(0), job.whole(1), job.said("mode", "constant")
    axes = job.whole(3) if job.maybe(3) is not None else None
    if amounts is None or mode not in {"constant", "reflect", "edge"}:
        raise job.refused(f"pads in mode {mode}, or by amounts that hang on data")
    rank = value.rank
    places = [job.axis(axis, rank) for axis in axes] if axes is not None else list(range(rank))
    pairs = [[0, 0] for _ in range(rank)]
    for i, axis in enumerate(places):
        pairs[value.turn[axis] if value.turn else axis] = [amounts[i], amounts[i + len(places)]]
    stored = job.sheet.stored(value)
    made = padded(job, stored, pairs, mode, job.maybe(2))
    made = replace(made, shape=_back(job.shapes[0], value.turn) if value.turn else job.shapes[0])
    return (job.sheet.turned(made, value.turn) if value.turn else made,)


def padded(
    job: Job, value: Operand, pairs: list[list[int]], mode: str = "constant", filler: Operand | None = None
) -> Operand:
    """A value with more at its ends, or less where the numbers are negative.

    Args:
        job: of the node.
        value: with nothing owed.
        pairs: how much before and after, for each axis.
        mode: ``constant``, ``reflect`` or ``edge``.
        filler: what stands there; zeros if None.
    """
    for axis, (before, after) in enumerate(pairs):
        if before < 0 or after < 0:
            value = sliced(job, value, axis, max(-before, 0), after if after < 0 else _FAR)
    grown = [[max(before, 0), max(after, 0)] for before, after in pairs]
    if not any(any(pair) for pair in grown):
        return value
    if mode == "edge":
        return _edged(job, value, grown)
    amounts = job.sheet.constant(grown, "int32")
    if mode == "reflect":
        return job.one("MirrorPad", value, amounts, shape=None, Tpaddings=Kind("int32"), mode="REFLECT")
    zero = filler if filler is not None else job.number(0, value)
    zero = job.reshape(zero, []) if zero.shape else zero
    return job.one("PadV2", value, amounts, zero, shape=None, Tpaddings=Kind("int32"))


def _edged(job: Job, value: Operand, pairs: list[list[int]]) -> Operand:
    rank = len(pairs)
    shape = value.shape
    for axis, (before, after) in enumerate(pairs):
        pieces = [value]
        ones = [1] * rank
        if before:
            ones[axis] = before
            first = replace(sliced(job, value, axis, 0, 1), shape=shape)
            pieces.insert(0, job.one("Tile", first, job.sheet.constant(ones, "int64"), Tmultiples=Kind("int64")))
        if after:
            ones[axis] = after
            last = replace(sliced(job, value, axis, -1, _FAR), shape=shape)
            pieces.append(job.one("Tile", last, job.sheet.constant(ones, "int64"), Tmultiples=Kind("int64")))
        value = replace(joined(job, pieces, axis), shape=shape)
    return value


def _one_hot(job: Job) -> tuple[Operand, ...]:
    places, ends = job.get(0), job.get(2)
    depth = job.cast(job.reshape(job.get(1), []), "int32")
    off, on = (job.reshape(sliced(job, ends, 0, place, place + 1), []) for place in (0, 1))
    if places.dtype not in {"int32", "int64", "uint8"}:
        places = job.cast(places, "int64")
    axis = int(job.said("axis", -1))
    axis = -1 if axis in {-1, places.rank} else job.axis(axis, places.rank + 1)
    said: dict[str, Any] = {"T": Kind(ends.dtype), "TI": Kind(places.dtype), "axis": axis}
    return (job.sheet.emit("OneHot", places, depth, on, off, dtype=ends.dtype, shape=job.shapes[0], **said),)


def _trilu(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    numbers = job.whole(1) if job.maybe(1) is not None else [0]
    if numbers is None:
        raise job.refused("takes its diagonal from data")
    k, upper = numbers[0], bool(job.said("upper", 1))
    if (upper and k > 0) or (not upper and k < 0):
        raise job.refused(f"keeps from diagonal {k}")
    low, high = (-k, -1) if upper else (-1, k)
    ends = job.sheet.constant(low, "int64"), job.sheet.constant(high, "int64")
    return (job.one("MatrixBandPart", value, *ends, shape=value.shape, Tindex=Kind("int64")),)


def _non_zero(job: Job) -> tuple[Operand, ...]:
    found = job.one("Where", job.get(0), dtype="int64", shape=("?", job.get(0).rank))
    return (job.sheet.turned(found, (1, 0)),)


def _depth(kind: str) -> Writer:
    def write(job: Job) -> tuple[Operand, ...]:
        value, block = job.get(0), int(job.said("blocksize"))
        if job.said("mode", "DCR") != "DCR":
            raise job.refused("orders depth by columns first")
        laid = job.sheet.turned(value, (0, 2, 3, 1))
        made = job.one(kind, laid, shape=None, block_size=block, data_format="NHWC")
        made = replace(made, shape=_back(job.shapes[0], (0, 3, 1, 2)))
        return (job.sheet.turned(made, (0, 3, 1, 2)),)

    return write


def _eye_like(job: Job) -> tuple[Operand, ...]:
    shape = job.get(0).shape or ()
    if not all(isinstance(axis, int) for axis in shape):
        raise job.refused("makes a unit matrix of unknown size")
    rows, columns = (int(axis) for axis in shape if isinstance(axis, int))
    return (job.sheet.constant(np.eye(rows, columns, int(job.said("k", 0))), job.get(0).dtype),)


WRITERS: Writers = {
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _depth("DepthToSpace"),
    "Expand": _expand,
    "EyeLike": _eye_like,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "NonZero": _non_zero,
    "OneHot": _one_hot,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "ScatterND": _scatter_nd,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "SpaceToDepth": _depth("SpaceToDepth"),
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
}
