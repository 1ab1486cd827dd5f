"""ONNX nodes that repeat, fill and pad, as TensorFlow has them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engram.formats._tensorflow.job import Job, Writer, Writers
from engram.formats._tensorflow.sheet import Kind, Operand
from engram.formats._tensorflow.write_shape import FAR, joined, lengths, shape_of, sliced, stored_shape

__all__ = ["WRITERS"]


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
    made = replace(made, shape=stored_shape(job.shapes[0], value.turn) if value.turn else job.shapes[0])
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
            value = replace(value, shape=value.shape or ("?",) * len(pairs))  # a slice does not say its lengths
            value = sliced(job, value, axis, max(-before, 0), after if after < 0 else FAR)
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
            last = replace(sliced(job, value, axis, -1, FAR), shape=shape)
            pieces.append(job.one("Tile", last, job.sheet.constant(ones, "int64"), Tmultiples=Kind("int64")))
        value = replace(joined(job, pieces, axis), shape=shape)
    return value


def _depth(kind: str) -> Writer:
    def write(job: Job) -> tuple[Operand, ...]:
        value, block = job.get(0), int(job.said("blocksize"))
        if job.said("mode", "DCR") != "DCR":
            raise job.refused("orders depth by columns first")
        laid = job.sheet.turned(value, (0, 2, 3, 1))
        made = job.one(kind, laid, shape=None, block_size=block, data_format="NHWC")
        made = replace(made, shape=stored_shape(job.shapes[0], (0, 3, 1, 2)))
        return (job.sheet.turned(made, (0, 3, 1, 2)),)

    return write


WRITERS: Writers = {
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _depth("DepthToSpace"),
    "Expand": _expand,
    "Pad": _pad,
    "Range": _range,
    "SpaceToDepth": _depth("SpaceToDepth"),
    "Tile": _tile,
}
