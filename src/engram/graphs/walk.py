"""A graph as plain records, for those who show it, run it or write it in another form without importing onnx.

A ``Step`` is inert: names, numbers and arrays. What a node with graphs inside holds (If, Loop) is a ``Steps`` again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy import ndarray
from onnx import AttributeProto, TensorProto, helper, inliner, numpy_helper

from engram.errors import EngramError, FormatError
from engram.graphs.build import OPSET
from engram.graphs.check import check_functions
from engram.graphs.folding import constant_of
from engram.graphs.naming import subgraphs
from engram.graphs.versions import pin
from engram.graphs.weights import FIXED, noted

__all__ = ["RANDOM", "Step", "Steps", "operators", "steps"]

_DAMAGED = (DecodeError, ValueError, TypeError, KeyError, IndexError, OverflowError, RuntimeError)

RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
"""Operators whose answer differs from call to call."""


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

    @property
    def title(self) -> str:
        """What to call it in a message."""
        return self.name or next((name for name in self.outputs if name), self.operator)


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


def steps(graph: bytes) -> Steps:
    """A serialized graph as plain records, functions written out; an older operator set becomes the pinned one.

    Raises:
        ConversionError: it is in an older operator set than the pinned one, and cannot be brought to it.
        FormatError: it is no graph, or a damaged one.
    """
    try:
        model = onnx.ModelProto.FromString(graph)
        if any(not one.domain and one.version < OPSET for one in model.opset_import):
            model = pin(model)
        if model.functions:
            check_functions(model)
            model = inliner.inline_local_functions(model)
        if not model.graph.output:
            raise FormatError("the graph has no output; it is damaged or no ONNX")
        return replace(_steps(model.graph), fixed=tuple(sorted(noted(model, FIXED))))
    except EngramError:
        raise
    except _DAMAGED as refused:
        reason = str(refused).strip().split("\n", maxsplit=1)[0]
        raise FormatError(f"the graph cannot be read ({reason}); it is damaged or no ONNX") from refused


def operators(model: onnx.ModelProto) -> set[str]:
    """The kinds of all nodes, at any depth."""
    return {node.op_type for node in _all_nodes(model.graph)}


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
