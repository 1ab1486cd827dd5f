"""Convolutions, pools, products and what else has weights or a window."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engram.formats._tflite.parts import Operator
from engram.formats._tflite.reading import FIRST, Read, Reading

__all__ = ["TABLE"]

_SAME = 0


def _known_axes(operator: Operator, reading: Reading, number: int) -> list[int]:
    lengths = list(reading.shape(number)[1:-1])
    if min(lengths, default=1) < 1:
        raise reading.refused(
            f"{operator.kind} over {reading.tensor(number).name!r} has a free length, which is not read"
        )
    return lengths


def _pads(operator: Operator, reading: Reading, kernel: Sequence[int], gaps: Sequence[int]) -> list[int]:
    """What TFLite's padding adds around, before and after."""
    if operator.options.get("padding", _SAME) != _SAME:
        return [0] * (2 * len(kernel))
    lengths = _known_axes(operator, reading, operator.inputs[0])
    totals = []
    for size, reach, gap, step in zip(lengths, kernel, gaps, _strides(operator, len(kernel)), strict=True):
        whole = (math.ceil(size / step) - 1) * step + (reach - 1) * gap + 1
        totals.append(max(whole - size, 0))
    return [total // 2 for total in totals] + [total - total // 2 for total in totals]


def _strides(operator: Operator, count: int) -> list[int]:
    found = [int(operator.options.get(f"stride_{axis}", 1)) for axis in "dhw"[3 - count :]]
    return [max(step, 1) for step in found]


def _gaps(operator: Operator, count: int) -> list[int]:
    return [max(int(operator.options.get(f"dilation_{axis}_factor", 1)), 1) for axis in "dhw"[3 - count :]]


def _bias(operator: Operator, reading: Reading, place: int = 2) -> list[str]:
    name = reading.optional(operator, place)
    return [name] if name else []


def _rounded(operator: Operator, reading: Reading, value: str, axes: Sequence[int]) -> str:
    """What the kernel of a layer with integer weights and plain inputs makes of its input: eight bits a row.

    LiteRT finds the range of each row when it answers, zero included, and rounds to its 256 steps. Left out, the
    network would answer better than its file, and differently.

    Source: XNNPACK, xnn_f32_qd8_asymmetric_quantization_params; measured against LiteRT to 3e-7.
    """
    x, weights = (reading.tensor(number) for number in operator.inputs[:2])
    if x.type != "FLOAT32" or weights.quantization is None or weights.type not in {"INT8", "INT4"}:
        return value
    where = reading.constant(list(axes))
    zero, one = reading.constant(0.0, "float32"), reading.constant(1.0, "float32")
    high = reading.node("Max", reading.node("ReduceMax", value, where, keepdims=1), zero)
    low = reading.node("Min", reading.node("ReduceMin", value, where, keepdims=1), zero)
    if not operator.options.get("asymmetric_quantize_inputs", 1):
        high = reading.node("Max", high, reading.node("Neg", low))
        low = reading.node("Mul", high, reading.constant(-128 / 127, "float32"))
    step = reading.node("Div", reading.node("Sub", high, low), reading.constant(255.0, "float32"))
    step = reading.node("Where", reading.node("Equal", step, zero), one, step)
    bottom = reading.constant(-128.0, "float32")
    middle = reading.node("Round", reading.node("Sub", bottom, reading.node("Div", low, step)))
    steps = reading.node("Add", reading.node("Round", reading.node("Div", value, step)), middle)
    inside = reading.node("Clip", steps, bottom, reading.constant(127.0, "float32"))
    return reading.node("Mul", reading.node("Sub", inside, middle), step)


def _convolution(operator: Operator, reading: Reading) -> None:
    x, weights = operator.inputs[:2]
    shape = reading.shape(weights)
    if len(shape) != 4 or reading.rank(x) != 4:
        raise reading.refused(f"{operator.kind} has weights of shape {list(shape)}; it must have four axes")
    deep = operator.kind == "DEPTHWISE_CONV_2D"
    channels = reading.shape(x)[3]
    groups = channels if deep else channels // max(shape[3], 1)
    if groups < 1 or (not deep and groups * shape[3] != channels) or (deep and shape[3] % groups):
        raise reading.refused(f"{operator.kind} has {channels} channels, but weights of shape {list(shape)}")
    gaps, kernel = _gaps(operator, 2), shape[1:3]
    first = FIRST[4]
    turned = reading.get(weights, (3, 0, 1, 2) if deep else (0, 3, 1, 2))
    reading.put(
        "Conv",
        operator,
        _rounded(operator, reading, reading.get(x, first), (1, 2, 3)),
        turned,
        *_bias(operator, reading),
        layout=first,
        group=groups,
        kernel_shape=list(kernel),
        strides=_strides(operator, 2),
        dilations=gaps,
        pads=_pads(operator, reading, kernel, gaps),
    )


def _convolution_3d(operator: Operator, reading: Reading) -> None:
    x, weights = operator.inputs[:2]
    shape, gaps = reading.shape(weights), _gaps(operator, 3)
    turned = reading.get(weights, (4, 3, 0, 1, 2))
    reading.put(
        "Conv",
        operator,
        reading.get(x, FIRST[5]),
        turned,
        *_bias(operator, reading),
        layout=FIRST[5],
        strides=_strides(operator, 3),
        dilations=gaps,
        pads=_pads(operator, reading, shape[:3], gaps),
    )


def _transposed(operator: Operator, reading: Reading) -> None:
    wanted, weights, x = operator.inputs[:3]
    shape, strides = reading.shape(weights), _strides(operator, 2)
    lengths = _known_axes(operator, reading, x)
    made = known(wanted, reading)[1:3]
    if len(made) != 2 or None in made:
        made = list(reading.shape(operator.outputs[0])[1:3])
    if any(size is None or size < 1 for size in made):
        raise reading.refused(f"{operator.kind} makes an output of a free length, which is not read")
    full = [(size - 1) * step + reach for size, step, reach in zip(lengths, strides, shape[1:3], strict=True)]
    over = [whole - int(size or 0) for whole, size in zip(full, made, strict=True)]
    same = operator.options.get("padding", _SAME) == _SAME
    before = [max(total, 0) // 2 if same else 0 for total in over]
    after = [max(total, 0) - low for total, low in zip(over, before, strict=True)]
    reading.put(
        "ConvTranspose",
        operator,
        reading.get(x, FIRST[4]),
        reading.get(weights, (3, 0, 1, 2)),
        *_bias(operator, reading, 3),
        layout=FIRST[4],
        strides=strides,
        pads=[*before, *after],
        output_padding=[max(-total, 0) for total in over],
    )


def known(number: int, reading: Reading) -> list[int | None]:
    """The whole numbers of a shape as far as they are fixed; empty where nothing is known."""
    array = reading.array(number)
    if array is not None:
        return [int(one) for one in array.reshape(-1)]
    maker = reading.makers.get(number)
    if maker is None or maker.kind not in {"PACK", "CONCATENATION"}:
        return []
    found: list[int | None] = []
    for part in maker.inputs:
        array = reading.array(part)
        size = int(np.prod(reading.shape(part), dtype=np.int64))
        found += [None] * max(size, 1) if array is None else [int(one) for one in array.reshape(-1)]
    return found


def _pool(operator: Operator, reading: Reading) -> None:
    x = operator.inputs[0]
    kernel = [int(operator.options.get(f"filter_{axis}", 1)) for axis in ("height", "width")]
    options: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": _strides(operator, 2),
        "pads": _pads(operator, reading, kernel, [1, 1]),
    }
    value = reading.get(x, FIRST[4])
    if operator.kind == "L2_POOL_2D":
        mean = reading.node("AveragePool", reading.node("Mul", value, value), **options)
        reading.put("Sqrt", operator, mean, layout=FIRST[4])
        return
    kind = "MaxPool" if operator.kind == "MAX_POOL_2D" else "AveragePool"
    reading.put(kind, operator, value, layout=FIRST[4], **options)


def _fully_connected(operator: Operator, reading: Reading) -> None:
    x, weights = operator.inputs[:2]
    if operator.options.get("weights_format", 0):
        raise reading.refused(f"{operator.kind} has shuffled weights, which are not read")
    shape, bias = reading.shape(weights), _bias(operator, reading)
    value, keeps = reading.get(x), bool(operator.options.get("keep_num_dims", 0))
    if reading.rank(x) != 2 and not keeps:
        value = reading.node("Reshape", value, reading.constant([-1, shape[1]]))
    value = _rounded(operator, reading, value, (-1,))
    if reading.rank(x) == 2 or not keeps:
        reading.finish(operator, reading.node("Gemm", value, reading.get(weights), *bias, transB=1))
        return
    made = reading.node("MatMul", value, reading.get(weights, (1, 0)))
    reading.finish(operator, reading.node("Add", made, *bias) if bias else made)


def _batch_matmul(operator: Operator, reading: Reading) -> None:
    values = []
    for number, flag in zip(operator.inputs, ("adj_x", "adj_y"), strict=True):
        rank = reading.rank(number)
        swapped = (*range(rank - 2), rank - 1, rank - 2)
        values.append(reading.get(number, swapped if operator.options.get(flag) else None))
    reading.put("MatMul", operator, *values)


def _softmax(operator: Operator, reading: Reading) -> None:
    x = reading.get(operator.inputs[0])
    beta = float(operator.options.get("beta", 1.0))
    if operator.kind == "SOFTMAX" and beta != 1.0:
        x = reading.node("Mul", x, reading.constant(beta, "float32"))
    reading.put("Softmax" if operator.kind == "SOFTMAX" else "LogSoftmax", operator, x, axis=-1)


def _l2_normalization(operator: Operator, reading: Reading) -> None:
    reading.put("LpNormalization", operator, reading.get(operator.inputs[0]), axis=-1, p=2)


def _local_response(operator: Operator, reading: Reading) -> None:
    size = 2 * int(operator.options.get("radius", 0)) + 1
    told = {name: float(operator.options.get(name, 0.0)) for name in ("alpha", "beta", "bias")}
    told["alpha"] *= size
    reading.put("LRN", operator, reading.get(operator.inputs[0], FIRST[4]), layout=FIRST[4], size=size, **told)


def _resize(operator: Operator, reading: Reading) -> None:
    lengths = reading.wide(operator.inputs[1])
    linear = operator.kind == "RESIZE_BILINEAR"
    corners, half = (bool(operator.options.get(name)) for name in ("align_corners", "half_pixel_centers"))
    way = "align_corners" if corners else "half_pixel" if half else "asymmetric"
    rounding = "floor" if not corners and not half else "round_prefer_ceil"
    options = {"mode": "linear"} if linear else {"mode": "nearest", "nearest_mode": rounding}
    reading.put(
        "Resize",
        operator,
        reading.get(operator.inputs[0], FIRST[4]),
        "",
        "",
        lengths,
        layout=FIRST[4],
        axes=[2, 3],
        coordinate_transformation_mode=way,
        **options,
    )


def _blocks(operator: Operator, reading: Reading) -> None:
    kind = "DepthToSpace" if operator.kind == "DEPTH_TO_SPACE" else "SpaceToDepth"
    size = int(operator.options.get("block_size", 1))
    reading.put(kind, operator, reading.get(operator.inputs[0], FIRST[4]), layout=FIRST[4], blocksize=size)


def _embedding(operator: Operator, reading: Reading) -> None:
    places, table = operator.inputs
    reading.put("Gather", operator, reading.get(table), reading.get(places), axis=0)


TABLE: Mapping[str, Read] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "CONV_3D": _convolution_3d,
    "TRANSPOSE_CONV": _transposed,
    "AVERAGE_POOL_2D": _pool,
    "MAX_POOL_2D": _pool,
    "L2_POOL_2D": _pool,
    "FULLY_CONNECTED": _fully_connected,
    "BATCH_MATMUL": _batch_matmul,
    "SOFTMAX": _softmax,
    "LOG_SOFTMAX": _softmax,
    "L2_NORMALIZATION": _l2_normalization,
    "LOCAL_RESPONSE_NORMALIZATION": _local_response,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "DEPTH_TO_SPACE": _blocks,
    "SPACE_TO_DEPTH": _blocks,
    "EMBEDDING_LOOKUP": _embedding,
}
