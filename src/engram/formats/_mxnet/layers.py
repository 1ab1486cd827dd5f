"""Layers that hold what was learned, and those between them.

MXNet has channels first and its weights as ONNX wants them, so most of this is a matter of words. ``BatchNorm`` ignores
its scale where ``fix_gamma`` says so, which is the default: the scale in the graph is then 1, and the parameter stays
with the others that no operator uses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from engram.formats._mxnet.task import Draw, Drawn, Misfit, Task, Unsized

__all__ = ["TABLE"]

_LAYOUTS = {"None", "NCW", "NCHW", "NCDHW"}
_CONVENTIONS = {"valid", "full"}


def _dense(task: Task) -> Drawn:
    sheet, value, weight = task.sheet, task.value(), task.weight(1)
    bias = () if task.truth("no_bias") else (task.weight(2),)
    wanted = sheet.shape(weight)[1]
    if not task.truth("flatten", default=True) and sheet.rank(value) != 2:
        _fitting(task, sheet.shape(value)[-1], wanted)
        made = sheet.node("MatMul", value, sheet.turned(weight, [1, 0]))
        return sheet.node("Add", made, bias[0]) if bias else made
    lengths = sheet.shape(value)[1:]
    _fitting(task, None if None in lengths else math.prod(length or 0 for length in lengths), wanted)
    flat = value if len(lengths) == 1 else sheet.node("Flatten", value, axis=1)
    return sheet.node("Gemm", flat, weight, *bias, transB=1)


def _fitting(task: Task, found: int | None, wanted: int | None) -> None:
    """Whether as many features come in as the weights take."""
    if found is None and task.drawing.strict:
        raise Unsized(f"FullyConnected {task.node.name!r} takes {wanted} features; the file does not say of what size")
    if found is not None and wanted is not None and found != wanted:
        text = f"FullyConnected {task.node.name!r} takes {wanted} features, but {found} come in"
        raise Misfit(text, found, wanted)


def _window(task: Task, rank: int, keys: Mapping[str, tuple[str, int]]) -> dict[str, list[int]]:
    """Settings of a sliding window under ONNX's names, one number an axis."""
    made = {}
    for word, (key, usual) in keys.items():
        found = task.wholes(key) or (usual,) * rank
        if len(found) != rank or any(one < usual for one in found):
            raise task.refused(f"has {key} = {found}, but slides over {rank} axes, at least {usual} on each")
        made[word] = list(found)
    return made


_CONVOLVED = {"kernel_shape": ("kernel", 1), "strides": ("stride", 1), "dilations": ("dilate", 1), "pads": ("pad", 0)}


def _convolved(task: Task) -> dict[str, Any]:
    task.word("layout", "None", _LAYOUTS)
    rank = task.sheet.rank(task.weight(1)) - 2
    found = _window(task, rank, _CONVOLVED)
    return {**found, "pads": found["pads"] * 2, "group": task.whole("num_group", 1)}


def _convolution(task: Task) -> Drawn:
    bias = () if task.truth("no_bias") else (task.weight(2),)
    settings = _convolved(task)
    reach = [(k - 1) * d + 1 for k, d in zip(settings["kernel_shape"], settings["dilations"], strict=True)]
    _within(task, reach, settings["pads"])
    return task.sheet.node("Conv", task.value(), task.weight(1), *bias, **settings)


def _within(task: Task, reach: list[int], pads: list[int]) -> None:
    """Refuse a window that is larger than what it slides over; onnx finds a length for its answer all the same."""
    for length, window, pad in zip(task.sheet.shape(task.value())[2:], reach, pads, strict=False):
        if length is not None and window > length + 2 * pad:
            raise task.refused(f"slides a window of {window} over {length} with {pad} at either end")


def _deconvolution(task: Task) -> Drawn:
    bias = () if task.truth("no_bias", default=True) else (task.weight(2),)
    if any(task.wholes("target_shape")):
        raise task.refused("is given the size of its answer (target_shape), which is not read")
    settings = _convolved(task)
    more = _window(task, len(settings["strides"]), {"output_padding": ("adj", 0)})
    return task.sheet.node("ConvTranspose", task.value(), task.weight(1), *bias, **settings, **more)


def _pooling(task: Task) -> Drawn:
    task.word("layout", "None", _LAYOUTS)
    sheet, value = task.sheet, task.value()
    kind = task.word("pool_type", "max", {"max", "avg", "sum", "lp"})
    rank = sheet.rank(value) - 2
    if task.truth("global_pool"):
        if kind == "sum":
            return sheet.node("ReduceSum", value, sheet.constant(list(range(2, rank + 2)), "int64"))
        return sheet.node({"max": "GlobalMaxPool", "avg": "GlobalAveragePool"}.get(kind, "GlobalLpPool"), value)
    found = _window(task, rank, {key: _CONVOLVED[key] for key in ("kernel_shape", "strides", "pads")})
    found["pads"] = found["pads"] * 2
    full = task.word("pooling_convention", "valid", _CONVENTIONS) == "full"
    if not full:
        _within(task, found["kernel_shape"], found["pads"])
    if full and kind in {"sum", "lp"}:
        raise task.refused(f"is a {kind} of windows that reach beyond the end, which is not read")
    if full and kind == "avg" and _beyond(sheet.shape(value)[2:], found):
        raise task.refused("is a mean of windows that lie wholly beyond the end, which is not read")
    if full and kind == "max" and _beyond(sheet.shape(value)[2:], found):
        return sheet.node("MaxPool", value, **_reaching(sheet.shape(value)[2:], found))
    more: dict[str, Any] = {**found, "ceil_mode": int(full)}
    if kind == "max":
        return sheet.node("MaxPool", value, **more)
    if kind == "lp":
        return sheet.node("LpPool", value, **found, p=task.whole("p_value", 2))
    counted = task.truth("count_include_pad", default=True) or kind == "sum"
    made = sheet.node("AveragePool", value, **more, count_include_pad=int(counted))
    return sheet.node("Mul", made, sheet.like(math.prod(found["kernel_shape"]), made)) if kind == "sum" else made


def _windows(length: int, at: int, found: Mapping[str, list[int]]) -> int:
    """How many windows MXNet puts on an axis in its convention ``full``."""
    kernel, stride, pad = found["kernel_shape"][at], found["strides"][at], found["pads"][at]
    return 1 + max(-((kernel - length - 2 * pad) // stride), 0)


def _beyond(lengths: tuple[int | None, ...], found: Mapping[str, list[int]]) -> bool:
    """Whether the last window of an axis begins behind its last number, where ONNX leaves it out."""
    return any(
        length is not None and (_windows(length, at, found) - 1) * found["strides"][at] >= length + found["pads"][at]
        for at, length in enumerate(lengths)
    )


def _reaching(lengths: tuple[int | None, ...], found: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """The same window with its padding at the end made as long as it reaches."""
    rank, pads = len(lengths), list(found["pads"])
    for at, length in enumerate(lengths):
        if length is not None:
            end = (_windows(length, at, found) - 1) * found["strides"][at] + found["kernel_shape"][at]
            pads[rank + at] = max(end - length - pads[at], pads[at])
    return {**found, "pads": pads}


def _batch_norm(task: Task) -> Drawn:
    if task.truth("output_mean_var"):
        raise task.refused("answers with mean and variance too (output_mean_var), which is not read")
    sheet, value = task.sheet, task.value()
    rank = sheet.rank(value)
    axis = task.axis("axis", 1, rank)
    order = [0, axis, *(other for other in range(1, rank) if other != axis)] if rank > 1 else [0]
    scale, shift, mean, variance = (task.weight(place) for place in range(1, 5))
    if task.truth("fix_gamma", default=True):
        scale = sheet.like(np.ones(sheet.shape(mean)), mean)
    made = sheet.node(
        "BatchNormalization", sheet.turned(value, order), scale, shift, mean, variance,
        epsilon=task.number("eps", 1e-3), momentum=task.number("momentum", 0.9),
    )  # fmt: skip
    return sheet.turned(made, [order.index(other) for other in range(rank)])


def _layer_norm(task: Task) -> Drawn:
    if task.truth("output_mean_var"):
        raise task.refused("answers with mean and deviation too (output_mean_var), which is not read")
    sheet, value = task.sheet, task.value()
    rank = sheet.rank(value)
    axis = task.axis("axis", -1, rank)
    order = [*(other for other in range(rank) if other != axis), axis]
    turned = sheet.turned(value, order)
    made = sheet.node(
        "LayerNormalization", turned, task.weight(1), task.weight(2), axis=-1, epsilon=task.number("eps", 1e-5)
    )
    return sheet.turned(made, [order.index(other) for other in range(rank)])


def _instance_norm(task: Task) -> Drawn:
    epsilon = task.number("eps", 1e-3)
    return task.sheet.node("InstanceNormalization", task.value(), task.weight(1), task.weight(2), epsilon=epsilon)


def _group_norm(task: Task) -> Drawn:
    """One scale a group in some releases, one a channel in others; the length of the parameter tells which."""
    sheet, value, scale, shift = task.sheet, task.value(), task.weight(1), task.weight(2)
    groups, epsilon = task.whole("num_groups", 1), task.number("eps", 1e-5)
    if sheet.shape(scale) != (groups,) or sheet.shape(value)[1] == groups:
        return sheet.node("GroupNormalization", value, scale, shift, num_groups=groups, epsilon=epsilon)
    flat = sheet.reshaped(value, [0, groups, -1])
    made = sheet.node("InstanceNormalization", flat, scale, shift, epsilon=epsilon)
    return sheet.told(sheet.node("Reshape", made, sheet.node("Shape", value)), sheet.shape(value))


def _unit_length(task: Task) -> Drawn:
    sheet, value = task.sheet, task.value()
    last = sheet.rank(value)
    axes = {"instance": range(1, last), "channel": range(1, 2), "spatial": range(2, last)}
    found = list(axes[task.word("mode", "instance", axes)])
    total = sheet.node("ReduceSumSquare", value, sheet.constant(found, "int64"))
    root = sheet.node("Sqrt", sheet.node("Add", total, sheet.like(task.number("eps", 1e-10), value)))
    return sheet.node("Div", value, root)


def _neighbors(task: Task) -> Drawn:
    return task.sheet.node(
        "LRN", task.value(), size=task.whole("nsize"), alpha=task.number("alpha", 1e-4),
        beta=task.number("beta", 0.75), bias=task.number("knorm", 2.0),
    )  # fmt: skip


def _dropout(task: Task) -> Drawn:
    if task.word("mode", "training", {"training", "always"}) == "always" or task.wholes("axes"):
        raise task.refused("drops when it answers, or whole axes, which is not read")
    return task.sheet.node("Dropout", task.value(), task.sheet.constant(np.float32(task.number("p", 0.5))))


def _embedding(task: Task) -> Drawn:
    """MXNet takes the nearest row there is for a number beyond the table."""
    table = task.weight(1)
    return task.sheet.node("Gather", table, _rows(task, task.value(), task.sheet.shape(table)[0]))


def _take(task: Task) -> Drawn:
    sheet, table = task.sheet, task.value()
    task.word("mode", "clip", {"clip"})
    axis = task.axis("axis", 0, sheet.rank(table))
    length = sheet.shape(table)[axis]
    if length is None:
        raise task.refused("takes from an axis whose length is not known, which is not read")
    return sheet.node("Gather", table, _rows(task, task.value(1), length), axis=axis)


def _rows(task: Task, value: str, count: int | None) -> str:
    sheet = task.sheet
    bounds = [sheet.like(number, value) for number in (0, (count or 1) - 1)]
    return sheet.cast(sheet.node("Clip", value, *bounds), "int64")


def _softmax(operator: str) -> Draw:
    def draw(task: Task) -> Drawn:
        sheet, value = task.sheet, task.value()
        if task.truth("use_length") or len(task.inputs) > 1:
            raise task.refused("is told how long each row is (use_length), which is not read")
        temperature = task.said("temperature", None)
        if temperature is not None:
            value = sheet.node("Div", value, sheet.like(task.number("temperature", 1.0), value))
        return sheet.node(operator, value, axis=task.axis("axis", -1, sheet.rank(value)))

    return draw


def _softmax_activation(task: Task) -> Drawn:
    if task.word("mode", "instance", {"instance", "channel"}) == "instance" and task.sheet.rank(task.value()) != 2:
        raise task.refused("is over all of a row at once, which is only read of two axes")
    return task.sheet.node("Softmax", task.value(), axis=1)


def _softmax_output(task: Task) -> Drawn:
    """The label is what it learns from; an answer does not depend on it."""
    sheet, value = task.sheet, task.value()
    if task.truth("multi_output"):
        return sheet.node("Softmax", value, axis=1)
    if not task.truth("preserve_shape") and sheet.rank(value) != 2:
        raise task.refused("is over all of a row at once, which is only read of two axes")
    return sheet.node("Softmax", value, axis=-1)


TABLE: Mapping[str, Draw] = {
    "FullyConnected": _dense,
    "Convolution": _convolution,
    "Convolution_v1": _convolution,
    "Deconvolution": _deconvolution,
    "Pooling": _pooling,
    "Pooling_v1": _pooling,
    "BatchNorm": _batch_norm,
    "BatchNorm_v1": _batch_norm,
    "LayerNorm": _layer_norm,
    "InstanceNorm": _instance_norm,
    "GroupNorm": _group_norm,
    "L2Normalization": _unit_length,
    "LRN": _neighbors,
    "Dropout": _dropout,
    "Embedding": _embedding,
    "take": _take,
    "softmax": _softmax("Softmax"),
    "log_softmax": _softmax("LogSoftmax"),
    "SoftmaxActivation": _softmax_activation,
    "SoftmaxOutput": _softmax_output,
    "Softmax": _softmax_output,
}
