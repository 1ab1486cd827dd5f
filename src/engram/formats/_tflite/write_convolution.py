"""Convolutions, with channels last as TFLite has them.

TFLite knows two paddings, none and the one that keeps the size; where the network has another, the input is padded
before. What a ConvTranspose cuts off, TFLite computes and a slice cuts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError
from engram.formats._tflite.draft import turned
from engram.formats._tflite.writing import LAST, Write, Writing
from engram.graphs.walk import Step

__all__ = ["SAME", "TABLE", "VALID", "Window", "padded", "window"]

SAME, VALID = 0, 1


@dataclass(frozen=True, slots=True)
class Window:
    """How a window moves over its input; one number a spatial axis.

    Attributes:
        kernel: its lengths.
        strides, dilations: of it.
        before, after: how much is added around the input.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def reach(self) -> tuple[int, ...]:
        """The lengths of the kernel with its gaps."""
        return tuple((size - 1) * gap + 1 for size, gap in zip(self.kernel, self.dilations, strict=True))


def window(node: Step, kernel: Sequence[int], lengths: Sequence[int], made: Sequence[int]) -> Window:
    """The window of a convolution or pool.

    Args:
        node: with ONNX's attributes.
        kernel: its lengths.
        lengths: of the input, spatial axes only.
        made: lengths of the output; they tell how far a window reaches over the end where sizes are rounded up.
    """
    count = len(kernel)
    strides = tuple(node.attributes.get("strides", [1] * count))
    dilations = tuple(node.attributes.get("dilations", [1] * count))
    bare = Window(tuple(kernel), strides, dilations, (0,) * count, (0,) * count)
    before, after = _pads(node, bare, lengths)
    if node.attributes.get("ceil_mode", 0):
        reached = zip(made, strides, bare.reach, lengths, before, strict=True)
        after = tuple(
            max((out - 1) * stride + reach - size - pad, low)
            for (out, stride, reach, size, pad), low in zip(reached, after, strict=True)
        )
    return Window(tuple(kernel), strides, dilations, before, after)


def _pads(node: Step, bare: Window, lengths: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    auto = node.attributes.get("auto_pad", "NOTSET")
    count = len(bare.kernel)
    if auto == "VALID":
        return (0,) * count, (0,) * count
    if auto in {"SAME_UPPER", "SAME_LOWER"}:
        totals = [
            _same(size, stride, reach) for size, stride, reach in zip(lengths, bare.strides, bare.reach, strict=True)
        ]
        less = tuple(total // 2 for total in totals)
        more = tuple(total - half for total, half in zip(totals, less, strict=True))
        return (less, more) if auto == "SAME_UPPER" else (more, less)
    pads = node.attributes.get("pads", [0] * (2 * count))
    return tuple(pads[:count]), tuple(pads[count:])


def _same(size: int, stride: int, reach: int) -> int:
    return max((math.ceil(size / stride) - 1) * stride + reach - size, 0)


def padded(writing: Writing, x: int, move: Window, *, filled: float = 0.0) -> tuple[int, int]:
    """The input with what the window wants around it, and TFLite's word for the rest of the padding.

    Args:
        writing: what is written so far.
        x: tensor, channels last.
        move: the window.
        filled: what stands around; a maximum wants minus infinity.

    Returns:
        The tensor, and ``SAME`` or ``VALID``.
    """
    lengths = writing.draft.shape(x)[1:-1]
    totals = [_same(size, stride, reach) for size, stride, reach in zip(lengths, move.strides, move.reach, strict=True)]
    less = tuple(total // 2 for total in totals)
    more = tuple(total - half for total, half in zip(totals, less, strict=True))
    if not any(move.before) and not any(move.after):
        return x, VALID
    if filled == 0.0 and (move.before, move.after) == (less, more):
        return x, SAME
    return pad(writing, x, [0, *move.before, 0], [0, *move.after, 0], filled), VALID


def pad(writing: Writing, x: int, before: Sequence[int], after: Sequence[int], filled: float = 0.0) -> int:
    """A tensor with more around it."""
    draft = writing.draft
    if min([*before, *after]) < 0:
        raise ConversionError(f"{draft.tensors[x].name!r} is padded by less than nothing, which TFLite cannot do")
    shape = [size if size < 0 else size + b + a for size, b, a in zip(draft.shape(x), before, after, strict=True)]
    around = draft.constant(np.array(list(zip(before, after, strict=True)), dtype=np.int32))
    if filled == 0.0:
        return draft.emit("PAD", [x, around], shape, draft.dtype(x))
    return draft.emit("PADV2", [x, around, writing.scalar(filled, draft.dtype(x))], shape, draft.dtype(x))


def _convolution(node: Step, writing: Writing) -> None:
    rank = len(writing.shape(node.inputs[0]))
    if rank == 5:
        _three(node, writing)
        return
    x = _planes(writing.get(node.inputs[0], LAST[rank]), writing)
    weights = _weights(node, writing)
    shape = writing.shape(node.inputs[1])
    groups = node.attributes.get("group", 1)
    lengths, made = writing.draft.shape(x)[1:-1], _spatial(writing.shape(node.outputs[0]))
    flat = _flat(node, shape)
    move = window(flat, _spatial(shape), lengths, made)
    x, padding = padded(writing, x, move)
    channels = writing.draft.shape(x)[-1]
    deep = groups == channels > 1 and shape[1] == 1
    options = {
        "padding": padding,
        "stride_h": move.strides[0],
        "stride_w": move.strides[1],
        "dilation_h_factor": move.dilations[0],
        "dilation_w_factor": move.dilations[1],
        "fused_activation_function": 0,
    }
    if deep:
        options["depth_multiplier"] = shape[0] // channels
    order = (1, 2, 3, 0) if deep else (0, 2, 3, 1)
    kernel = weights.transpose(order) if isinstance(weights, ndarray) else writing.draft.transpose(weights, order)
    filters = writing.draft.constant(kernel, node.inputs[1]) if isinstance(kernel, ndarray) else kernel
    bias = _bias(node, writing, shape[0])
    kind = "DEPTHWISE_CONV_2D" if deep else "CONV_2D"
    whole = turned(writing.shape(node.outputs[0]), LAST[rank])
    plane = whole if rank == 4 else (whole[0], 1, *whole[1:])
    answer = writing.draft.emit(kind, [x, filters, bias], plane, "float32", name=node.outputs[0], **options)
    writing.give(node.outputs[0], writing.draft.reshape(answer, whole), LAST[rank])


def _planes(x: int, writing: Writing) -> int:
    """A sequence as a plane of height one."""
    shape = writing.draft.shape(x)
    return x if len(shape) == 4 else writing.draft.reshape(x, (shape[0], 1, *shape[1:]))


def _spatial(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(shape[2:]) if len(shape) == 4 else (1, *shape[2:])


def _flat(node: Step, shape: Sequence[int]) -> Step:
    """A node over sequences as one over planes of height one."""
    if len(shape) == 4:
        return node
    found = dict(node.attributes)
    for name, fill in (("strides", 1), ("dilations", 1), ("kernel_shape", 1), ("output_padding", 0)):
        if name in found:
            found[name] = [fill, *found[name]]
    if "pads" in found:
        found["pads"] = [0, found["pads"][0], 0, found["pads"][1]]
    return Step(node.operator, node.name, node.inputs, node.outputs, found, node.domain)


def _weights(node: Step, writing: Writing) -> ndarray | int:
    """The weights over planes, (out, in, height, width): numbers where they are fixed, else a tensor."""
    held = writing.held(node.inputs[1])
    if held.array is not None:
        return held.array if held.rank == 4 else held.array[:, :, None]
    tensor = writing.draft.get(held)
    shape = held.shape
    return tensor if held.rank == 4 else writing.draft.reshape(tensor, (*shape[:2], 1, shape[2]))


def _bias(node: Step, writing: Writing, count: int) -> int:
    if len(node.inputs) > 2 and node.inputs[2]:
        return writing.get(node.inputs[2])
    return writing.draft.constant(np.zeros(count, np.float32), "zeros")


def _three(node: Step, writing: Writing) -> None:
    x = writing.get(node.inputs[0], LAST[5])
    shape = writing.shape(node.inputs[1])
    if node.attributes.get("group", 1) != 1:
        raise ConversionError(f"Conv {node.name!r} has groups over three axes, which TFLite has not")
    made = writing.shape(node.outputs[0])
    move = window(node, shape[2:], writing.draft.shape(x)[1:-1], made[2:])
    x, padding = padded(writing, x, move)
    kernel = writing.get(node.inputs[1], (2, 3, 4, 1, 0))
    options = {f"stride_{axis}": step for axis, step in zip("dhw", move.strides, strict=True)}
    options |= {f"dilation_{axis}_factor": gap for axis, gap in zip("dhw", move.dilations, strict=True)}
    tensors = [x, kernel, _bias(node, writing, shape[0])]
    writing.emit("CONV_3D", tensors, node, LAST[5], padding=padding, fused_activation_function=0, **options)


def _transposed(node: Step, writing: Writing) -> None:
    """A ConvTranspose: all that TFLite's makes without padding, cut to what is wanted."""
    rank, shape = len(writing.shape(node.inputs[0])), writing.shape(node.inputs[1])
    flat = _flat(node, shape)
    dilations = set(flat.attributes.get("dilations", [1]))
    if rank > 4 or flat.attributes.get("group", 1) != 1 or dilations != {1}:
        raise ConversionError(f"ConvTranspose {node.name!r} has groups, dilation or three axes, which TFLite has not")
    x = _planes(writing.get(node.inputs[0], LAST[rank]), writing)
    weights = _weights(node, writing)
    if not isinstance(weights, ndarray):
        raise ConversionError(f"ConvTranspose {node.name!r} has weights that are computed, which TFLite cannot take")
    lengths, made = writing.draft.shape(x)[1:-1], _spatial(writing.shape(node.outputs[0]))
    strides = flat.attributes.get("strides", [1, 1])
    kernel = _spatial(shape)
    full = [(size - 1) * step + reach for size, step, reach in zip(lengths, strides, kernel, strict=True)]
    cut = _cut(flat, full, made)
    larger = [max(size, low + wanted) for size, low, wanted in zip(full, cut, made, strict=True)]
    channels = shape[1]
    answer = _spread_out(writing, x, weights, larger, strides, flat)
    if tuple(larger) != tuple(made):
        answer = _window_of(writing, answer, cut, made)
    whole = turned(writing.shape(node.outputs[0]), LAST[rank])
    assert whole[-1] == channels
    writing.give(node.outputs[0], writing.draft.reshape(answer, whole, node.outputs[0]), LAST[rank])


def _spread_out(
    writing: Writing, x: int, weights: ndarray, larger: Sequence[int], strides: Sequence[int], node: Step
) -> int:
    draft, channels = writing.draft, weights.shape[1]
    batch = draft.shape(x)[0]
    if batch < 0:
        rest = draft.integers([*larger, channels])
        size = draft.emit("CONCATENATION", [draft.batch(x), rest], [4], "int32", axis=0, fused_activation_function=0)
    else:
        size = draft.integers([batch, *larger, channels])
    kernel = draft.constant(weights.transpose(1, 2, 3, 0), node.inputs[1])
    bias = _bias(node, writing, channels)
    options = {"padding": VALID, "stride_h": strides[0], "stride_w": strides[1], "fused_activation_function": 0}
    shape = (batch, *larger, channels)
    return draft.emit("TRANSPOSE_CONV", [size, kernel, x, bias], shape, "float32", name=node.outputs[0], **options)


def _cut(node: Step, full: Sequence[int], made: Sequence[int]) -> list[int]:
    """Where the wanted part begins in all that is made."""
    count = len(full)
    auto = node.attributes.get("auto_pad", "NOTSET")
    if auto in {"SAME_UPPER", "SAME_LOWER"} or "output_shape" in node.attributes:
        extra = node.attributes.get("output_padding", [0] * count)
        totals = [max(size + more - out, 0) for size, more, out in zip(full, extra, made, strict=True)]
        return [total // 2 if auto != "SAME_LOWER" else total - total // 2 for total in totals]
    pads: list[int] = list(node.attributes.get("pads", [0] * (2 * count)))
    return pads[:count]


def _window_of(writing: Writing, x: int, start: Sequence[int], lengths: Sequence[int]) -> int:
    draft = writing.draft
    shape = draft.shape(x)
    begin, end = [0, *start, 0], [0, *(low + size for low, size in zip(start, lengths, strict=True)), shape[-1]]
    bounds = [draft.integers(numbers) for numbers in (begin, end, [1, 1, 1, 1])]
    cut = (shape[0], *lengths, shape[-1])
    return draft.emit("STRIDED_SLICE", [x, *bounds], cut, draft.dtype(x), begin_mask=1, end_mask=1)


TABLE: Mapping[str, Write] = {"Conv": _convolution, "ConvTranspose": _transposed}
