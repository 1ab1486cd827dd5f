"""Convolutions and poolings.

Keras keeps channels last and kernels as (lengths…, inputs, filters); ONNX has channels second. The input is turned
before and the output after, and the kernel in the graph, so that weights stay as Keras has them. Which end of an axis
gets the odd zero of ``same`` is TensorFlow's rule (the later one), written out where the length is known; Keras on
torch averages over such zeros as well, and is not followed there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engram.formats._keras.kind import Drawn, Kind, Task, Variable
from engram.formats._keras.layers_dense import activated, kernel_and_bias

__all__ = ["KINDS", "back", "first"]


def first(task: Task, value: str) -> str:
    """The value with channels second."""
    if task.text("data_format", "channels_last") == "channels_first":
        return value
    rank = task.sheet.rank(value)
    return task.sheet.turned(value, [0, rank - 1, *range(1, rank - 1)])


def back(task: Task, value: str) -> str:
    """The value as the layer has it, from channels second."""
    if task.text("data_format", "channels_last") == "channels_first":
        return value
    rank = task.sheet.rank(value)
    return task.sheet.turned(value, [0, *range(2, rank), 1])


def _pads(task: Task, value: str, sizes: list[int], strides: list[int], dilations: list[int]) -> dict[str, Any]:
    """Zeros at both ends of each axis of a value that has channels second."""
    word = task.text("padding", "valid", ("valid", "same", "causal"))
    reach = [(size - 1) * dilation + 1 for size, dilation in zip(sizes, dilations, strict=True)]
    if word == "valid":
        return {"pads": [0] * (2 * len(sizes))}
    if word == "causal":
        return {"pads": [reach[0] - 1, 0]}
    lengths = task.sheet.shape(value)[2:]
    if any(length is None for length in lengths) and any(stride > 1 for stride in strides):
        return {"auto_pad": "SAME_UPPER"}
    known = [length or 1 for length in lengths]  # with steps of one, the length does not matter
    missing = [
        max((-(-length // stride) - 1) * stride + size - length, 0)
        for length, stride, size in zip(known, strides, reach, strict=True)
    ]
    return {"pads": [number // 2 for number in missing] + [number - number // 2 for number in missing]}


def _convolved(task: Task, value: str, weight: str, more: dict[str, Any], *, biased: bool = True) -> str:
    bias = task.weights.get("bias", "") if biased else ""
    return task.sheet.node("Conv", value, weight, bias, **more)


def _settings(task: Task, value: str, count: int) -> dict[str, Any]:
    sizes, strides = task.whole("kernel_size", count), task.whole("strides", count, 1)
    dilations = task.whole("dilation_rate", count, 1)
    if any(number < 1 for number in (*sizes, *strides, *dilations)):
        raise task.refused("has a kernel, strides or a dilation of 0")
    return {"strides": strides, "dilations": dilations, **_pads(task, value, sizes, strides, dilations)}


def _convolution(count: int) -> Kind:
    def draw(task: Task) -> Drawn:
        value = first(task, task.value)
        kernel = task.sheet.turned(task.weights["kernel"], [count + 1, count, *range(count)])
        more = {**_settings(task, value, count), "group": task.whole("groups", 1, 1)[0]}
        return activated(task, back(task, _convolved(task, value, kernel, more)))

    return Kind(draw, kernel_and_bias, masks="ends")


def _by_channel(task: Task, kernel: str, count: int) -> tuple[str, int]:
    """A kernel of (lengths…, channels, multiplier) as (channels · multiplier, 1, lengths…), and the channels."""
    lengths = task.sheet.shape(kernel)
    if len(lengths) != count + 2 or None in lengths:
        raise task.refused(f"has a kernel of the shape {list(lengths)}")
    *sizes, channels, many = (length or 0 for length in lengths)
    turned = task.sheet.turned(kernel, [count, count + 1, *range(count)])
    return task.sheet.reshaped(turned, [channels * many, 1, *sizes]), channels


def _depthwise(count: int) -> Kind:
    def draw(task: Task) -> Drawn:
        value = first(task, task.value)
        kernel, groups = _by_channel(task, task.weights["kernel"], count)
        made = _convolved(task, value, kernel, {**_settings(task, value, count), "group": groups})
        return activated(task, back(task, made))

    return Kind(draw, kernel_and_bias, masks="ends")


def _separable_variables(settings: Mapping[str, Any]) -> tuple[Variable, ...]:
    bias = (Variable("bias", "vars/2"),) if settings.get("use_bias", True) else ()
    return (Variable("depthwise_kernel", "vars/0"), Variable("pointwise_kernel", "vars/1"), *bias)


def _separable(count: int) -> Kind:
    def draw(task: Task) -> Drawn:
        value = first(task, task.value)
        kernel, groups = _by_channel(task, task.weights["depthwise_kernel"], count)
        made = _convolved(task, value, kernel, {**_settings(task, value, count), "group": groups}, biased=False)
        points = task.sheet.turned(task.weights["pointwise_kernel"], [count + 1, count, *range(count)])
        return activated(task, back(task, _convolved(task, made, points, {})))

    return Kind(draw, _separable_variables, masks="ends")


def _transposed(count: int) -> Kind:
    def draw(task: Task) -> Drawn:
        value = first(task, task.value)
        kernel = task.sheet.turned(task.weights["kernel"], [count + 1, count, *range(count)])
        sizes, strides = task.whole("kernel_size", count), task.whole("strides", count, 1)
        dilations = task.whole("dilation_rate", count, 1)
        reach = [(size - 1) * dilation + 1 for size, dilation in zip(sizes, dilations, strict=True)]
        begins, ends, more = _cuts(task, reach, strides, count)
        made = task.sheet.node(
            "ConvTranspose", value, kernel, task.weights.get("bias", ""),
            strides=strides, dilations=dilations, pads=[*begins, *ends], output_padding=more,
        )  # fmt: skip
        return activated(task, back(task, made))

    return Kind(draw, kernel_and_bias, masks="ends")


def _cuts(task: Task, reach: list[int], strides: list[int], count: int) -> tuple[list[int], list[int], list[int]]:
    """What is cut off at the begin and the end of each axis, and what is added at the end.

    The output's length is Keras' (n · stride for ``same``, n · stride + max(size − stride, 0) for ``valid``, another
    formula where ``output_padding`` is given); what TensorFlow cuts follows from it.
    """
    same = task.text("padding", "valid", ("valid", "same")) == "same"
    given = task.settings.get("output_padding")
    extra = task.whole("output_padding", count) if given is not None else []
    begins, ends, more = [], [], []
    for axis, (size, stride) in enumerate(zip(reach, strides, strict=True)):
        if extra:
            surplus = 2 * (size // 2 if same else 0) - extra[axis]
        else:
            surplus = size - stride if same else min(size - stride, 0)
        begins.append(max(surplus, 0) // 2 if same else 0)
        ends.append(max(surplus, 0) - begins[-1])
        more.append(max(-surplus, 0))
    return begins, ends, more


def _pooling(operator: str, count: int) -> Kind:
    def draw(task: Task) -> Drawn:
        value = first(task, task.value)
        sizes = task.whole("pool_size", count, 2)
        strides = task.whole("strides", count) if task.settings.get("strides") is not None else sizes
        more: dict[str, Any] = {} if operator == "MaxPool" else {"count_include_pad": 0}
        more |= {"kernel_shape": sizes, "strides": strides, **_pads(task, value, sizes, strides, [1] * count)}
        return back(task, task.sheet.node(operator, value, **more))

    return Kind(draw, masks="ends")


def _global(operator: str) -> Kind:
    def draw(task: Task) -> Drawn:
        sheet, value = task.sheet, task.value
        rank = sheet.rank(value)
        last = task.text("data_format", "channels_last") == "channels_last"
        axes = sheet.constant(list(range(1, rank - 1) if last else range(2, rank)), "int64")
        keep = int(task.truth("keepdims"))
        mask = task.masked() if operator == "ReduceMean" and rank == 3 and last else ""
        if not mask:
            return sheet.node(operator, value, axes, keepdims=keep)
        counted = sheet.node("Unsqueeze", sheet.cast(mask, sheet.dtype(value)), sheet.constant([2], "int64"))
        total = sheet.node("ReduceSum", sheet.node("Mul", value, counted), axes, keepdims=keep)
        return sheet.node("Div", total, sheet.node("ReduceSum", counted, axes, keepdims=keep))

    return Kind(draw, masks="ends")


def _adaptive(operator: str, count: int) -> Kind:
    def draw(task: Task) -> Drawn:
        """Pieces that cover an axis evenly, from floor(i · n / m) to ceil((i + 1) · n / m)."""
        sheet, value = task.sheet, first(task, task.value)
        wanted = task.whole("output_size", count)
        for axis, many in enumerate(wanted, start=2):
            length = sheet.shape(value)[axis]
            if length is None or not 0 < many <= length:
                raise task.refused(f"cannot make {many} of an axis of length {length}")
            at = sheet.constant([axis], "int64")
            pieces = [
                sheet.node(
                    operator, sheet.cut(value, axis, place * length // many, -(-(place + 1) * length // many)), at
                )
                for place in range(many)
            ]
            value = sheet.node("Concat", *pieces, axis=axis)
        return back(task, value)

    return Kind(draw, masks="ends")


KINDS: Mapping[str, Kind] = {
    **{f"Conv{count}D": _convolution(count) for count in (1, 2, 3)},
    **{f"Convolution{count}D": _convolution(count) for count in (1, 2, 3)},
    **{f"Conv{count}DTranspose": _transposed(count) for count in (1, 2, 3)},
    **{f"DepthwiseConv{count}D": _depthwise(count) for count in (1, 2)},
    **{f"SeparableConv{count}D": _separable(count) for count in (1, 2)},
    **{f"MaxPooling{count}D": _pooling("MaxPool", count) for count in (1, 2, 3)},
    **{f"AveragePooling{count}D": _pooling("AveragePool", count) for count in (1, 2, 3)},
    **{f"GlobalMaxPooling{count}D": _global("ReduceMax") for count in (1, 2, 3)},
    **{f"GlobalAveragePooling{count}D": _global("ReduceMean") for count in (1, 2, 3)},
    **{f"AdaptiveMaxPooling{count}D": _adaptive("ReduceMax", count) for count in (1, 2, 3)},
    **{f"AdaptiveAveragePooling{count}D": _adaptive("ReduceMean", count) for count in (1, 2, 3)},
}
