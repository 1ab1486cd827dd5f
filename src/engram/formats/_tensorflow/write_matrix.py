"""Products, convolutions and pools of ONNX, as TensorFlow has them: channels last."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from engram.formats._tensorflow.job import Job, Writers
from engram.formats._tensorflow.sheet import Kind, Operand, Shape
from engram.formats._tensorflow.values import inverse
from engram.formats._tensorflow.write_elementwise import binary
from engram.formats._tensorflow.write_shape import joined, lengths, padded, sliced

__all__ = ["WRITERS", "product"]


def product(job: Job, first: Operand, second: Operand, shape: Shape = None) -> Operand:
    """The product of two matrices, or of stacks of them."""
    if first.rank == second.rank == 2:
        flips: dict[str, Any] = {"transpose_a": first.turn == (1, 0), "transpose_b": second.turn == (1, 0)}
        given = [job.sheet.stored(value) if value.turn == (1, 0) else value for value in (first, second)]
        return job.one("MatMul", *given, shape=shape, **flips)
    return job.one("BatchMatMulV2", first, second, shape=shape, adj_x=False, adj_y=False)


def _matmul(job: Job) -> tuple[Operand, ...]:
    first, second = job.get(0), job.get(1)
    if first.rank == 1 or second.rank == 1:
        one = job.reshape(first, [1, -1]) if first.rank == 1 else first
        other = job.reshape(second, [-1, 1]) if second.rank == 1 else second
        made = product(job, one, other)
        gone = [place for place, value in ((-2, first), (-1, second)) if value.rank == 1]
        return (job.one("Squeeze", made, shape=job.shapes[0], squeeze_dims=gone),)
    if second.rank == 2 and first.rank > 2 and isinstance((first.shape or ())[-1], int):
        # rows of a stack times one matrix are rows all the same
        rows = job.reshape(first, [-1, int((first.shape or ())[-1])])
        flat = product(job, rows, second, ("?", (second.shape or ("?", "?"))[-1]))
        return (_stacked(job, flat, first, (second.shape or ("?", "?"))[-1]),)
    return (product(job, first, second, job.shapes[0]),)


def _stacked(job: Job, flat: Operand, like: Operand, width: int | str) -> Operand:
    """Rows put back into the stack they came from."""
    front = list((like.shape or ())[:-1])
    free = [place for place, axis in enumerate(front) if not isinstance(axis, int)]
    if isinstance(width, int) and len(free) <= 1:
        return job.reshape(
            flat, [-1 if i in free else int(axis) for i, axis in enumerate(front)] + [width], job.shapes[0]
        )
    ahead = lengths(job, like, list(range(like.rank - 1)))
    return job.reshape(flat, joined(job, [ahead, job.sheet.constant([-1], "int64")], 0), job.shapes[0])


def _gemm(job: Job) -> tuple[Operand, ...]:
    first, second, bias = job.get(0), job.get(1), job.maybe(2)
    first = job.sheet.turned(first, (1, 0)) if job.said("transA", 0) else first
    second = job.sheet.turned(second, (1, 0)) if job.said("transB", 0) else second
    made = product(job, first, second, job.shapes[0])
    alpha, beta = float(job.said("alpha", 1.0)), float(job.said("beta", 1.0))
    if alpha != 1.0:
        made = binary(job, "Mul", made, job.number(alpha, made))
    if bias is None:
        return (made,)
    bias = binary(job, "Mul", bias, job.number(beta, bias)) if beta != 1.0 else bias
    if bias.rank == 1 and bias.shape == (job.shapes[0] or ("", ""))[-1:]:
        return (job.one("BiasAdd", made, bias, shape=job.shapes[0], data_format="NHWC"),)
    return (binary(job, "AddV2", made, bias),)


def _einsum(job: Job) -> tuple[Operand, ...]:
    values = [value for value in job.inputs if value is not None]
    equation = str(job.said("equation")).replace(" ", "")
    if "->" not in equation:
        letters = equation.replace(",", "").replace(".", "")
        equation += "->" + ("..." if "..." in equation else "")
        equation += "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1))
    return (
        job.sheet.emit(
            "Einsum", *values, shape=job.shapes[0], T=Kind(values[0].dtype), N=len(values), equation=equation
        ),
    )


def _last(value: Operand, job: Job) -> Operand:
    """A value laid channels last, with nothing owed."""
    rank = value.rank
    return job.sheet.plain(job.sheet.turned(value, (0, *range(2, rank), 1)))


def _second(job: Job, made: Operand, shape: Shape) -> Operand:
    """A value that lies channels last, as ONNX sees it."""
    rank = len(shape) if shape is not None else 4
    turn = (0, rank - 1, *range(1, rank - 1))
    back = None if shape is None else tuple(shape[axis] for axis in inverse(turn))
    return job.sheet.turned(replace(made, shape=back), turn)


def _amounts(job: Job, spatial: int, window: list[int], strides: list[int]) -> list[list[int]] | str:
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
    pairs = _amounts(job, spatial, window, strides)
    laid = _last(value, job)
    if isinstance(pairs, list):
        laid, pairs = padded(job, laid, [[0, 0], *pairs, [0, 0]]), "VALID"
    groups = int(job.said("group", 1))
    made = _grouped(job, laid, weight, (strides, dilations, pairs), groups)
    if bias is not None:
        made = job.one("BiasAdd", made, bias, data_format="NHWC") if spatial < 3 else _added(job, made, bias)
    return (_second(job, made, job.shapes[0]),)


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
        # a row is a picture of height one
        rank3 = job.one(
            "ExpandDims", laid, job.sheet.constant(1, "int32"), shape=_inserted(laid.shape), Tdim=Kind("int32")
        )
        flat = job.one(
            "ExpandDims", kernel, job.sheet.constant(0, "int32"), shape=(1, *(kernel.shape or ())), Tdim=Kind("int32")
        )
        made = _convolved(job, rank3, flat, ([1, *strides], [1, *dilations], padding))
        return job.one("Squeeze", made, squeeze_dims=[1])
    said: dict[str, Any] = {"strides": [1, *strides, 1], "dilations": [1, *dilations, 1], "padding": padding}
    if spatial == 3:
        return job.one("Conv3D", laid, kernel, data_format="NDHWC", **said)
    return job.one("Conv2D", laid, kernel, data_format="NHWC", explicit_paddings=[], use_cudnn_on_gpu=True, **said)


def _inserted(shape: Shape) -> Shape:
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
    laid, kernel = _last(value, job), job.sheet.turned(weight, (*range(2, 2 + spatial), 1, 0))
    extra = [int(number) for number in job.said("output_padding", [0] * spatial)]
    made = _backwards(job, laid, kernel, (strides, dilations, window))
    cuts = _cuts(job, value, strides, window, extra)
    made = padded(job, replace(made, shape=("?",) * value.rank), [[0, 0], *cuts, [0, 0]])
    if bias is not None:
        made = job.one("BiasAdd", made, bias, data_format="NHWC") if spatial < 3 else _added(job, made, bias)
    return (_second(job, made, job.shapes[0]),)


def _backwards(job: Job, laid: Operand, kernel: Operand, how: tuple[list[int], list[int], list[int]]) -> Operand:
    """Everything that a transposed convolution reaches."""
    strides, dilations, window = how
    spatial = len(strides)
    if spatial == 1:
        rank3 = job.one(
            "ExpandDims", laid, job.sheet.constant(1, "int32"), shape=_inserted(laid.shape), Tdim=Kind("int32")
        )
        flat = job.one(
            "ExpandDims", kernel, job.sheet.constant(0, "int32"), shape=(1, *(kernel.shape or ())), Tdim=Kind("int32")
        )
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


def _pool(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    spatial = value.rank - 2
    kernel = [int(number) for number in job.said("kernel_shape")]
    strides = [int(number) for number in job.said("strides", [1] * spatial)]
    if (
        spatial not in {1, 2, 3}
        or any(int(n) != 1 for n in job.said("dilations", [1] * spatial))
        or len(job.step.outputs) > 1
    ):
        raise job.refused(f"pools {spatial} axes with dilation, or tells where")
    laid = _last(value, job)
    pairs = _amounts(job, spatial, kernel, strides)
    if isinstance(pairs, list) and job.said("ceil_mode", 0):
        pairs = [_ceiling(job, laid, i, (kernel[i], strides[i]), pair) for i, pair in enumerate(pairs)]
    maximum = job.step.operator == "MaxPool"
    if isinstance(pairs, str) or not any(any(pair) for pair in pairs):
        made = _pooled(job, laid, (kernel, strides, pairs if isinstance(pairs, str) else "VALID"), maximum=maximum)
        return (_second(job, made, job.shapes[0]),)
    whole = [[0, 0], *pairs, [0, 0]]
    how = (kernel, strides, "VALID")
    if maximum:
        lowest = job.number(-np.inf if laid.dtype.startswith("float") else 0, laid)
        made = _pooled(job, padded(job, laid, whole, filler=lowest), how, maximum=True)
        return (_second(job, made, job.shapes[0]),)
    made = _pooled(job, padded(job, laid, whole), how, maximum=False)
    return (_second(job, _counted(job, made, laid, whole, how), job.shapes[0]),)


def _ceiling(job: Job, laid: Operand, axis: int, how: tuple[int, int], pair: list[int]) -> list[int]:
    """More at the end, so that a last window that begins inside is taken along."""
    length = (laid.shape or ())[axis + 1]
    if not isinstance(length, int):
        raise job.refused("rounds up on an axis of unknown length")
    window, stride = how
    whole = length + sum(pair)
    count = -(-(whole - window) // stride) + 1
    if (count - 1) * stride >= length + pair[0]:
        count -= 1
    return [pair[0], pair[1] + max((count - 1) * stride + window - whole, 0)]


def _counted(
    job: Job, made: Operand, laid: Operand, pairs: list[list[int]], how: tuple[list[int], list[int], str]
) -> Operand:
    """An average over what is there, where the node does not count what was padded."""
    own = [int(number) for number in job.said("pads", [0] * (2 * (laid.rank - 2)))]
    counted = bool(job.said("count_include_pad", 0))
    shape = (laid.shape or ())[1:-1]
    if not all(isinstance(axis, int) for axis in shape):
        raise job.refused("averages at the ends of an axis of unknown length")
    inside = np.ones([1, *(int(axis) for axis in shape), 1], laid.dtype)
    spatial = len(shape)
    if counted:
        ends = [[0, 0], *[[own[i], own[i + spatial]] for i in range(spatial)], [0, 0]]
        inside = np.pad(inside, ends, constant_values=1)
        rest = [[0, pair[1] - end[1]] for pair, end in zip(pairs, ends, strict=True)]
        inside = np.pad(inside, rest)
    else:
        inside = np.pad(inside, pairs)
    share = _pooled(job, job.sheet.constant(inside), how, maximum=False)
    return job.one("RealDiv", made, share)


def _pooled(job: Job, laid: Operand, how: tuple[list[int], list[int], str], *, maximum: bool) -> Operand:
    kernel, strides, padding = how
    if len(kernel) == 1:
        rank3 = job.one(
            "ExpandDims", laid, job.sheet.constant(1, "int32"), shape=_inserted(laid.shape), Tdim=Kind("int32")
        )
        made = _pooled(job, rank3, ([1, *kernel], [1, *strides], padding), maximum=maximum)
        return job.one("Squeeze", made, squeeze_dims=[1])
    name = ("MaxPool" if maximum else "AvgPool") + ("3D" if len(kernel) == 3 else "")
    layout = "NDHWC" if len(kernel) == 3 else "NHWC"
    said: dict[str, Any] = {
        "ksize": [1, *kernel, 1],
        "strides": [1, *strides, 1],
        "padding": padding,
        "data_format": layout,
    }
    if name == "MaxPool":
        said["explicit_paddings"] = []
    return job.one(name, laid, **said)


def _global_pool(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    stored = job.sheet.stored(value)
    axes = [value.turn[axis] if value.turn else axis for axis in range(2, value.rank)]
    operation = "Max" if job.step.operator == "GlobalMaxPool" else "Mean"
    made = job.one(operation, stored, job.sheet.constant(sorted(axes), "int32"), Tidx=Kind("int32"), keep_dims=True)
    if not value.turn:
        return (replace(made, shape=job.shapes[0]),)
    back = tuple(1 if place in axes else axis for place, axis in enumerate(stored.shape or ()))
    return (job.sheet.turned(replace(made, shape=back), value.turn),)


def _batch_norm(job: Job) -> tuple[Operand, ...]:
    value = job.get(0)
    vectors = [job.get(place) for place in range(1, 5)]
    if job.said("training_mode", 0):
        raise job.refused("normalizes by the batch")
    epsilon = float(job.said("epsilon", 1e-5))
    if value.rank == 4 and value.dtype == "float32":
        laid = _last(value, job)
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
        return (_second(job, made, job.shapes[0]),)
    scale, offset, mean, variance = vectors
    spread = binary(job, "AddV2", variance, job.number(epsilon, variance))
    factor = binary(job, "Mul", job.one("Rsqrt", spread, shape=spread.shape), scale)
    rest = binary(job, "Sub", offset, binary(job, "Mul", mean, factor))
    if value.rank > 2:
        laid = job.sheet.plain(job.sheet.turned(value, (0, *range(2, value.rank), 1)))
        made = job.one("AddV2", job.one("Mul", laid, factor), rest)
        return (_second(job, made, job.shapes[0]),)
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
    laid = _last(job.get(0), job)
    said: dict[str, Any] = {"depth_radius": size // 2, "bias": float(job.said("bias", 1.0))}
    said |= {"alpha": float(job.said("alpha", 1e-4)) / size, "beta": float(job.said("beta", 0.75))}
    return (_second(job, job.one("LRN", laid, **said), job.shapes[0]),)


def _resize(job: Job) -> tuple[Operand, ...]:
    value, shape = job.get(0), job.shapes[0]
    mode, where = job.said("mode", "nearest"), job.said("coordinate_transformation_mode", "half_pixel")
    if value.rank != 4 or shape is None or job.said("antialias", 0):
        raise job.refused("resizes what is no batch of pictures, or smooths before")
    sizes = _sizes(job, value, shape)
    laid = _last(value, job)
    kinds = {"nearest": "ResizeNearestNeighbor", "linear": "ResizeBilinear", "cubic": "ResizeBicubic"}
    corners, half = where == "align_corners", where in {"half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn"}
    if mode not in kinds or (not corners and not half and where != "asymmetric"):
        raise job.refused(f"resizes in mode {mode} at {where}")
    if mode == "nearest" and not _same_neighbor(job, value, shape, where):
        raise job.refused(f"takes the nearest by {job.said('nearest_mode', 'round_prefer_floor')} at {where}")
    if mode == "nearest" and not corners:
        half = where == "tf_half_pixel_for_nn"
    made = job.one(kinds[mode], laid, sizes, dtype=laid.dtype, align_corners=corners, half_pixel_centers=half)
    return (_second(job, made, shape),)


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
    "AveragePool": _pool,
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _lrn,
    "LayerNormalization": _layer_norm,
    "LogSoftmax": _softmax,
    "MatMul": _matmul,
    "MaxPool": _pool,
    "Resize": _resize,
    "Softmax": _softmax,
}
