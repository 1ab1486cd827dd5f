"""Normalizations of ONNX, and the softmax, as TensorFlow has them."""

from __future__ import annotations

from typing import Any

from engram.formats._tensorflow.job import Job, Writers
from engram.formats._tensorflow.sheet import Kind, Operand
from engram.formats._tensorflow.values import inverse
from engram.formats._tensorflow.write_convolution import channels_last, channels_second
from engram.formats._tensorflow.write_elementwise import binary
from engram.formats._tensorflow.write_shape import joined, lengths

__all__ = ["WRITERS"]


def _batch_norm(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    vectors = [job.get(place) for place in range(1, 5)]
    if job.said("training_mode", 0):
        raise job.refused("normalizes by the batch")
    epsilon = float(job.said("epsilon", 1e-5))
    if value.rank == 4 and value.dtype == "float32":
        laid = channels_last(value, job)
        said: dict[str, Any] = {"U": Kind("float32"), "epsilon": epsilon, "is_training": False, "data_format": "NHWC"}
        made = job.sheet.several(
            "FusedBatchNormV3",
            laid,
            *vectors,
            dtypes=["float32"] * 6,
            T=Kind(laid.dtype),
            exponential_avg_factor=1.0,
            **said,
        )[0]
        return (channels_second(job, made, job.shapes[0]),)
    scale, offset, mean, variance = vectors
    spread = binary(job, "AddV2", variance, job.number(epsilon, variance))
    factor = binary(job, "Mul", job.one("Rsqrt", spread, shape=spread.shape), scale)
    rest = binary(job, "Sub", offset, binary(job, "Mul", mean, factor))
    if value.rank > 2:
        laid = job.sheet.plain(job.sheet.turned(value, (0, *range(2, value.rank), 1)))
        made = job.one("AddV2", job.one("Mul", laid, factor), rest)
        return (channels_second(job, made, job.shapes[0]),)
    return (binary(job, "AddV2", binary(job, "Mul", value, factor), rest),)


def _normalized(job: Job, value: Operand, axes: list[int], epsilon: float) -> tuple[Operand, Operand, Operand]:
    """A value with mean 0 and variance 1 over some axes; the mean; one over the deviation."""
    places = job.sheet.constant(axes, "int32")
    said: dict[str, Any] = {"Tidx": Kind("int32"), "keep_dims": True}
    shape = tuple(1 if place in axes else axis for place, axis in enumerate(value.shape or ()))
    mean = job.one("Mean", value, places, shape=shape, **said)
    apart = binary(job, "Sub", value, mean)
    square = binary(job, "Mul", apart, apart)
    spread = job.one("Mean", square, places, shape=shape, **said)
    factor = job.one("Rsqrt", binary(job, "AddV2", spread, job.number(epsilon, spread)), shape=shape)
    return binary(job, "Mul", apart, factor), mean, factor


def _layer_norm(job: Job) -> tuple[Operand, ...]:
    value = job.sheet.plain(job.get(0))
    first = job.axis(int(job.said("axis", -1)), value.rank)
    made, mean, factor = _normalized(job, value, list(range(first, value.rank)), float(job.said("epsilon", 1e-5)))
    made = binary(job, "Mul", made, job.get(1))
    bias = job.maybe(2)
    made = binary(job, "AddV2", made, bias) if bias is not None else made
    return (made, mean, factor)[: len(job.step.outputs)]


def _instance_norm(job: Job) -> tuple[Operand, ...]:
    value = job.sheet.plain(job.get(0))
    made, _, _ = _normalized(job, value, list(range(2, value.rank)), float(job.said("epsilon", 1e-5)))
    ends = [
        job.reshape(
            job.get(place), [-1, *[1] * (value.rank - 2)], ((value.shape or (0, 1))[1], *[1] * (value.rank - 2))
        )
        for place in (1, 2)
    ]
    return (binary(job, "AddV2", binary(job, "Mul", made, ends[0]), ends[1]),)


def _group_norm(job: Job) -> tuple[Operand, ...]:
    value = job.sheet.plain(job.get(0))
    groups, channels = int(job.said("num_groups")), (value.shape or (0, 0))[1]
    if not isinstance(channels, int):
        raise job.refused("has an unknown number of channels")
    ahead = joined(job, [lengths(job, value, [0]), job.sheet.constant([groups, -1], "int64")], 0)
    flat = job.reshape(value, ahead, ((value.shape or ("?",))[0], groups, "?"))
    made, _, _ = _normalized(job, flat, [2], float(job.said("epsilon", 1e-5)))
    whole = job.reshape(made, lengths(job, value, list(range(value.rank))), value.shape)
    ends = [job.reshape(job.get(place), [channels, *[1] * (value.rank - 2)]) for place in (1, 2)]
    return (binary(job, "AddV2", binary(job, "Mul", whole, ends[0]), ends[1]),)


def _softmax(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    axis = job.axis(int(job.said("axis", -1)), value.rank)
    if axis == value.rank - 1:
        return (job.one(job.step.operator, value, shape=value.shape),)
    order = (*(i for i in range(value.rank) if i != axis), axis)
    laid = job.sheet.turned(value, order)
    made = job.one(job.step.operator, laid, shape=laid.shape)
    return (job.sheet.turned(made, inverse(order)),)


def _lrn(job: Job) -> tuple[Operand, ...]:
    size = int(job.said("size"))
    if size % 2 == 0:
        raise job.refused(f"normalizes over {size} channels, an even number")
    laid = channels_last(job.get(0), job)
    said: dict[str, Any] = {"depth_radius": size // 2, "bias": float(job.said("bias", 1.0))}
    said |= {"alpha": float(job.said("alpha", 1e-4)) / size, "beta": float(job.said("beta", 0.75))}
    return (channels_second(job, job.one("LRN", laid, **said), job.shapes[0]),)


WRITERS: Writers = {
    "BatchNormalization": _batch_norm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _lrn,
    "LayerNormalization": _layer_norm,
    "LogSoftmax": _softmax,
    "Softmax": _softmax,
}
