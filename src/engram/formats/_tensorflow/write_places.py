"""ONNX nodes that take numbers from places and put them there, as TensorFlow has them."""

from __future__ import annotations

from typing import Any

import numpy as np

from engram.formats._tensorflow.job import Job, Writers
from engram.formats._tensorflow.sheet import Kind, Operand
from engram.formats._tensorflow.values import inverse
from engram.formats._tensorflow.write_elementwise import binary
from engram.formats._tensorflow.write_shape import lengths, sliced, taken

__all__ = ["WRITERS"]


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
    return (taken(job, value, places, axis, job.shapes[0]),)


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


def _eye_like(job: Job) -> tuple[Operand, ...]:
    shape = job.get(0).shape or ()
    if not all(isinstance(axis, int) for axis in shape):
        raise job.refused("makes a unit matrix of unknown size")
    rows, columns = (int(axis) for axis in shape if isinstance(axis, int))
    return (job.sheet.constant(np.eye(rows, columns, int(job.said("k", 0))), job.get(0).dtype),)


WRITERS: Writers = {
    "EyeLike": _eye_like,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "NonZero": _non_zero,
    "OneHot": _one_hot,
    "ScatterND": _scatter_nd,
    "Trilu": _trilu,
}
