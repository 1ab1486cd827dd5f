"""Pools of ONNX as TensorFlow has them: channels last, and padded beforehand where TensorFlow pads otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from engram.formats._tensorflow.job import Job, Writers
from engram.formats._tensorflow.sheet import Kind, Operand
from engram.formats._tensorflow.write_convolution import amounts, channels_last, channels_second, inserted
from engram.formats._tensorflow.write_filling import padded

__all__ = ["WRITERS"]


def _pool(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    spatial = value.rank - 2
    kernel = [int(number) for number in job.said("kernel_shape")]
    strides = [int(number) for number in job.said("strides", [1] * spatial)]
    if (
        spatial not in {1, 2, 3}
        or any(int(n) != 1 for n in job.said("dilations", [1] * spatial))
        or len(job.step.outputs) > 1
    ):
        raise job.refused(f"pools {spatial} axes with dilation, or tells where")
    laid = channels_last(value, job)
    pairs = amounts(job, spatial, kernel, strides)
    if isinstance(pairs, list) and job.said("ceil_mode", 0):
        pairs = [_ceiling(job, laid, i, (kernel[i], strides[i]), pair) for i, pair in enumerate(pairs)]
    maximum = job.step.operator == "MaxPool"
    if isinstance(pairs, str) or not any(any(pair) for pair in pairs):
        made = _pooled(job, laid, (kernel, strides, pairs if isinstance(pairs, str) else "VALID"), maximum=maximum)
        return (channels_second(job, made, job.shapes[0]),)
    whole = [[0, 0], *pairs, [0, 0]]
    how = (kernel, strides, "VALID")
    if maximum:
        lowest = job.number(-np.inf if laid.dtype.startswith("float") else 0, laid)
        made = _pooled(job, padded(job, laid, whole, filler=lowest), how, maximum=True)
        return (channels_second(job, made, job.shapes[0]),)
    made = _pooled(job, padded(job, laid, whole), how, maximum=False)
    return (channels_second(job, _counted(job, made, laid, whole, how), job.shapes[0]),)


def _ceiling(job: Job, laid: Operand, axis: int, how: tuple[int, int], pair: list[int]) -> list[int]:
    """More at the end, so that a last window that begins inside is taken along."""
    length = (laid.shape or ())[axis + 1]
    if not isinstance(length, int):
        raise job.refused("rounds up on an axis of unknown length")
    window, stride = how
    whole = length + sum(pair)
    count = -(-(whole - window) // stride) + 1
    if (count - 1) * stride >= length + pair[0]:
        count -= 1
    return [pair[0], pair[1] + max((count - 1) * stride + window - whole, 0)]


def _counted(
    job: Job, made: Operand, laid: Operand, pairs: list[list[int]], how: tuple[list[int], list[int], str]
) -> Operand:
    """An average over what is there, where the node does not count what was padded."""
    own = [int(number) for number in job.said("pads", [0] * (2 * (laid.rank - 2)))]
    counted = bool(job.said("count_include_pad", 0))
    shape = (laid.shape or ())[1:-1]
    if not all(isinstance(axis, int) for axis in shape):
        raise job.refused("averages at the ends of an axis of unknown length")
    inside = np.ones([1, *(int(axis) for axis in shape), 1], laid.dtype)
    spatial = len(shape)
    if counted:
        ends = [[0, 0], *[[own[i], own[i + spatial]] for i in range(spatial)], [0, 0]]
        inside = np.pad(inside, ends, constant_values=1)
        rest = [[0, pair[1] - end[1]] for pair, end in zip(pairs, ends, strict=True)]
        inside = np.pad(inside, rest)
    else:
        inside = np.pad(inside, pairs)
    share = _pooled(job, job.sheet.constant(inside), how, maximum=False)
    return job.one("RealDiv", made, share)


def _pooled(job: Job, laid: Operand, how: tuple[list[int], list[int], str], *, maximum: bool) -> Operand:
    kernel, strides, padding = how
    if len(kernel) == 1:
        rank3 = job.one(
            "ExpandDims", laid, job.sheet.constant(1, "int32"), shape=inserted(laid.shape), Tdim=Kind("int32")
        )
        made = _pooled(job, rank3, ([1, *kernel], [1, *strides], padding), maximum=maximum)
        return job.one("Squeeze", made, squeeze_dims=[1])
    name = ("MaxPool" if maximum else "AvgPool") + ("3D" if len(kernel) == 3 else "")
    layout = "NDHWC" if len(kernel) == 3 else "NHWC"
    said: dict[str, Any] = {
        "ksize": [1, *kernel, 1],
        "strides": [1, *strides, 1],
        "padding": padding,
        "data_format": layout,
    }
    if name == "MaxPool":
        said["explicit_paddings"] = []
    return job.one(name, laid, **said)


def _global_pool(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    stored = job.sheet.stored(value)
    axes = [value.turn[axis] if value.turn else axis for axis in range(2, value.rank)]
    operation = "Max" if job.step.operator == "GlobalMaxPool" else "Mean"
    made = job.one(operation, stored, job.sheet.constant(sorted(axes), "int32"), Tidx=Kind("int32"), keep_dims=True)
    if not value.turn:
        return (replace(made, shape=job.shapes[0]),)
    back = tuple(1 if place in axes else axis for place, axis in enumerate(stored.shape or ()))
    return (job.sheet.turned(replace(made, shape=back), value.turn),)


WRITERS: Writers = {
    "AveragePool": _pool,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "MaxPool": _pool,
}
