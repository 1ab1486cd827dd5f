"""ONNX nodes that are layers in Keras: those with weights, poolings, normalizations, recurrences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from engram.formats._keras.learned import Array
from engram.formats._keras.lowering import Lowering
from engram.formats._keras.words import Tensor
from engram.graphs.walk import Step

__all__ = ["LAYERS", "Said", "called"]

Said = Callable[[Lowering, Step], None]


def called(low: Lowering, name: str, fallback: str) -> str:
    """What to call a layer: after the module its weight belongs to, wherever that was cut or turned from."""
    roots = low.arrays[name].roots if name in low.arrays else ()
    for weight in roots[-1:]:
        return weight.replace("/", ".").rpartition(".")[0] or weight
    return fallback


def _gemm(low: Lowering, step: Step) -> None:
    said = {"alpha": 1.0, "beta": 1.0, "transA": 0} | dict(step.attributes)
    if said["alpha"] != 1 or said["beta"] != 1 or said["transA"] or low.is_static(step.inputs[0]):
        raise low.refused(step, "scales or turns what it multiplies, which no layer of Keras does")
    kernel = low.array(step.inputs[1], step)
    kernel = kernel.turned(1, 0) if step.attributes.get("transB", 0) else kernel
    bias = low.array(step.inputs[2], step) if len(step.inputs) > 2 and step.inputs[2] else None
    _dense(low, step, kernel, bias)


def _dense(low: Lowering, step: Step, kernel: Array, bias: Array | None) -> None:
    units = kernel.shape[1]
    if bias is not None:
        if bias.size not in {1, units}:
            raise low.refused(step, f"adds {bias.shape} to {units} units, which no layer of Keras does")
        bias = bias.reshaped(bias.size).spread(units)
    arrays = {"kernel": kernel} | ({"bias": bias} if bias is not None else {})
    settings = {"units": units, "activation": "linear", "use_bias": bias is not None}
    name = called(low, step.inputs[1], "Dense")
    low.put(step.outputs[0], low.words.layer("Dense", settings, [low.first(step.inputs[0])], name=name, arrays=arrays))


def _matmul(low: Lowering, step: Step) -> None:
    one, other = step.inputs
    if other in low.arrays and len(low.shape(one)) > 1 and len(low.arrays[other].shape) == 2 and one not in low.arrays:
        return _dense(low, step, low.arrays[other], None)
    made = low.words.operation("Matmul", [low.operand(one), low.operand(other)])
    return low.put(step.outputs[0], made)


def _convolution(low: Lowering, step: Step) -> None:
    kernel = low.array(step.inputs[1], step)
    count = len(kernel.shape) - 2
    if count not in {1, 2, 3} or low.is_static(step.inputs[0]):
        raise low.refused(step, f"runs along {count} axes, which no layer of Keras does")
    channels = low.shape(step.inputs[0])[1]
    group = step.attributes.get("group", 1)
    sizes = list(kernel.shape[2:])
    strides = list(step.attributes.get("strides", [1] * count))
    dilations = list(step.attributes.get("dilations", [1] * count))
    value, word = _padded(low, step, sizes, strides, dilations)
    bias = low.array(step.inputs[2], step) if len(step.inputs) > 2 and step.inputs[2] else None
    arrays = {"bias": bias} if bias is not None else {}
    settings: dict[str, Any] = {
        "kernel_size": sizes, "strides": strides, "padding": word, "data_format": "channels_last",
        "dilation_rate": dilations, "activation": "linear", "use_bias": bias is not None,
    }  # fmt: skip
    filters = kernel.shape[0]
    if group > 1 and group == channels and count < 3:
        many = filters // group
        lengths = kernel.reshaped(group, many, *sizes)
        arrays = {"kernel": lengths.turned(*range(2, count + 2), 0, 1)} | arrays
        kind, settings = f"DepthwiseConv{count}D", settings | {"depth_multiplier": many}
    else:
        arrays = {"kernel": kernel.turned(*range(2, count + 2), 1, 0)} | arrays
        kind, settings = f"Conv{count}D", settings | {"filters": filters, "groups": group}
    name = called(low, step.inputs[1], kind)
    low.put(step.outputs[0], low.words.layer(kind, settings, [value], name=name, arrays=arrays), last=True)


def _padded(
    low: Lowering, step: Step, sizes: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[Tensor, str]:
    """The input with channels last, with zeros around it where Keras' own words do not say so."""
    count = len(sizes)
    value = low.last(step.inputs[0])
    word = step.attributes.get("auto_pad", "NOTSET")
    pads = list(step.attributes.get("pads", [0] * (2 * count)))
    if word == "SAME_UPPER":
        return value, "same"
    if word == "SAME_LOWER":
        raise low.refused(step, "puts the odd zero before an axis (SAME_LOWER), which Keras does not")
    if word == "VALID" or not any(pads):
        return value, "valid"
    if pads == _same(low.shape(step.inputs[0])[2:], sizes, strides, dilations):
        return value, "same"
    pairs = [[pads[axis], pads[axis + count]] for axis in range(count)]
    settings: dict[str, Any] = {"padding": pairs[0] if count == 1 else pairs}
    if count > 1:
        settings["data_format"] = "channels_last"
    lengths = low.shape(step.inputs[0])[2:]
    wide = tuple(None if n is None else n + sum(pair) for n, pair in zip(lengths, pairs, strict=True))
    made = low.words.layer(f"ZeroPadding{count}D", settings, [value])
    return Tensor(made, 0, (value.shape[0], *wide, value.shape[-1]), value.dtype), "valid"


def _same(
    lengths: Sequence[int | None], sizes: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[int]:
    """The zeros that ``same`` means for these lengths; none that can be where a length is not known."""
    if None in lengths and any(stride > 1 for stride in strides):
        return [-1]
    reach = [(size - 1) * dilation + 1 for size, dilation in zip(sizes, dilations, strict=True)]
    missing = [
        max((-(-(length or 1) // stride) - 1) * stride + size - (length or 1), 0)
        for length, stride, size in zip(lengths, strides, reach, strict=True)
    ]
    return [number // 2 for number in missing] + [number - number // 2 for number in missing]


def _transposed(low: Lowering, step: Step) -> None:
    kernel = low.array(step.inputs[1], step)
    count = len(kernel.shape) - 2
    said = dict(step.attributes)
    if count not in {1, 2, 3} or said.get("group", 1) != 1 or said.get("auto_pad", "NOTSET") != "NOTSET":
        raise low.refused(step, "is of a form that no layer of Keras has")
    sizes, strides = list(kernel.shape[2:]), list(said.get("strides", [1] * count))
    pads = list(said.get("pads", [0] * (2 * count)))
    more = list(said.get("output_padding", [0] * count))
    # Keras makes n · stride + max(size − stride, 0) of n; what ONNX makes less is cut off, more is refused
    reach = [(size - 1) * d + 1 for size, d in zip(sizes, said.get("dilations", [1] * count), strict=True)]
    ends = [
        max(stride - size, 0) + pads[axis + count] - more[axis]
        for axis, (size, stride) in enumerate(zip(reach, strides, strict=True))
    ]
    if min(ends) < 0:
        raise low.refused(step, "makes its output longer than Keras does (output_padding)")
    bias = low.array(step.inputs[2], step) if len(step.inputs) > 2 and step.inputs[2] else None
    arrays = {"kernel": kernel.turned(*range(2, count + 2), 1, 0)} | ({"bias": bias} if bias is not None else {})
    settings: dict[str, Any] = {
        "filters": kernel.shape[1], "kernel_size": sizes, "strides": strides, "padding": "valid",
        "data_format": "channels_last", "dilation_rate": list(said.get("dilations", [1] * count)),
        "activation": "linear", "use_bias": bias is not None,
    }  # fmt: skip
    kind = f"Conv{count}DTranspose"
    made = low.words.layer(
        kind, settings, [low.last(step.inputs[0])], name=called(low, step.inputs[1], kind), arrays=arrays
    )
    pairs = [[pads[axis], ends[axis]] for axis in range(count)]
    if any(begin or end for begin, end in pairs):
        shape = (None,) * (count + 2)
        crop: dict[str, Any] = {"cropping": pairs[0] if count == 1 else pairs}
        crop |= {"data_format": "channels_last"} if count > 1 else {}
        made = low.words.layer(f"Cropping{count}D", crop, [Tensor(made, 0, shape, "float32")])
    low.put(step.outputs[0], made, last=True)


def _batch_norm(low: Lowering, step: Step) -> None:
    keys = ("gamma", "beta", "moving_mean", "moving_variance")
    arrays = {key: low.array(name, step) for key, name in zip(keys, step.inputs[1:], strict=True)}
    settings = {
        "axis": -1, "momentum": step.attributes.get("momentum", 0.9), "epsilon": step.attributes.get("epsilon", 1e-5),
        "center": True, "scale": True,
    }  # fmt: skip
    for key, said, plain in (("gamma", "scale", 1.0), ("beta", "center", 0.0)):
        if not arrays[key].learned and (arrays[key].values == plain).all():
            del arrays[key]
            settings[said] = False
    name = called(low, step.inputs[3], "BatchNormalization")
    wide = len(low.shape(step.inputs[0])) > 2
    value = low.last(step.inputs[0])
    low.put(
        step.outputs[0], low.words.layer("BatchNormalization", settings, [value], name=name, arrays=arrays), last=wide
    )


def _layer_norm(low: Lowering, step: Step) -> None:
    rank = len(low.shape(step.inputs[0]))
    begin = step.attributes.get("axis", -1) % rank
    if step.attributes.get("stash_type", 1) != 1 or len(step.outputs) > 1:
        raise low.refused(step, "answers with more than Keras' layer does")
    arrays = {"gamma": low.array(step.inputs[1], step)}
    if len(step.inputs) > 2 and step.inputs[2]:
        arrays["beta"] = low.array(step.inputs[2], step)
    scale = arrays["gamma"].learned or not (arrays["gamma"].values == 1).all()
    if not scale:
        del arrays["gamma"]
    settings = {
        "axis": list(range(begin, rank)) if begin < rank - 1 else -1,
        "epsilon": step.attributes.get("epsilon", 1e-5), "center": "beta" in arrays, "scale": scale,
    }  # fmt: skip
    name = called(low, step.inputs[1], "LayerNormalization")
    value = low.first(step.inputs[0])
    low.put(step.outputs[0], low.words.layer("LayerNormalization", settings, [value], name=name, arrays=arrays))


def _gather(low: Lowering, step: Step) -> None:
    table, places = step.inputs
    axis = step.attributes.get("axis", 0)
    if table in low.arrays and len(low.arrays[table].shape) == 2 and axis == 0 and not low.is_static(places):
        rows, width = low.arrays[table].shape
        name = called(low, table, "Embedding")
        arrays = {"embeddings": low.arrays[table]}
        settings = {"input_dim": rows, "output_dim": width, "mask_zero": False}
        low.put(step.outputs[0], low.words.layer("Embedding", settings, [low.first(places)], name=name, arrays=arrays))
        return
    given = low.operand(places)
    given = given if isinstance(given, Tensor) else given.astype(np.int32)
    low.put(step.outputs[0], low.words.operation("Take", [low.first(table), given], {"axis": axis}))


def _pooling(low: Lowering, step: Step) -> None:
    said = dict(step.attributes)
    sizes = list(said["kernel_shape"])
    count = len(sizes)
    strides = list(said.get("strides", [1] * count))
    dilated = any(number != 1 for number in said.get("dilations", [1]))
    if dilated or said.get("storage_order", 0) or len(step.outputs) > 1 or count > 3:
        raise low.refused(step, "is of a form that no layer of Keras has")
    lengths = low.shape(step.inputs[0])[2:]
    if said.get("ceil_mode", 0) and _rounds_up(lengths, sizes, strides, said.get("pads", [0] * (2 * count))):
        raise low.refused(step, "rounds its output's length up (ceil_mode), which Keras does not")
    highest = step.operator == "MaxPool"
    counted = said.get("count_include_pad", 0)
    word, value = _pool_padding(low, step, sizes, strides, kept=highest or not counted)
    settings: dict[str, Any] = {"pool_size": sizes, "strides": strides, "padding": word, "data_format": "channels_last"}
    kind = f"{'Max' if highest else 'Average'}Pooling{count}D"
    low.put(step.outputs[0], low.words.layer(kind, settings, [value]), last=True)


def _pool_padding(
    low: Lowering, step: Step, sizes: Sequence[int], strides: Sequence[int], *, kept: bool
) -> tuple[str, Tensor]:
    """Which word says what stands around the input; numbers of its own where none does."""
    count = len(sizes)
    pads = list(step.attributes.get("pads", [0] * (2 * count)))
    auto = step.attributes.get("auto_pad", "NOTSET")
    if auto == "VALID" or (auto == "NOTSET" and not any(pads)):
        return "valid", low.last(step.inputs[0])
    same = auto == "SAME_UPPER" or pads == _same(low.shape(step.inputs[0])[2:], sizes, strides, [1] * count)
    if same and kept:
        return "same", low.last(step.inputs[0])
    if auto != "NOTSET" or (step.operator == "AveragePool" and kept):
        raise low.refused(step, "averages at padded edges in a way that Keras does not")
    value = low.last(step.inputs[0])
    lowest = float(np.finfo(np.float32).min) if step.operator == "MaxPool" else 0.0
    width = [[0, 0], *([pads[axis], pads[axis + count]] for axis in range(count)), [0, 0]]
    more = {"constant_values": lowest} if lowest else {}
    made = low.words.operation("Pad", [value], {"pad_width": width, "mode": "constant"}, named=more)
    return "valid", Tensor(made, 0, (None,) * (count + 2), value.dtype)


def _rounds_up(
    lengths: Sequence[int | None], sizes: Sequence[int], strides: Sequence[int], pads: Sequence[int]
) -> bool:
    count = len(sizes)
    return any(
        length is None or (length + pads[axis] + pads[axis + count] - sizes[axis]) % strides[axis]
        for axis, length in enumerate(lengths)
    )


def _global(low: Lowering, step: Step) -> None:
    count = len(low.shape(step.inputs[0])) - 2
    if count not in {1, 2, 3}:
        raise low.refused(step, "has more axes than Keras' layer takes")
    kind = f"Global{'Average' if step.operator == 'GlobalAveragePool' else 'Max'}Pooling{count}D"
    settings = {"data_format": "channels_last", "keepdims": True}
    low.put(step.outputs[0], low.words.layer(kind, settings, [low.last(step.inputs[0])]), last=True)


def _dropout(low: Lowering, step: Step) -> None:
    rate = float(low.constant(step.inputs[1], step)) if len(step.inputs) > 1 and step.inputs[1] else 0.5
    _everywhere(low, step, "Dropout", {"rate": rate, "seed": None, "noise_shape": None})


def _everywhere(low: Lowering, step: Step, kind: str, settings: Mapping[str, Any]) -> None:
    """A layer that does the same to each number, in whichever order the channels are at hand."""
    last = low.is_last(step.inputs[0])
    value = low.last(step.inputs[0]) if last else low.first(step.inputs[0])
    low.put(step.outputs[0], low.words.layer(kind, settings, [value]), last=last)


def _activation(name: str, **expected: Any) -> Said:  # noqa: ANN401 - any attribute
    def say(low: Lowering, step: Step) -> None:
        for key, wanted in expected.items():
            found = step.attributes.get(key, wanted[0])
            if abs(found - wanted[1]) > 1e-6 if isinstance(found, float) else found != wanted[1]:
                raise low.refused(step, f"has {key} = {found!r}, which Keras' {name} has not")
        _everywhere(low, step, "Activation", {"activation": name})

    return say


def _sloped(kind: str, key: str, default: float) -> Said:
    return lambda low, step: _everywhere(low, step, kind, {key: step.attributes.get("alpha", default)})


def _softmax(low: Lowering, step: Step) -> None:
    axis = step.attributes.get("axis", -1)
    low.put(step.outputs[0], low.words.layer("Softmax", {"axis": axis}, [low.first(step.inputs[0])]))


def _gelu(low: Lowering, step: Step) -> None:
    if step.attributes.get("approximate", "none") == "none":
        return _everywhere(low, step, "Activation", {"activation": "gelu"})
    made = low.words.operation("Gelu", [low.first(step.inputs[0])], {"approximate": True})
    return low.put(step.outputs[0], made)


def _prelu(low: Lowering, step: Step) -> None:
    slope = low.array(step.inputs[1], step)
    rank = len(low.shape(step.inputs[0]))
    shape = low.shape(step.inputs[0])[1:]
    wide_shape = ((1,) * (rank - 1 - len(slope.shape)) + slope.shape)[-(rank - 1) :]
    if rank > 2:
        order = [*range(1, rank - 1), 0]
        lengths = [wide_shape[axis] for axis in order]
        array = slope.reshaped(*wide_shape).turned(*order)
        shape = tuple(shape[axis] for axis in order)
    else:
        lengths, array = list(wide_shape), slope.reshaped(*wide_shape)
    shared = [axis + 1 for axis, (own, full) in enumerate(zip(lengths, shape, strict=True)) if own == 1 and full != 1]
    name = called(low, step.inputs[1], "PReLU")
    settings = {"shared_axes": shared or None}
    made = low.words.layer("PReLU", settings, [low.last(step.inputs[0])], name=name, arrays={"alpha": array})
    low.put(step.outputs[0], made, last=rank > 2)


_WORDS = {("linear", "half_pixel", ""): "bilinear", ("nearest", "half_pixel", "round_prefer_ceil"): "nearest"}
"""Mode, coordinates and rounding of ONNX → what Keras' layer Resizing calls them."""


def _resize(low: Lowering, step: Step) -> None:
    said = dict(step.attributes)
    lengths, wanted = low.shape(step.inputs[0])[2:], low.shape(step.outputs[0])[2:]
    pairs = list(zip(lengths, wanted, strict=True))
    mode, way = said.get("mode", "nearest"), said.get("coordinate_transformation_mode", "half_pixel")
    word = _WORDS.get((mode, way, said.get("nearest_mode", "round_prefer_floor") if mode == "nearest" else ""))
    whole = all(one and other and other % one == 0 for one, other in pairs)
    settings: dict[str, Any] = {"data_format": "channels_last", "interpolation": word}
    if len(pairs) == 2 and None not in wanted and word and not (whole and word == "bilinear"):
        settings |= {"height": wanted[0], "width": wanted[1]}
        low.put(step.outputs[0], low.words.layer("Resizing", settings, [low.last(step.inputs[0])]), last=True)
        return
    if len(pairs) != 2 or not whole:
        raise low.refused(step, "does not resize two axes by whole numbers")
    nearest = mode == "nearest" and (way, said.get("nearest_mode", "round_prefer_floor")) == ("asymmetric", "floor")
    if not nearest and (mode, way) != ("linear", "half_pixel"):
        raise low.refused(step, f"resizes in the mode {mode}, {way}, which Keras does not")
    settings["size"] = [(other or 0) // (one or 1) for one, other in pairs]
    settings["interpolation"] = "nearest" if nearest else "bilinear"
    low.put(step.outputs[0], low.words.layer("UpSampling2D", settings, [low.last(step.inputs[0])]), last=True)


LAYERS: Mapping[str, Said] = {
    "AveragePool": _pooling,
    "BatchNormalization": _batch_norm,
    "Celu": _activation("celu", alpha=(1.0, 1.0)),
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "Dropout": _dropout,
    "Elu": _sloped("ELU", "alpha", 1.0),
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": _global,
    "GlobalMaxPool": _global,
    "HardSigmoid": _activation("hard_sigmoid", alpha=(0.2, 1 / 6), beta=(0.5, 0.5)),
    "HardSwish": _activation("hard_silu"),
    "LayerNormalization": _layer_norm,
    "LeakyRelu": _sloped("LeakyReLU", "negative_slope", 0.01),
    "LogSoftmax": lambda low, step: low.put(
        step.outputs[0],
        low.words.operation("LogSoftmax", [low.first(step.inputs[0])], {"axis": step.attributes.get("axis", -1)}),
    ),
    "MatMul": _matmul,
    "MaxPool": _pooling,
    "Mish": _activation("mish"),
    "PRelu": _prelu,
    "Relu": _activation("relu"),
    "Resize": _resize,
    "Selu": _activation("selu"),
    "Sigmoid": _activation("sigmoid"),
    "Softmax": _softmax,
    "Softplus": _activation("softplus"),
    "Softsign": _activation("softsign"),
    "Tanh": _activation("tanh"),
}
