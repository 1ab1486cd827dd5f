"""A Reshape that keeps the batch, said in one constant.

Exporters spell ``x.flatten(1)`` as six nodes that read the batch's length and put it back. Where every other axis is
known, -1 says the same, and a reader (or a target without shape arithmetic) sees the layer again.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy import ndarray
from onnx import TensorProto, helper, numpy_helper

from engram.graphs.folding import constant_of
from engram.graphs.naming import unique, values

__all__ = ["settle"]

_COMBINING = {"Add", "Div", "Mul", "Sub"}
_KEEPING = {"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze"}


def settle(graph: onnx.GraphProto) -> None:
    """Give each Reshape, in place, a constant shape where only one axis of it was computed."""
    makers = {name: node for node in graph.node for name in node.output}
    taken = values(graph)
    added = []
    for node in graph.node:
        maker = makers.get(node.input[1]) if node.op_type == "Reshape" and not node.domain else None
        shape = _shape(maker, makers) if maker is not None else None
        if shape is None:
            continue
        name = unique(f"{node.output[0]}/shape", taken)
        added.append(helper.make_node("Constant", [], [name], name=name, value=numpy_helper.from_array(shape, name)))
        node.input[1] = name
        kept = [a for a in node.attribute if a.name != "allowzero"]
        del node.attribute[:]
        node.attribute.extend([onnx.AttributeProto.FromString(a.SerializeToString()) for a in kept])
    nodes = [*added, *(onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node)]
    del graph.node[:]
    graph.node.extend(nodes)


def _shape(maker: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto]) -> ndarray | None:
    """The shape with -1 for its one computed axis; None unless all others are known and positive."""
    if maker.op_type != "Concat":
        return None
    parts = [_part(name, makers) for name in maker.input]
    if any(part is None for part in parts):
        return None
    shape = np.concatenate([part for part in parts if part is not None])
    positive = (shape > 0).sum()
    return shape if positive == len(shape) - 1 and (shape == -1).sum() == 1 else None


def _part(name: str, makers: Mapping[str, onnx.NodeProto]) -> ndarray | None:
    node = makers.get(name)
    if node is None:
        return None
    known = constant_of(node)
    if known:
        numbers = numpy_helper.to_array(known[name])
        # a -1 that was there before leaves two axes open, which `_shape` refuses
        return numbers.reshape(-1) if known[name].data_type == TensorProto.INT64 and numbers.ndim <= 1 else None
    return np.array([-1], dtype=np.int64) if _is_one_number(node, makers) else None


def _is_one_number(node: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto]) -> bool:
    """Whether a value is a single axis of some shape, followed back through what does not change its count."""
    while node.op_type in _KEEPING:
        maker = makers.get(node.input[0])
        if maker is None:
            return False
        node = maker
    if node.op_type in _COMBINING:
        parts = [_part(name, makers) for name in node.input]
        return all(part is not None and part.size == 1 for part in parts)
    if node.op_type == "Gather":
        place, source = _part(node.input[1], makers), makers.get(node.input[0])
        return place is not None and place.size == 1 and source is not None and source.op_type == "Shape"
    bounds = {attribute.name: int(attribute.i) for attribute in node.attribute}
    start, end = bounds.get("start", 0), bounds.get("end", 0)
    return bool(node.op_type == "Shape" and start >= 0 and end - start == 1)
