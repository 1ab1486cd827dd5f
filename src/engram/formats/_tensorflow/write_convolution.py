"""Convolutions of ONNX, forwards and backwards, as TensorFlow has them: channels last."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from engram.formats._tensorflow.job import Job, Writers
from engram.formats._tensorflow.sheet import Kind, Operand, Shape
from engram.formats._tensorflow.values import inverse
from engram.formats._tensorflow.write_elementwise import binary
from engram.formats._tensorflow.write_filling import padded
from engram.formats._tensorflow.write_shape import joined, lengths, sliced

__all__ = ["WRITERS", "amounts", "channels_last", "channels_second", "inserted"]


def channels_last(value: Operand, job: Job) -> Operand:
    """A value laid channels last, with nothing owed."""
    rank = value.rank
    return job.sheet.plain(job.sheet.turned(value, (0, *range(2, rank), 1)))


def channels_second(job: Job, made: Operand, shape: Shape) -> Operand:
    """A value that lies channels last, as ONNX sees it."""
    rank = len(shape) if shape is not None else 4
    turn = (0, rank - 1, *range(1, rank - 1))
    back = None if shape is None else tuple(shape[axis] for axis in inverse(turn))
    return job.sheet.turned(replace(made, shape=back), turn)


def amounts(job: Job, spatial: int, window: list[int], strides: list[int]) -> list[list[int]] | str:
    """How much is padded at each side; ``SAME`` where TensorFlow does that alike."""
    word = job.said("auto_pad", "NOTSET")
    if word == "SAME_UPPER":
        return "SAME"
    shape = job.get(0).shape or ()
    if word == "SAME_LOWER":
        pairs = []
        for axis in range(spatial):
            length = shape[axis + 2]
            if not isinstance(length, int):
                raise job.refused("pads an axis of unknown length at its beginning")
            total = max((-(-length // strides[axis]) - 1) * strides[axis] + window[axis] - length, 0)
            pairs.append([total - total // 2, total // 2])
        return pairs
    pads = [int(number) for number in job.said("pads", [0] * 2 * spatial)] if word == "NOTSET" else [0] * 2 * spatial
    return [[pads[axis], pads[axis + spatial]] for axis in range(spatial)]


def _conv(job: Job) -> tuple[Operand, ...]:
    value, weight, bias = job.get(0), job.get(1), job.maybe(2)
    spatial = value.rank - 2
    shape = weight.shape or ()
    if spatial not in {1, 2, 3} or not all(isinstance(axis, int) for axis in shape):
        raise job.refused(f"convolves {spatial} axes with a kernel of shape {list(shape)}")
    kernel = [int(axis) for axis in shape[2:]]
    strides = [int(number) for number in job.said("strides", [1] * spatial)]
    dilations = [int(number) for number in job.said("dilations", [1] * spatial)]
    window = [(length - 1) * dilations[i] + 1 for i, length in enumerate(kernel)]
    pairs = amounts(job, spatial, window, strides)
    laid = channels_last(value, job)
    if isinstance(pairs, list):
        laid, pairs = padded(job, laid, [[0, 0], *pairs, [0, 0]]), "VALID"
    groups = int(job.said("group", 1))
    made = _grouped(job, laid, weight, (strides, dilations, pairs), groups)
    if bias is not None:
        made = job.one("BiasAdd", made, bias, data_format="NHWC") if spatial < 3 else _added(job, made, bias)
    return (channels_second(job, made, job.shapes[0]),)


def _added(job: Job, made: Operand, bias: Operand) -> Operand:
    return job.one("AddV2", made, bias)


def _grouped(job: Job, laid: Operand, weight: Operand, how: tuple[list[int], list[int], str], groups: int) -> Operand:
    """The convolution of each group; one for each channel where there are as many groups."""
    spatial = weight.rank - 2
    strides, dilations, padding = how
    filters, inner = (int(axis) for axis in (weight.shape or ())[:2] if isinstance(axis, int))
    last = (*range(2, 2 + spatial), 1, 0)
    if groups == 1:
        return _convolved(job, laid, job.sheet.turned(weight, last), how)
    if inner == 1 and spatial == 2 and strides[0] == strides[1] and filters % groups == 0:
        # TensorFlow lists the filters of one channel together: (height, width, channels, filters of each)
        kernel = [int(axis) for axis in (weight.shape or ())[2:] if isinstance(axis, int)]
        each = job.reshape(weight, [groups, filters // groups, *kernel])
        turned = job.sheet.turned(each, (2, 3, 0, 1))
        said: dict[str, Any] = {"strides": [1, *strides, 1], "dilations": [1, *dilations, 1], "padding": padding}
        return job.one("DepthwiseConv2dNative", laid, turned, data_format="NHWC", explicit_paddings=[], **said)
    pieces = []
    for group in range(groups):
        own = sliced(job, laid, laid.rank - 1, group * inner, (group + 1) * inner)
        part = replace(
            sliced(job, weight, 0, group * filters // groups, (group + 1) * filters // groups),
            shape=(filters // groups, *(weight.shape or ())[1:]),
        )
        pieces.append(_convolved(job, replace(own, shape=laid.shape), job.sheet.turned(part, last), how))
    return joined(job, pieces, laid.rank - 1)


def _convolved(job: Job, laid: Operand, kernel: Operand, how: tuple[list[int], list[int], str]) -> Operand:
    strides, dilations, padding = how
    spatial = len(strides)
    if spatial == 1:
        rank3, flat = _pictures(job, laid, kernel)
        made = _convolved(job, rank3, flat, ([1, *strides], [1, *dilations], padding))
        return job.one("Squeeze", made, squeeze_dims=[1])
    said: dict[str, Any] = {"strides": [1, *strides, 1], "dilations": [1, *dilations, 1], "padding": padding}
    if spatial == 3:
        return job.one("Conv3D", laid, kernel, data_format="NDHWC", **said)
    return job.one("Conv2D", laid, kernel, data_format="NHWC", explicit_paddings=[], use_cudnn_on_gpu=True, **said)


def _pictures(job: Job, laid: Operand, kernel: Operand) -> tuple[Operand, Operand]:
    """Rows and their kernel as pictures of height one."""
    one, none = job.sheet.constant(1, "int32"), job.sheet.constant(0, "int32")
    rank3 = job.one("ExpandDims", laid, one, shape=inserted(laid.shape), Tdim=Kind("int32"))
    return rank3, job.one("ExpandDims", kernel, none, shape=(1, *(kernel.shape or ())), Tdim=Kind("int32"))


def inserted(shape: Shape) -> Shape:
    """The shape with an axis of one after the rows; unknown if it is."""
    return None if shape is None else (shape[0], 1, *shape[1:])


def _conv_transpose(job: Job) -> tuple[Operand, ...]:
    value, weight, bias = job.get(0), job.get(1), job.maybe(2)
    spatial = value.rank - 2
    shape = weight.shape or ()
    groups = int(job.said("group", 1))
    if spatial not in {1, 2, 3} or groups != 1 or not all(isinstance(axis, int) for axis in shape):
        raise job.refused(f"convolves backwards over {spatial} axes in {groups} groups")
    strides = [int(number) for number in job.said("strides", [1] * spatial)]
    dilations = [int(number) for number in job.said("dilations", [1] * spatial)]
    if spatial != 2 and any(number != 1 for number in dilations):
        raise job.refused("is dilated")
    window = [(int(length) - 1) * dilations[i] + 1 for i, length in enumerate(shape[2:])]
    laid, kernel = channels_last(value, job), job.sheet.turned(weight, (*range(2, 2 + spatial), 1, 0))
    extra = [int(number) for number in job.said("output_padding", [0] * spatial)]
    made = _backwards(job, laid, kernel, (strides, dilations, window))
    cuts = _cuts(job, value, strides, window, extra)
    made = padded(job, replace(made, shape=("?",) * value.rank), [[0, 0], *cuts, [0, 0]])
    if bias is not None:
        made = job.one("BiasAdd", made, bias, data_format="NHWC") if spatial < 3 else _added(job, made, bias)
    return (channels_second(job, made, job.shapes[0]),)


def _backwards(job: Job, laid: Operand, kernel: Operand, how: tuple[list[int], list[int], list[int]]) -> Operand:
    """Everything that a transposed convolution reaches."""
    strides, dilations, window = how
    spatial = len(strides)
    if spatial == 1:
        rank3, flat = _pictures(job, laid, kernel)
        made = _backwards(job, rank3, flat, ([1, *strides], [1, *dilations], [1, *window]))
        return job.one("Squeeze", made, squeeze_dims=[1])
    ahead = [lengths(job, laid, [0])]
    for axis in range(spatial):
        length = lengths(job, laid, [axis + 1])
        last = binary(job, "Sub", length, job.sheet.constant([1], "int64"))
        reach = binary(job, "Mul", last, job.sheet.constant([strides[axis]], "int64"))
        ahead.append(binary(job, "AddV2", reach, job.sheet.constant([window[axis]], "int64")))
    ahead.append(job.sheet.constant([(kernel.shape or (1,) * (spatial + 2))[-2]], "int64"))
    sizes = job.cast(joined(job, ahead, 0), "int32")
    said: dict[str, Any] = {"strides": [1, *strides, 1], "dilations": [1, *dilations, 1], "padding": "VALID"}
    if spatial == 3:
        given: dict[str, Any] = {"T": Kind(laid.dtype), "data_format": "NDHWC", "Tshape": Kind("int32")}
        return job.sheet.emit(
            "Conv3DBackpropInputV2", sizes, kernel, laid, dtype=laid.dtype, shape=None, **given, **said
        )
    given = {"T": Kind(laid.dtype), "data_format": "NHWC", "explicit_paddings": [], "use_cudnn_on_gpu": True}
    return job.sheet.emit("Conv2DBackpropInput", sizes, kernel, laid, dtype=laid.dtype, shape=None, **given, **said)


def _cuts(job: Job, value: Operand, strides: list[int], window: list[int], extra: list[int]) -> list[list[int]]:
    """What is left away at each side (negative), or added at the end."""
    spatial = len(strides)
    word = job.said("auto_pad", "NOTSET")
    target = job.said("output_shape")
    if word in {"NOTSET", "VALID"} and target is None:
        pads = [int(number) for number in job.said("pads", [0] * 2 * spatial)]
        return [[-pads[i], extra[i] - pads[i + spatial]] for i in range(spatial)]
    cuts = []
    for i in range(spatial):
        length = (value.shape or ())[i + 2]
        if target is not None and not isinstance(length, int):
            raise job.refused("makes a shape of an axis of unknown length")
        wanted = int(target[i]) - (int(length) - 1) * strides[i] if target is not None else strides[i]
        total = window[i] + extra[i] - wanted
        before = total // 2 if word != "SAME_LOWER" else total - total // 2
        cuts.append([-before, extra[i] - (total - before)])
    return cuts


WRITERS: Writers = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
}
