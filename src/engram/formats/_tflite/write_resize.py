"""Resize: TFLite's own two where they sample at the same places, else a choice of rows and columns."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError
from engram.formats._tflite.draft import natural, turned
from engram.formats._tflite.writing import LAST, Write, Writing
from engram.graphs.walk import Step

__all__ = ["TABLE"]


def _resize(node: Step, writing: Writing) -> None:
    shape, target = writing.shape(node.inputs[0]), writing.shape(node.outputs[0])
    if shape == target:
        writing.alias(node.outputs[0], node.inputs[0])
        return
    mode = node.attributes.get("mode", "nearest")
    if mode == "nearest":
        _nearest(node, writing)
    elif mode == "linear" and len(shape) == 4 and shape[:2] == target[:2]:
        _linear(node, writing)
    else:
        raise ConversionError(f"Resize {node.name!r} is {mode} over {len(shape)} axes, which TFLite has not")


def _nearest(node: Step, writing: Writing) -> None:
    """Entries of each axis that changes, chosen by number: right for every way of rounding."""
    shape, target = writing.shape(node.inputs[0]), writing.shape(node.outputs[0])
    layout, draft = writing.any_layout(node.inputs[0]), writing.draft
    x = writing.get(node.inputs[0], layout)
    for axis, (before, after) in enumerate(zip(shape, target, strict=True)):
        if before != after:
            inside = layout.index(axis)
            made = [after if place == inside else size for place, size in enumerate(draft.shape(x))]
            places = draft.constant(_rounded(node, writing, axis, before, after))
            x = draft.emit("GATHER", [x, places], made, draft.dtype(x), axis=inside, batch_dims=0)
    writing.give(node.outputs[0], x, layout)


def _rounded(node: Step, writing: Writing, axis: int, before: int, after: int) -> ndarray:
    """Which entry of an axis each entry of the answer is, as ONNX defines it."""
    scale = _scale(node, writing, axis, before, after)
    spots = np.arange(after, dtype=np.float64)
    match node.attributes.get("coordinate_transformation_mode", "half_pixel"):
        case "asymmetric":
            spots = spots / scale
        case "align_corners":
            spots = spots * (before - 1) / max(after - 1, 1)
        case "half_pixel":
            spots = (spots + 0.5) / scale - 0.5
        case "pytorch_half_pixel":
            spots = (spots + 0.5) / scale - 0.5 if after > 1 else np.zeros(1)
        case other:
            raise ConversionError(f"Resize {node.name!r} samples in the way {other}, which is not written")
    match node.attributes.get("nearest_mode", "round_prefer_floor"):
        case "floor":
            spots = np.floor(spots)
        case "ceil":
            spots = np.ceil(spots)
        case "round_prefer_ceil":
            spots = np.floor(spots + 0.5)
        case _:
            spots = np.ceil(spots - 0.5)
    return spots.clip(0, before - 1).astype(np.int32)


def _scale(node: Step, writing: Writing, axis: int, before: int, after: int) -> float:
    scales = writing.option(node, 2 if node.operator == "Resize" else 1, "the scales")
    axes = node.attributes.get("axes")
    if scales is None or not scales.size:
        return after / before
    order = list(range(len(writing.shape(node.inputs[0])))) if axes is None else list(axes)
    return float(scales[order.index(axis)]) if axis in order else 1.0


def _linear(node: Step, writing: Writing) -> None:
    way = node.attributes.get("coordinate_transformation_mode", "half_pixel")
    shape, target = writing.shape(node.inputs[0]), writing.shape(node.outputs[0])
    for axis in (2, 3):
        scale = _scale(node, writing, axis, shape[axis], target[axis])
        if abs(scale * shape[axis] - target[axis]) > 1e-4:
            raise ConversionError(f"Resize {node.name!r} has a scale that does not lead to whole lengths")
    corners, half = way == "align_corners", way in {"half_pixel", "pytorch_half_pixel"}
    if (not corners and not half and way != "asymmetric") or node.attributes.get("antialias", 0):
        raise ConversionError(f"Resize {node.name!r} samples in the way {way} or antialiased, which TFLite has not")
    x = writing.get(node.inputs[0], LAST[4])
    lengths = writing.draft.integers(target[2:])
    writing.emit("RESIZE_BILINEAR", [x, lengths], node, LAST[4], align_corners=corners, half_pixel_centers=half)


TABLE: Mapping[str, Write] = {"Resize": _resize, "Upsample": _resize}
_ = natural, turned
