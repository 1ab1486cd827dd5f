"""What a node costs, from shapes alone: operations, and the memory of what it makes.

A multiplication with its addition counts as two operations, as is usual where floating point operations are counted;
everything that is no product of matrices counts one for each number it makes or, where it draws numbers together,
reads. What costs nothing but moving (reshaping, cutting) counts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

import onnx
from onnx import TensorProto, helper

__all__ = ["Extent", "operations", "peak"]


@dataclass(frozen=True, slots=True)
class Extent:
    """Shape and type of a value.

    Attributes:
        shape: lengths; an axis that nobody knows counts as one.
        itemsize: bytes of one number.
        certain: whether every axis is known.
    """

    shape: tuple[int, ...]
    itemsize: int = 4
    certain: bool = True

    @property
    def numbers(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)

    @staticmethod
    def of(value: onnx.ValueInfoProto | TensorProto) -> Extent:
        """Of a declared value or of a tensor."""
        if isinstance(value, TensorProto):
            return Extent(tuple(value.dims), _itemsize(value.data_type))
        tensor = value.type.tensor_type
        axes = [axis.dim_value if axis.HasField("dim_value") else 0 for axis in tensor.shape.dim]
        certain = tensor.HasField("shape") and all(axis > 0 for axis in axes)
        return Extent(tuple(max(axis, 1) for axis in axes), _itemsize(tensor.elem_type), certain)


Known = Mapping[str, Extent]
Count = Callable[[onnx.NodeProto, Known], int]
_UNKNOWN = Extent((), certain=False)


def operations(node: onnx.NodeProto, known: Known) -> int:
    """Additions and multiplications of one node; graphs within it are not looked at."""
    return _COUNTS.get(node.op_type, _made)(node, known)


def peak(graph: onnx.GraphProto, known: Known) -> int:
    """Bytes of inputs and intermediate results at the worst moment, each let go after its last reader."""
    last = {name: place for place, node in enumerate(graph.node) for name in node.input}
    last |= {value.name: len(graph.node) for value in graph.output}
    alive = {value.name: _size(value.name, known) for value in graph.input}
    most = sum(alive.values())
    for place, node in enumerate(graph.node):
        alive |= {name: _size(name, known) for name in node.output if name}
        most = max(most, sum(alive.values()))
        for name in [*node.input, *node.output]:
            if last.get(name, place) <= place:
                alive.pop(name, None)
    return most


def _itemsize(kind: int) -> int:
    if kind in {TensorProto.UNDEFINED, TensorProto.STRING}:
        return 8
    return int(helper.tensor_dtype_to_np_dtype(kind).itemsize)


def _size(name: str, known: Known) -> int:
    found = known.get(name, _UNKNOWN)
    return found.numbers * found.itemsize if found.shape or found.certain else 0


def _input(node: onnx.NodeProto, place: int, known: Known) -> Extent:
    name = node.input[place] if place < len(node.input) else ""
    return known.get(name, _UNKNOWN)


def _output(node: onnx.NodeProto, known: Known) -> Extent:
    return known.get(node.output[0], _UNKNOWN)


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    found = next((helper.get_attribute_value(one) for one in node.attribute if one.name == name), default)
    return int(found)


def _made(node: onnx.NodeProto, known: Known) -> int:
    return _output(node, known).numbers if _output(node, known).certain else 0


def _read(node: onnx.NodeProto, known: Known) -> int:
    return _input(node, 0, known).numbers if _input(node, 0, known).certain else 0


def _nothing(node: onnx.NodeProto, known: Known) -> int:  # noqa: ARG001 - counted like the others
    return 0


def _convolution(node: onnx.NodeProto, known: Known) -> int:
    weight = _input(node, 1, known).shape
    return 2 * _output(node, known).numbers * prod(weight[1:]) + _bias(node, known)


def _transposed(node: onnx.NodeProto, known: Known) -> int:
    weight = _input(node, 1, known).shape
    return 2 * _input(node, 0, known).numbers * prod(weight[1:]) + _bias(node, known)


def _bias(node: onnx.NodeProto, known: Known) -> int:
    return _output(node, known).numbers if len(node.input) > 2 and node.input[2] else 0


def _gemm(node: onnx.NodeProto, known: Known) -> int:
    left = _input(node, 0, known).shape or (1,)
    inner = left[0] if _attribute(node, "transA", 0) else left[-1]
    return 2 * _output(node, known).numbers * inner + _bias(node, known)


def _product(node: onnx.NodeProto, known: Known) -> int:
    left = _input(node, 0, known).shape or (1,)
    return 2 * _output(node, known).numbers * left[-1]


def _recurrent(node: onnx.NodeProto, known: Known) -> int:
    """Two products a step and a direction; gates and states are a few operations beside them."""
    series, kernel, recurrent = (_input(node, place, known).shape for place in range(3))
    if len(series) != 3 or len(kernel) != 3 or len(recurrent) != 3:
        return 0
    return 2 * series[0] * series[1] * kernel[0] * kernel[1] * (kernel[2] + recurrent[2])


def _pool(node: onnx.NodeProto, known: Known) -> int:
    kernel = [axis for one in node.attribute if one.name == "kernel_shape" for axis in one.ints]
    return _output(node, known).numbers * int(prod(kernel))


def _einsum(node: onnx.NodeProto, known: Known) -> int:
    said = next((helper.get_attribute_value(one) for one in node.attribute if one.name == "equation"), b"").decode()
    terms = said.replace(" ", "").partition("->")[0].split(",")
    lengths: dict[str, int] = {}
    for place, term in enumerate(terms):
        lengths.update(zip(term, _input(node, place, known).shape, strict=False))
    return 2 * prod(lengths.values())


_FREE = (
    "Cast", "CastLike", "Concat", "Constant", "ConstantOfShape", "DepthToSpace", "Dropout", "Expand", "Flatten",
    "Gather", "GatherElements", "GatherND", "Identity", "OneHot", "Pad", "Range", "Reshape", "Shape", "Size", "Slice",
    "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
)  # fmt: skip
_REDUCTIONS = (
    "ArgMax", "ArgMin", "GlobalAveragePool", "GlobalMaxPool", "ReduceL1", "ReduceL2", "ReduceLogSum",
    "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "TopK",
)  # fmt: skip
_COUNTS: Mapping[str, Count] = {
    **dict.fromkeys(_FREE, _nothing),
    **dict.fromkeys(_REDUCTIONS, _read),
    **dict.fromkeys(("Conv", "ConvInteger"), _convolution),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent),
    **dict.fromkeys(("AveragePool", "MaxPool", "LpPool"), _pool),
    **dict.fromkeys(("MatMul", "MatMulInteger"), _product),
    "ConvTranspose": _transposed,
    "Gemm": _gemm,
    "Einsum": _einsum,
}
