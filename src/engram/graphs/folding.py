"""Computing the parts of a graph that hang on no input and on no weight.

Exporters write the shape of a weight, a zero bias, or the axes of a mean as little graphs of their own. What they say
is known when the graph is read, so it is written down as a constant. Weights are never folded into anything: a graph
stays trainable.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np
import onnx
from numpy import ndarray
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from engram.graphs.build import IR_VERSION, OPSET
from engram.graphs.naming import subgraphs
from engram.graphs.outline import outline

__all__ = ["computed", "constant_of", "fold"]

_LARGEST = 65_536
"""Numbers in a folded constant; a stranger's ConstantOfShape may ask for 2^40."""

_ELEMENTWISE = frozenset({
    "Abs", "Add", "And", "Cast", "CastLike", "Ceil", "Cos", "Div", "Equal", "Erf", "Exp", "Floor", "Greater",
    "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Log", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pow",
    "Reciprocal", "Round", "Sign", "Sin", "Sqrt", "Sub", "Where", "Xor",
})  # fmt: skip
_MOVING = frozenset({
    "Concat", "Flatten", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Shape", "Size",
    "Slice", "Split", "Squeeze", "Transpose", "Trilu", "Unsqueeze",
})  # fmt: skip
_GROWING = frozenset({"ConstantOfShape", "Expand", "Gather", "Range", "Tile"})


def fold(model: onnx.ModelProto, learned: Collection[str]) -> None:
    """Replace, in place, everything that is known by Constant nodes at the front of the graph.

    Args:
        model: in the pinned operator set, functions inlined.
        learned: initializers that stay as they are; every other one becomes a Constant node.
    """
    graph = model.graph
    known = {tensor.name: tensor for tensor in graph.initializer if tensor.name not in learned}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer if tensor.name in learned}
    types = _types(model) if any(node.op_type == "CastLike" for node in graph.node) else {}
    kept = []
    for node in graph.node:
        made = constant_of(node) or computed(node, known, shapes, types)
        if made is None:
            kept.append(node)
        else:
            known.update(made)
    _rewrite(graph, kept, known, learned)


def constant_of(node: onnx.NodeProto) -> dict[str, TensorProto] | None:
    """What a Constant node says, by the name of its output; None for any other node."""
    if node.op_type != "Constant" or node.domain not in {"", "ai.onnx"} or len(node.attribute) != 1:
        return None
    attribute = node.attribute[0]
    if attribute.type == AttributeProto.TENSOR:
        tensor = TensorProto()
        tensor.CopyFrom(attribute.t)
    elif attribute.type in {AttributeProto.INT, AttributeProto.INTS}:
        tensor = numpy_helper.from_array(np.array(helper.get_attribute_value(attribute), dtype=np.int64))
    elif attribute.type in {AttributeProto.FLOAT, AttributeProto.FLOATS}:
        tensor = numpy_helper.from_array(np.array(helper.get_attribute_value(attribute), dtype=np.float32))
    else:
        return None
    tensor.name = node.output[0]
    return {tensor.name: tensor}


def computed(
    node: onnx.NodeProto,
    known: Mapping[str, TensorProto],
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    types: Mapping[str, int] | None = None,
) -> dict[str, TensorProto] | None:
    """What a node makes, where that is known and small; None where it is not.

    Args:
        node: in the pinned operator set.
        known: constants by name.
        shapes: of values that are not known themselves.
        types: element types of values that are not known themselves.
    """
    shapes, types = shapes or {}, types or {}
    if node.domain not in {"", "ai.onnx"} or not node.input:
        return None
    if node.op_type == "Shape" and node.input[0] in shapes:
        return _evaluated(node, [np.broadcast_to(np.float32(0), shapes[node.input[0]])])
    if node.op_type == "CastLike" and node.input[0] in known and node.input[1] in types:
        cast = helper.make_node("Cast", [node.input[0]], list(node.output), to=types[node.input[1]])
        return computed(cast, known, shapes, types)
    read = [known.get(name) for name in node.input if name]
    if any(tensor is None or tensor.data_type == TensorProto.STRING for tensor in read):
        return None
    inputs = [numpy_helper.to_array(known[name]) if name else None for name in node.input]
    small = _is_small(node, [array for array in inputs if array is not None])
    return _evaluated(node, inputs) if small else None


def _is_small(node: onnx.NodeProto, inputs: list[ndarray]) -> bool:
    """Whether the answer is known to be small before anything is computed."""
    if not inputs or sum(array.size for array in inputs) > _LARGEST:
        return False
    try:
        return node.op_type in _MOVING or _size(node.op_type, inputs) <= _LARGEST
    except (ValueError, OverflowError, TypeError, ZeroDivisionError, IndexError):
        return False


def _size(kind: str, inputs: list[ndarray]) -> float:
    """How many numbers the answer has; infinite for operators that are not folded."""
    if kind in _ELEMENTWISE:
        return math.prod(np.broadcast_shapes(*(array.shape for array in inputs)))
    if kind not in _GROWING:
        return math.inf
    first = inputs[0]
    if kind == "ConstantOfShape":
        return float(math.prod(first.tolist()))
    if kind == "Gather":
        return first.size * max(inputs[1].size, 1)
    if kind == "Range":
        start, limit, step = (float(array) for array in inputs)
        return abs((limit - start) / step)
    lengths = inputs[1].tolist()
    # an Expand never makes more than this; where it makes less, folding it late costs nothing
    return float(max(first.size, 1) * math.prod(lengths))


def _evaluated(node: onnx.NodeProto, inputs: list[ndarray | None]) -> dict[str, TensorProto] | None:
    """The outputs of one node as onnx's own reference computes them; None where it cannot."""
    fed = {name: array for name, array in zip(node.input, inputs, strict=False) if name and array is not None}
    declared = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in fed.items()
    ]
    wanted = [name for name in node.output if name]
    outputs = [onnx.ValueInfoProto(name=name) for name in wanted]
    single = helper.make_graph([node], "folded", declared, outputs)
    model = helper.make_model(single, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    try:
        with np.errstate(all="ignore"):
            answers = ReferenceEvaluator(model).run(None, fed)
    except Exception:  # noqa: BLE001 - the reference raises anything; what it cannot compute simply stays a node
        return None
    if not all(isinstance(answer, (ndarray, np.generic)) for answer in answers):
        return None
    return {n: numpy_helper.from_array(np.asarray(a), n) for n, a in zip(wanted, answers, strict=True)}


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """Value → element type, as far as onnx can tell."""
    try:
        inferred = onnx.shape_inference.infer_shapes(outline(model)).graph
    except (RuntimeError, ValueError):
        inferred = model.graph
    declared = [*inferred.input, *inferred.value_info, *inferred.output]
    found = {v.name: v.type.tensor_type.elem_type for v in declared if v.type.tensor_type.elem_type}
    return found | {tensor.name: tensor.data_type for tensor in model.graph.initializer}


def _rewrite(
    graph: onnx.GraphProto, kept: list[onnx.NodeProto], known: Mapping[str, TensorProto], learned: Collection[str]
) -> None:
    used = {value.name for value in graph.output}
    for node in kept:
        used |= _uses(node)
    nodes = []
    for name in sorted(used & known.keys()):
        tensor = known[name]
        tensor.doc_string = ""
        nodes.append(helper.make_node("Constant", [], [name], name=name, value=tensor))
    nodes += kept
    weights = [tensor for tensor in graph.initializer if tensor.name in learned]
    copied = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    stored = [TensorProto.FromString(tensor.SerializeToString()) for tensor in weights]
    del graph.node[:]
    del graph.initializer[:]
    graph.node.extend(copied)
    graph.initializer.extend(stored)


def _uses(node: onnx.NodeProto) -> set[str]:
    """The values a node reads, also in the graphs within it."""
    read = set(node.input)
    for inner in subgraphs(node):
        read |= {value.name for value in inner.output}
        for below in inner.node:
            read |= _uses(below)
    return read - {""}
