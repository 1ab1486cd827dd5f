"""A graph without its large numbers, for asking onnx what it thinks of the rest.

onnx's checker and its shape inference write a whole model out for every question, numbers and all; four such questions
were most of the time of reading 100 MB. No shape follows from so many numbers.
"""

from __future__ import annotations

import math

import onnx
from onnx import helper

__all__ = ["outline"]

_BULK = 1_024
"""Numbers of an initializer beyond which it is left out."""


def outline(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which large initializers, and those whose numbers are elsewhere, are inputs of their type and shape.

    The types that exporters noted of values inside, and everything that only people read, are left out.
    """
    graph = onnx.GraphProto(name=model.graph.name)
    for field in ("node", "input", "output", "sparse_initializer", "quantization_annotation"):
        getattr(graph, field).extend(getattr(model.graph, field))
    graph.initializer.extend(t for t in model.graph.initializer if not t.external_data and math.prod(t.dims) <= _BULK)
    there = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    absent = [tensor for tensor in model.graph.initializer if tensor.name not in there]
    graph.input.extend(helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in absent)
    bare = onnx.ModelProto(ir_version=model.ir_version, graph=graph)
    bare.opset_import.extend(model.opset_import)
    bare.functions.extend(model.functions)
    return bare
