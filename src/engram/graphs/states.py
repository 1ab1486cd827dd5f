"""Recurrent layers that begin in zeros, said by leaving the state out.

Exporters compute the zeros in which a recurrent layer begins from the number of rows, in half a dozen nodes. ONNX says
the same by giving no state, and so does every target.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import TensorProto, numpy_helper

from engram.graphs.folding import constant_of
from engram.graphs.naming import subgraphs

__all__ = ["forget_zeros"]

_STATES = {"GRU": (5,), "LSTM": (5, 6), "RNN": (5,)}
_KEEPING = {"Cast", "Expand", "Identity", "Reshape", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze"}
"""Operators that make nothing but zeros of zeros."""


def forget_zeros(graph: onnx.GraphProto) -> None:
    """Leave out, in place and at every depth, the states that are known to be zeros."""
    _forget(graph, {})


def _forget(graph: onnx.GraphProto, outer: Mapping[str, onnx.NodeProto]) -> None:
    makers = {**outer, **{name: node for node in graph.node for name in node.output}}
    for node in graph.node:
        for place in _STATES.get(node.op_type, ()) if not node.domain else ():
            if place < len(node.input) and _is_zero(makers.get(node.input[place]), makers):
                node.input[place] = ""
        while node.op_type in _STATES and node.input and not node.input[-1]:
            del node.input[-1]
        for inner in subgraphs(node):
            _forget(inner, makers)


def _is_zero(maker: onnx.NodeProto | None, makers: Mapping[str, onnx.NodeProto]) -> bool:
    while maker is not None and maker.op_type in _KEEPING and not maker.domain:
        maker = makers.get(maker.input[0])
    if maker is None:
        return False
    if maker.op_type == "ConstantOfShape":
        return not any(numpy_helper.to_array(a.t).any() for a in maker.attribute if a.name == "value")
    return any(_holds_zeros(tensor) for tensor in (constant_of(maker) or {}).values())


def _holds_zeros(tensor: TensorProto) -> bool:
    return tensor.data_type != TensorProto.STRING and not numpy_helper.to_array(tensor).any()
