"""Products of matrices, convolutions, pools: where the numbers are."""

from __future__ import annotations

from typing import Any

from engram.formats._tensorflow.call import Call, Readers
from engram.formats._tensorflow.normalization import channels_second, normalized
from engram.formats._tensorflow.values import Axis, Items, Tensor

__all__ = ["READERS"]


def _product(call: Call) -> Items:
    first, second = call.tensor(0), call.tensor(1)
    flip = [
        call.node.truth("transpose_a") or call.node.truth("adj_x"),
        call.node.truth("transpose_b") or call.node.truth("adj_y"),
    ]
    given = [
        _flipped(call, value) if turn else call.nodes.name(value)
        for value, turn in zip((first, second), flip, strict=True)
    ]
    made = call.nodes.emit("MatMul", *given)
    if first.rank == second.rank == 2:
        call.trace.products[made.name] = ("Gemm", tuple(given), {})
    return (made,)


def _flipped(call: Call, value: Tensor) -> str:
    order = [*range(value.rank - 2), value.rank - 1, value.rank - 2]
    return call.nodes.emit("Transpose", call.nodes.name(value), perm=order).name


def _einsum(call: Call) -> Items:
    given = [call.name(place) for place in range(len(call.inputs))]
    return (call.nodes.emit("Einsum", *given, equation=call.node.text("equation")),)


def _spatial(call: Call, key: str, rank: int, default: int = 1) -> list[int]:
    """A setting of the spatial axes; TensorFlow lists all axes."""
    given = call.node.integers(key) or [default] * rank
    if len(given) != rank:
        raise call.refused(f"has {key} {given} for {rank} axes")
    return given[2:] if _channels_first(call) else given[1:-1]


def _channels_first(call: Call) -> bool:
    return call.node.text("data_format", "NHWC").startswith("NC")


def _laid(call: Call, value: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    return (call.nodes.settled(value), ()) if _channels_first(call) else channels_second(call, value)


def _padding(call: Call, rank: int) -> dict[str, object]:
    """SAME is left to the runtime: how much it pads hangs on lengths that may be free."""
    word = call.node.text("padding", "VALID")
    if word == "SAME":
        return {"auto_pad": "SAME_UPPER"}
    if word == "VALID":
        return {}
    pairs = call.node.integers("explicit_paddings")
    if len(pairs) != 2 * rank:
        raise call.refused(f"pads by {pairs}")
    inner = pairs[4:] if _channels_first(call) else pairs[2:-2]
    return {"pads": [*inner[0::2], *inner[1::2]]}


def _convolution(call: Call) -> Items:
    value, kernel = call.tensor(0), call.tensor(1)
    rank = len(call.shape())
    stored, turn = _laid(call, value)
    shape = call.shape(1)
    channels, inner = (stored.shape or (0, 0))[1], shape[-2]
    groups = channels // inner if isinstance(channels, int) and isinstance(inner, int) and inner else 1
    order = [rank - 1, rank - 2, *range(rank - 2)]
    weight = call.nodes.emit("Transpose", call.nodes.name(kernel), perm=order)
    said: dict[str, Any] = {
        "strides": _spatial(call, "strides", rank),
        "dilations": _spatial(call, "dilations", rank),
        "group": groups,
    }
    return (_biasable(call, "Conv", (stored.name, weight.name), {**said, **_padding(call, rank)}, turn),)


def _biasable(call: Call, kind: str, given: tuple[str, str], said: dict[str, Any], turn: tuple[int, ...]) -> Tensor:
    """A node to which a bias may still be added."""
    made = call.nodes.emit(kind, *given, **said)
    call.trace.products[made.name] = (kind, given, said)
    return call.nodes.turned(made, turn) if turn else made


def _depthwise(call: Call) -> Items:
    value, kernel = call.tensor(0), call.tensor(1)
    height, width, channels, multiplier = call.shape(1)
    if not isinstance(channels, int) or not isinstance(multiplier, int):
        raise call.refused("needs to know the shape of its kernel")
    stored, turn = _laid(call, value)
    turned = call.nodes.emit("Transpose", call.nodes.name(kernel), perm=[2, 3, 0, 1])
    shape = call.nodes.constant([channels * multiplier, 1, *(int(axis) for axis in (height, width))], "int64")
    weight = call.nodes.emit("Reshape", turned.name, shape.name)
    said: dict[str, Any] = {
        "strides": _spatial(call, "strides", 4),
        "dilations": _spatial(call, "dilations", 4),
        "group": channels,
    }
    return (_biasable(call, "Conv", (stored.name, weight.name), {**said, **_padding(call, 4)}, turn),)


def _transposed(call: Call) -> Items:
    """The gradient of a convolution, which is how TensorFlow writes a transposed one."""
    sizes, kernel, value = call.nodes.parts(call.tensor(0)), call.tensor(1), call.tensor(2)
    rank = value.rank
    if sizes is None or len(sizes) != rank:
        raise call.refused("makes a shape that hangs on data")
    stored, turn = _laid(call, value)
    strides = _spatial(call, "strides", rank)
    dilations = _spatial(call, "dilations", rank)
    window = [(int(length) - 1) * dilations[i] + 1 for i, length in enumerate(call.shape(1)[:-2])]
    order = [rank - 1, rank - 2, *range(rank - 2)]
    weight = call.nodes.emit("Transpose", call.nodes.name(kernel), perm=order)
    target = sizes[2:] if _channels_first(call) else sizes[1:-1]
    cut = _cut(call, (stored.shape or ())[2:], target, strides, window)
    said: dict[str, Any] = {"strides": strides, "dilations": dilations, **cut}
    return (_biasable(call, "ConvTranspose", (stored.name, weight.name), said, turn),)


def _cut(
    call: Call, given: tuple[Axis, ...], target: tuple[Axis, ...], strides: list[int], window: list[int]
) -> dict[str, list[int]]:
    """What a transposed convolution leaves away at each side, and what it adds at the end."""
    same = call.node.text("padding", "VALID") == "SAME"
    before, after, added = [], [], []
    for i, stride in enumerate(strides):
        length, wanted = given[i], target[i]
        whole = isinstance(length, int) and isinstance(wanted, int)
        # where the length is free, the usual one is meant: stride times as long, or as long as the window reaches
        length = int(length) if whole else 1
        wanted = int(wanted) if whole else (length * stride if same else (length - 1) * stride + max(window[i], stride))
        reach = (length - 1) * stride + window[i]
        over = max(reach - wanted, 0) if same else 0
        if not same and reach > wanted:
            raise call.refused(f"makes {wanted} of {length}, which the window does not")
        before.append(over // 2)
        after.append(over - over // 2)
        added.append(max(wanted - reach, 0))
    return {"pads": [*before, *after], "output_padding": added}


def _pool(call: Call) -> Items:
    value, rank = call.tensor(0), len(call.shape())
    stored, turn = _laid(call, value)
    given = {"kernel_shape": _spatial(call, "ksize", rank), "strides": _spatial(call, "strides", rank)}
    kind = "MaxPool" if call.node.operation.startswith("Max") else "AveragePool"
    made = call.nodes.emit(kind, stored.name, **given, **_padding(call, rank))
    return (call.nodes.turned(made, turn) if turn else made,)


def _fused(call: Call) -> Items:
    value = call.tensor(0)
    if call.node.truth("is_training", default=True):
        raise call.refused("normalizes by the batch, as only training does")
    count = call.shape(1)[0]
    if not isinstance(count, int):
        raise call.refused("needs to know how many channels there are")
    vectors: list[Tensor | None] = [call.tensor(place) for place in range(1, 5)]
    epsilon = call.node.number("epsilon", 1e-4)
    if _channels_first(call):
        names = [call.nodes.name(vector) for vector in vectors if vector is not None]
        settled = call.nodes.name(value)
        made = call.nodes.emit("BatchNormalization", settled, *names, epsilon=epsilon, momentum=0.99)
    else:
        made = normalized(call, value, vectors, epsilon, count)
    unused = call.tensor(3), call.tensor(4)
    return (made, *unused, *unused, unused[0])


def _softmax(call: Call) -> Items:
    return (call.nodes.emit(call.node.operation, call.name(0), axis=-1),)


def _local_response(call: Call) -> Items:
    value = call.tensor(0)
    stored, turn = channels_second(call, value)
    size = 2 * call.node.integer("depth_radius", 5) + 1
    made = call.nodes.emit(
        "LRN",
        stored.name,
        size=size,
        alpha=call.node.number("alpha", 1.0) * size,
        beta=call.node.number("beta", 0.5),
        bias=call.node.number("bias", 1.0),
    )
    return (call.nodes.turned(made, turn),)


def _resize(call: Call) -> Items:
    value, sizes = call.tensor(0), call.nodes.parts(call.tensor(1))
    if value.rank != 4 or sizes is None:
        raise call.refused("resizes to a size that hangs on data")
    stored, turn = channels_second(call, value)
    mode = {"ResizeBilinear": "linear", "ResizeNearestNeighbor": "nearest"}.get(call.node.operation, "cubic")
    corners, half = call.node.truth("align_corners"), call.node.truth("half_pixel_centers")
    where = "align_corners" if corners else "half_pixel" if half else "asymmetric"
    batch, channels = (stored.shape or ("", ""))[:2]
    target = call.nodes.lengths([batch, channels, *sizes], "int64")
    more: dict[str, object] = {"nearest_mode": "floor"} if mode == "nearest" else {}
    if mode == "nearest" and corners:
        more = {"nearest_mode": "round_prefer_ceil"}
    if mode == "nearest" and half:
        more = {"nearest_mode": "floor"}
        where = "half_pixel" if _divides(stored.shape, sizes) else "tf_half_pixel_for_nn"
    if mode == "cubic":
        more = {"cubic_coeff_a": -0.5 if half else -0.75, "exclude_outside": int(half)}
    if stored.dtype != "float32" and mode != "nearest":
        stored = call.cast(stored, "float32")
    made = call.nodes.emit(
        "Resize", stored.name, "", "", call.nodes.name(target), mode=mode, coordinate_transformation_mode=where, **more
    )
    return (call.nodes.turned(made, turn),)


def _divides(shape: tuple[Axis, ...] | None, sizes: tuple[Axis, ...]) -> bool:
    """Whether every length grows by a whole factor, where both ways to find the nearest agree."""
    lengths = (shape or ())[2:]
    return all(isinstance(a, int) and isinstance(b, int) and b % a == 0 for a, b in zip(lengths, sizes, strict=True))


READERS: Readers = {
    "AvgPool": _pool,
    "AvgPool3D": _pool,
    "BatchMatMul": _product,
    "BatchMatMulV2": _product,
    "BatchMatMulV3": _product,
    "Conv2D": _convolution,
    "Conv2DBackpropInput": _transposed,
    "Conv3D": _convolution,
    "Conv3DBackpropInputV2": _transposed,
    "DepthwiseConv2dNative": _depthwise,
    "Einsum": _einsum,
    "FusedBatchNorm": _fused,
    "FusedBatchNormV2": _fused,
    "FusedBatchNormV3": _fused,
    "LRN": _local_response,
    "LogSoftmax": _softmax,
    "MatMul": _product,
    "MaxPool": _pool,
    "MaxPool3D": _pool,
    "ResizeBicubic": _resize,
    "ResizeBilinear": _resize,
    "ResizeNearestNeighbor": _resize,
    "Softmax": _softmax,
}
