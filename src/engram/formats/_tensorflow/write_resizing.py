"""Pictures made larger or smaller, where TensorFlow takes the same neighbors as ONNX."""

from __future__ import annotations

import math

from engram.formats._tensorflow.job import Job, Writers
from engram.formats._tensorflow.sheet import Operand, Shape
from engram.formats._tensorflow.write_convolution import channels_last, channels_second
from engram.formats._tensorflow.write_elementwise import binary
from engram.formats._tensorflow.write_shape import lengths, sliced

__all__ = ["WRITERS"]


def _resize(job: Job) -> tuple[Operand, ...]:
    value, shape = job.get(0), job.shapes[0]
    mode, where = job.said("mode", "nearest"), job.said("coordinate_transformation_mode", "half_pixel")
    if value.rank != 4 or shape is None or job.said("antialias", 0):
        raise job.refused("resizes what is no batch of pictures, or smooths before")
    sizes = _sizes(job, value, shape)
    laid = channels_last(value, job)
    kinds = {"nearest": "ResizeNearestNeighbor", "linear": "ResizeBilinear", "cubic": "ResizeBicubic"}
    corners, half = where == "align_corners", where in {"half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn"}
    if mode not in kinds or (not corners and not half and where != "asymmetric"):
        raise job.refused(f"resizes in mode {mode} at {where}")
    if mode == "nearest" and not _same_neighbor(job, value, shape, where):
        raise job.refused(f"takes the nearest by {job.said('nearest_mode', 'round_prefer_floor')} at {where}")
    if mode == "nearest" and not corners:
        half = where == "tf_half_pixel_for_nn"
    made = job.one(kinds[mode], laid, sizes, dtype=laid.dtype, align_corners=corners, half_pixel_centers=half)
    return (channels_second(job, made, shape),)


def _sizes(job: Job, value: Operand, shape: Shape) -> Operand:
    """The new lengths of both spatial axes."""
    known = (shape or ())[2:]
    if all(isinstance(axis, int) for axis in known):
        return job.sheet.constant(list(known), "int32")
    asked = job.maybe(3)
    if asked is not None:
        count = (asked.shape or (4,))[0]
        return job.cast(sliced(job, asked, 0, 2 if count == 4 else 0, 4 if count == 4 else 2), "int32")
    scales = job.get(2).constant
    if scales is None or not all(float(scale).is_integer() for scale in scales[-2:]):
        raise job.refused("grows an axis of unknown length by a factor that is not whole")
    before = lengths(job, value, [2, 3])
    return job.cast(
        binary(job, "Mul", before, job.sheet.constant([int(scale) for scale in scales[-2:]], "int64")), "int32"
    )


def _same_neighbor(job: Job, value: Operand, shape: Shape, where: str) -> bool:
    """Whether ONNX takes the neighbor that TensorFlow takes."""
    rounding = job.said("nearest_mode", "round_prefer_floor")
    if where == "asymmetric" and rounding == "floor":
        return True
    if where == "align_corners":
        return bool(rounding == "round_prefer_ceil")
    if where == "tf_half_pixel_for_nn":
        return bool(rounding == "floor")
    pairs = list(zip((value.shape or ())[2:], (shape or ())[2:], strict=True))
    scales = job.get(2).constant if job.maybe(2) is not None else None
    factors = (
        [float(s) for s in scales[-2:]]
        if scales is not None and scales.size
        else [(b / a if isinstance(a, int) and isinstance(b, int) else math.nan) for a, b in pairs]
    )
    if not all(factor.is_integer() for factor in factors):
        return False
    # growing by whole factors, every rounding but one gives each number its own square
    return where == "half_pixel" or (where == "asymmetric" and all(factor == 1 for factor in factors))


WRITERS: Writers = {
    "Resize": _resize,
}
