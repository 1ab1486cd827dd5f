"""Pools: the largest or the mean of what a window sees."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engram.errors import ConversionError
from engram.formats._tflite.draft import turned
from engram.formats._tflite.write_convolution import SAME, Window, pad, padded, window
from engram.formats._tflite.writing import LAST, Write, Writing
from engram.graphs.walk import Step

__all__ = ["TABLE"]

_LOWEST = float(np.finfo(np.float32).min)


def _opened(node: Step, writing: Writing) -> tuple[int, Window, tuple[int, ...]]:
    """The input with channels last as planes, the window over it, and the shape of the planes that are made."""
    shape = writing.shape(node.inputs[0])
    rank = len(shape)
    if rank > 4:
        raise ConversionError(f"{node.operator} {node.name!r} goes over three axes, which TFLite has not")
    x = writing.get(node.inputs[0], LAST[rank])
    found = dict(node.attributes)
    if rank == 3:
        cut = writing.draft.shape(x)
        x = writing.draft.reshape(x, (cut[0], 1, *cut[1:]))
        found = {k: [1, *v] if k in {"kernel_shape", "strides", "dilations"} else v for k, v in found.items()}
        if "pads" in found:
            found["pads"] = [0, found["pads"][0], 0, found["pads"][1]]
    flat = Step(node.operator, node.name, node.inputs, node.outputs, found, node.domain)
    whole = turned(writing.shape(node.outputs[0]), LAST[rank])
    made = whole if rank == 4 else (whole[0], 1, *whole[1:])
    move = window(flat, found["kernel_shape"], writing.draft.shape(x)[1:-1], made[1:-1])
    if set(move.dilations) != {1}:
        raise ConversionError(f"{node.operator} {node.name!r} is dilated, which TFLite has not")
    return x, move, made


def _put(node: Step, writing: Writing, kind: str, x: int, move: Window, made: tuple[int, ...], padding: int) -> int:
    options = {"padding": padding, "fused_activation_function": 0}
    options |= {"stride_h": move.strides[0], "stride_w": move.strides[1]}
    options |= {"filter_height": move.kernel[0], "filter_width": move.kernel[1]}
    return writing.draft.emit(kind, [x], made, "float32", name=node.outputs[0], **options)


def _give(node: Step, writing: Writing, answer: int) -> None:
    rank = len(writing.shape(node.outputs[0]))
    whole = turned(writing.shape(node.outputs[0]), LAST[rank])
    writing.give(node.outputs[0], writing.draft.reshape(answer, whole), LAST[rank])


def _largest(node: Step, writing: Writing) -> None:
    if len(node.outputs) > 1 and node.outputs[1]:
        raise ConversionError(f"MaxPool {node.name!r} says where the largest was, which TFLite does not")
    x, move, made = _opened(node, writing)
    same, padding = padded(writing, x, move)
    if padding != SAME:  # zeros around would win over negative numbers
        same, padding = padded(writing, x, move, filled=_LOWEST)
    _give(node, writing, _put(node, writing, "MAX_POOL_2D", same, move, made, padding))


def _average(node: Step, writing: Writing) -> None:
    x, move, made = _opened(node, writing)
    counted = bool(node.attributes.get("count_include_pad", 0))
    around = any(move.before) or any(move.after)
    if not around:
        _give(node, writing, _put(node, writing, "AVERAGE_POOL_2D", x, move, made, 1))
        return
    if not counted and padded(writing, x, move)[1] == SAME:
        _give(node, writing, _put(node, writing, "AVERAGE_POOL_2D", x, move, made, SAME))
        return
    lengths = writing.draft.shape(x)[1:-1]
    wide = pad(writing, x, [0, *move.before, 0], [0, *move.after, 0])
    answer = _put(node, writing, "AVERAGE_POOL_2D", wide, move, made, 1)
    share = _shares(node, move, lengths, made[1:-1], counted)
    if (share != 1).any():
        factor = writing.draft.constant(share[None, :, :, None])
        answer = writing.draft.emit("MUL", [answer, factor], made, "float32", fused_activation_function=0)
    _give(node, writing, answer)


def _shares(node: Step, move: Window, lengths: tuple[int, ...], made: tuple[int, ...], counted: bool) -> np.ndarray:
    """What a mean over whole windows must be multiplied by where only a part of a window counts, (height, width)."""
    parts = []
    pads = node.attributes.get("pads", [0] * 4)
    for axis, (size, out) in enumerate(zip(lengths, made, strict=True)):
        end = size + (pads[len(pads) // 2 :][axis - 2] if counted else 0)
        low = -move.before[axis] if counted else 0
        starts = np.arange(out) * move.strides[axis] - move.before[axis]
        inside = np.minimum(starts + move.kernel[axis], end) - np.maximum(starts, low)
        parts.append(move.kernel[axis] / inside)
    return np.asarray(np.outer(*parts), dtype=np.float32)


def _whole(kind: str) -> Write:
    """The pool over everything: a reduction that keeps its axes."""

    def write(node: Step, writing: Writing) -> None:
        rank = len(writing.shape(node.inputs[0]))
        layout = writing.any_layout(node.inputs[0])
        axes = writing.draft.integers([layout.index(axis) for axis in range(2, rank)])
        writing.emit(kind, [writing.get(node.inputs[0], layout), axes], node, layout, keep_dims=True)

    return write


TABLE: Mapping[str, Write] = {
    "MaxPool": _largest,
    "AveragePool": _average,
    "GlobalAveragePool": _whole("MEAN"),
    "GlobalMaxPool": _whole("REDUCE_MAX"),
}
