"""What onnx can tell of the shapes inside of a graph, where asking does not cost more memory than there is.

onnx follows lengths through the graph by keeping every number of a short list. It takes each value of one axis for such
a list, one of a trillion numbers, too, so that a graph of five nodes can take all memory. Here shapes are told without
that first, and it is left out where a length or a whole number in the graph is larger than any honest list.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, TensorProto, numpy_helper, shape_inference

__all__ = ["inferred"]

_LONGEST: Final = 1 << 22
_ENDLESS: Final = frozenset({(1 << 31) - 1, (1 << 63) - 1, (1 << 62), -(1 << 63), -(1 << 31)})
"""Numbers that a ``Slice`` means "to the end" by."""
_WHOLE: Final = frozenset({TensorProto.INT64, TensorProto.INT32})
_FEW: Final = 64


def inferred(model: ModelProto) -> GraphProto:
    """The graph with the shapes of its values, as far as they can be told.

    Raises:
        RuntimeError: the graph contradicts itself.
        ValueError: it is no graph.
    """
    plain = shape_inference.infer_shapes(model).graph
    if any(length > _LONGEST for length in _lengths(plain)):
        return plain
    return shape_inference.infer_shapes(model, data_prop=True).graph


def _lengths(graph: GraphProto) -> Iterator[int]:
    """Every length that is known, and every whole number that may become one."""
    for value in [*graph.input, *graph.value_info, *graph.output]:
        yield from (int(axis.dim_value) for axis in value.type.tensor_type.shape.dim)
    constants = [node.attribute[0].t for node in graph.node if node.op_type == "Constant" and len(node.attribute) == 1]
    for tensor in [*graph.initializer, *constants]:
        if tensor.data_type in _WHOLE and tensor.data_location == TensorProto.DEFAULT and np.prod(tensor.dims) <= _FEW:
            yield from (abs(number) for number in _numbers(tensor) if number not in _ENDLESS)


def _numbers(tensor: onnx.TensorProto) -> list[int]:
    try:
        return [int(number) for number in numpy_helper.to_array(tensor).reshape(-1)]
    except (ValueError, TypeError):
        return []  # without its numbers, which onnx cannot follow either
