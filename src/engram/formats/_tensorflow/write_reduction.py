"""ONNX nodes that make fewer numbers of many, as TensorFlow has them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from engram.formats._tensorflow.job import Job, Writer, Writers
from engram.formats._tensorflow.sheet import Kind, Operand
from engram.formats._tensorflow.write_elementwise import binary, unary

__all__ = ["WRITERS"]

_PLAIN = {"ReduceMax": "Max", "ReduceMean": "Mean", "ReduceMin": "Min", "ReduceProd": "Prod", "ReduceSum": "Sum"}


def _reduced(job: Job, operation: str, value: Operand) -> Operand:
    """The node, under whatever transposition is owed."""
    given = job.whole(1) if job.maybe(1) is not None else job.said("axes")
    if job.maybe(1) is not None and given is None:
        raise job.refused("takes its axes from data")
    keep = bool(job.said("keepdims", 1))
    if not given and job.said("noop_with_empty_axes", 0):
        return value
    axes = sorted({job.axis(int(axis), value.rank) for axis in given}) if given else list(range(value.rank))
    if value.dtype == "bool":
        operation = {"Max": "Any", "Min": "All"}.get(operation, operation)
    stored = job.sheet.stored(value)
    places = job.sheet.constant(sorted(value.turn[axis] for axis in axes) if value.turn else axes, "int32")
    said: dict[str, Any] = {"Tidx": Kind("int32"), "keep_dims": keep}
    if operation in {"Any", "All"}:
        made = job.sheet.emit(operation, stored, places, dtype="bool", **said)
    else:
        made = job.one(operation, stored, places, **said)
    if not value.turn:
        return replace(made, shape=job.shapes[0])
    if keep:
        ones = tuple(1 if place in axes else axis for place, axis in enumerate(value.shape or ()))
        back = tuple(ones[value.turn.index(axis)] for axis in range(value.rank))
        return job.sheet.turned(replace(made, shape=back), value.turn)
    left = [axis for place, axis in enumerate(value.turn) if place not in axes]
    ranked = sorted(left)
    shape = tuple((stored.shape or ())[axis] for axis in ranked) if stored.shape is not None else None
    return job.sheet.turned(replace(made, shape=shape), tuple(ranked.index(axis) for axis in left))


def _plain(operation: str) -> Writer:
    return lambda job: (_reduced(job, operation, job.get(0)),)


def _l1(job: Job) -> tuple[Operand, ...]:
    return (_reduced(job, "Sum", unary(job, job.get(0), "Abs")),)


def _l2(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    return (unary(job, _reduced(job, "Sum", binary(job, "Mul", value, value)), "Sqrt"),)


def _square(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    return (_reduced(job, "Sum", binary(job, "Mul", value, value)),)


def _log_sum(job: Job) -> tuple[Operand, ...]:
    return (unary(job, _reduced(job, "Sum", job.get(0)), "Log"),)


def _log_sum_exp(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    top = job.one(
        "Max",
        value,
        job.sheet.constant(list(range(value.rank)), "int32"),
        shape=(),
        Tidx=Kind("int32"),
        keep_dims=False,
    )
    total = _reduced(job, "Sum", unary(job, binary(job, "Sub", value, top), "Exp"))
    return (binary(job, "AddV2", unary(job, total, "Log"), top),)


def _arg(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    axis = job.axis(int(job.said("axis", 0)), value.rank)
    if job.said("select_last_index", 0):
        raise job.refused("takes the last of equal ones")
    place = job.sheet.constant(axis, "int32")
    said: dict[str, Any] = {"Tidx": Kind("int32"), "output_type": Kind("int64")}
    shape = value.shape or ()
    flat = (*shape[:axis], *shape[axis + 1 :])
    made = job.one(job.step.operator, value, place, dtype="int64", shape=flat, **said)
    if not job.said("keepdims", 1):
        return (made,)
    return (job.one("ExpandDims", made, job.sheet.constant(axis, "int32"), shape=job.shapes[0], Tdim=Kind("int32")),)


def _top(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    if job.axis(int(job.said("axis", -1)), value.rank) != value.rank - 1:
        raise job.refused("ranks along another axis than the last")
    count = job.cast(job.reshape(job.get(1), []), "int32")
    if not job.said("largest", 1):
        made = job.sheet.several(
            "TopKV2", unary(job, value, "Neg"), count, dtypes=[value.dtype, "int32"], T=Kind(value.dtype), sorted=True
        )
        first = unary(job, replace(made[0], shape=job.shapes[0]), "Neg")
    else:
        made = job.sheet.several(
            "TopKV2", value, count, dtypes=[value.dtype, "int32"], T=Kind(value.dtype), sorted=True
        )
        first = replace(made[0], shape=job.shapes[0])
    return first, job.cast(replace(made[1], shape=job.shapes[0]), "int64")


def _cumulated(job: Job) -> tuple[Operand, ...]:
    axis = job.cast(job.reshape(job.get(1), []), "int32")
    said: dict[str, Any] = {
        "Tidx": Kind("int32"),
        "exclusive": bool(job.said("exclusive", 0)),
        "reverse": bool(job.said("reverse", 0)),
    }
    return (job.one("Cumsum", job.get(0), axis, shape=job.get(0).shape, **said),)


def _unit(job: Job) -> tuple[Operand, ...]:
    value, p = job.get(0), int(job.said("p", 2))
    axis = job.axis(int(job.said("axis", -1)), value.rank)
    power = unary(job, value, "Abs") if p == 1 else binary(job, "Mul", value, value)
    said: dict[str, Any] = {"Tidx": Kind("int32"), "keep_dims": True}
    shape = tuple(1 if place == axis else length for place, length in enumerate(value.shape or ()))
    total = job.one("Sum", power, job.sheet.constant([axis], "int32"), shape=shape, **said)
    return (binary(job, "RealDiv", value, total if p == 1 else unary(job, total, "Sqrt")),)


WRITERS: Writers = {
    **{name: _plain(operation) for name, operation in _PLAIN.items()},
    "ArgMax": _arg,
    "ArgMin": _arg,
    "CumSum": _cumulated,
    "LpNormalization": _unit,
    "ReduceL1": _l1,
    "ReduceL2": _l2,
    "ReduceLogSum": _log_sum,
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceSumSquare": _square,
    "TopK": _top,
}
