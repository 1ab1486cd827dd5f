"""What goes into a graph and what comes out, read and written.

The names of free axes are taken from the records and not from an exporter, which calls the same axis ``s77`` in one
place and ``batch`` in the next.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import TensorProto

from engram.errors import FormatError
from engram.graphs.build import value_info
from engram.records import Signature, TensorSpec
from engram.records.tensors import DTYPES

__all__ = ["declare", "signature"]


def declare(model: onnx.ModelProto, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """Write types and shapes of inputs and outputs, in place and in this order.

    Raises:
        FormatError: the graph has not exactly these inputs, or not these outputs.
    """
    for what, values, specs in (("input", model.graph.input, inputs), ("output", model.graph.output, outputs)):
        given = {value.name for value in values}
        if given != {spec.name for spec in specs}:
            wanted = ", ".join(spec.name for spec in specs)
            raise FormatError(f"the graph's {what}s are {', '.join(sorted(given)) or 'none'}, not {wanted}")
        del values[:]
        values.extend(value_info(spec) for spec in specs)


def signature(graph: bytes | onnx.ModelProto) -> Signature:
    """The inputs and outputs that a graph declares, all of kind ``tensor``.

    A first axis without a length becomes ``batch``; others keep their name or get one from their place.

    Raises:
        FormatError: one of them is no tensor, or of a type that Engram does not know.
    """
    model = graph if isinstance(graph, onnx.ModelProto) else onnx.ModelProto.FromString(graph)
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    return Signature(tuple(_spec(v) for v in inputs), tuple(_spec(v) for v in model.graph.output))


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    if not value.type.HasField("tensor_type"):
        raise FormatError(f"{value.name!r} is not a tensor; only tensors go into a model and come out of it")
    tensor = value.type.tensor_type
    known = {kind: name for name, kind in TensorProto.DataType.items()}
    name = known.get(tensor.elem_type, "").lower()
    dtype = {"float": "float32", "double": "float64"}.get(name, name)
    if dtype not in DTYPES:
        raise FormatError(f"{value.name!r} is of type {dtype or tensor.elem_type}, which Engram does not know")
    shape = tuple(_axis(value.name, place, axis) for place, axis in enumerate(tensor.shape.dim))
    return TensorSpec(value.name, dtype, shape)


def _axis(name: str, place: int, axis: onnx.TensorShapeProto.Dimension) -> int | str:
    if axis.HasField("dim_value") and axis.dim_value >= 0:
        return int(axis.dim_value)
    if place == 0:
        return "batch"
    return str(axis.dim_param) or f"{name}.{place}"
