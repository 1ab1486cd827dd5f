"""A graph as plain records, for those who show it, run it or write it in another form without importing onnx.

A ``Step`` is inert: names, numbers and arrays. What a node with graphs inside holds (If, Loop) is a ``Steps`` again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from numpy import ndarray
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from engram.graphs.folding import constant_of
from engram.graphs.naming import subgraphs
from engram.graphs.weights import FIXED, noted

__all__ = ["RANDOM", "Layer", "Step", "Steps", "layers", "operators", "steps"]

RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
"""Operators whose answer differs from call to call."""

_PLUMBING = frozenset({
    "Cast", "CastLike", "Concat", "Constant", "ConstantOfShape", "Expand", "Flatten", "Gather", "Identity", "Reshape",
    "Shape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """One node.

    Attributes:
        operator: its kind (``Conv``).
        name: of the node.
        inputs, outputs: names of values; ``""`` for one left out.
        attributes: plain values; tensors as arrays, graphs as ``Steps``.
        domain: empty for ONNX's own operators.
    """

    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Steps:
    """A graph: its nodes in an order in which they can be computed, and what is known before.

    Attributes:
        inputs, outputs: names of values.
        nodes: without Constant nodes.
        constants: what Constant nodes and small initializers hold, by name.
        weights: names of the initializers whose data are outside.
        fixed: those of them that no training moves.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Step, ...]
    constants: Mapping[str, ndarray]
    weights: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layer:
    """One row of what ``show`` prints.

    Attributes:
        name: of the module the weights belong to (``layer1.0.conv1``), else of the node.
        operator: its kind.
        shape: of its output, as far as it can be told; free axes by name.
        parameters: name → shape of the weights it reads.
    """

    name: str
    operator: str
    shape: tuple[int | str, ...] = ()
    parameters: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many numbers its weights hold."""
        return sum(int(np.prod(shape, dtype=np.int64)) for shape in self.parameters.values())


def steps(graph: bytes) -> Steps:
    """A serialized graph as plain records."""
    model = onnx.ModelProto.FromString(graph)
    return replace(_steps(model.graph), fixed=tuple(sorted(noted(model, FIXED))))


def operators(model: onnx.ModelProto) -> set[str]:
    """The kinds of all nodes, at any depth."""
    return {node.op_type for node in _all_nodes(model.graph)}


def layers(graph: bytes, weights: Mapping[str, ndarray]) -> tuple[Layer, ...]:
    """The nodes a reader cares about, in order: those with weights, activations, pools; not the plumbing.

    Args:
        graph: canonical, without its weights.
        weights: by name.
    """
    model = onnx.ModelProto.FromString(graph)
    shapes = _shapes(model)
    sources = {tensor.name: {tensor.name} for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        read = set().union(*(sources.get(name, set()) for name in node.input))
        if not read and node.op_type in _PLUMBING:
            continue
        if read and node.op_type in _PLUMBING and all(name in sources or not name for name in node.input[:1]):
            # a weight that is only turned or cut belongs to the layer that uses it
            sources.update(dict.fromkeys(node.output, read))
            continue
        parameters = {n: tuple(int(a) for a in np.shape(weights[n])) for n in sorted(read) if n in weights}
        found.append(Layer(_layer_name(node, parameters), node.op_type, shapes.get(node.output[0], ()), parameters))
    return tuple(found)


def _layer_name(node: onnx.NodeProto, parameters: Mapping[str, Any]) -> str:
    modules = {name.rpartition(".")[0] for name in parameters} - {""}
    return min(modules) if len(modules) == 1 else node.name or node.output[0]


def _steps(graph: onnx.GraphProto) -> Steps:
    constants: dict[str, ndarray] = {}
    outside = []
    for tensor in graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            outside.append(tensor.name)
        else:
            constants[tensor.name] = numpy_helper.to_array(tensor)
    nodes = []
    for node in graph.node:
        made = constant_of(node)
        if made is None:
            nodes.append(_step(node))
        else:
            constants.update({name: numpy_helper.to_array(tensor) for name, tensor in made.items()})
    inputs = tuple(value.name for value in graph.input)
    return Steps(inputs, tuple(value.name for value in graph.output), tuple(nodes), constants, tuple(outside))


def _step(node: onnx.NodeProto) -> Step:
    attributes = {attribute.name: _value(attribute) for attribute in node.attribute}
    domain = "" if node.domain == "ai.onnx" else node.domain
    return Step(node.op_type, node.name, tuple(node.input), tuple(node.output), attributes, domain)


def _value(attribute: AttributeProto) -> Any:  # noqa: ANN401 - whatever an attribute may hold
    value = helper.get_attribute_value(attribute)
    plain = _PLAIN.get(attribute.type)
    if plain is not None:
        return plain(value)
    return list(value) if attribute.type == AttributeProto.INTS else value


def _meant(number: float) -> float:
    """The shortest decimal of a 32-bit number: 0.1 was written, and 0.10000000149 is how it was stored."""
    return float(str(np.float32(number)))


_PLAIN: Mapping[int, Callable[[Any], Any]] = {
    AttributeProto.TENSOR: numpy_helper.to_array,
    AttributeProto.GRAPH: _steps,
    AttributeProto.FLOAT: _meant,
    AttributeProto.FLOATS: lambda numbers: [_meant(number) for number in numbers],
    AttributeProto.STRING: lambda text: text.decode(errors="replace"),
    AttributeProto.STRINGS: lambda texts: [text.decode(errors="replace") for text in texts],
}


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for inner in subgraphs(node):
            yield from _all_nodes(inner)


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int | str, ...]]:
    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except (RuntimeError, ValueError):
        graph = model.graph
    return {value.name: _shape(value) for value in [*graph.value_info, *graph.output]}


def _shape(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    axes = value.type.tensor_type.shape.dim
    return tuple(int(axis.dim_value) if axis.HasField("dim_value") else _axis_name(axis.dim_param) for axis in axes)


def _axis_name(name: str) -> str:
    return "?" if not name or name.startswith("unk__") else name  # onnx numbers the axes it cannot tell
