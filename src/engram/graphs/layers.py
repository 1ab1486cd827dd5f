"""A network as people look at it: its layers in order, what each reads, makes, holds and costs.

Exporters write five nodes where a drawing has one box. What only moves numbers about, and what only turns a weight
before it is used, belongs to the layer that follows; nothing here is run, shapes are inferred.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy import ndarray

from engram.graphs import cost
from engram.graphs.inference import inferred

__all__ = ["Layer", "Network", "layers", "network"]

_PLUMBING = frozenset({
    "Cast", "CastLike", "Concat", "Constant", "ConstantOfShape", "Expand", "Flatten", "Gather", "Identity", "Reshape",
    "Shape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
})  # fmt: skip
_FREE = 32
"""Length taken for an axis that is free and not that of the rows, where costs are counted."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One row of what ``show`` prints.

    Attributes:
        name: of the module the weights belong to (``layer1.0.conv1``), else of the node.
        operator: its kind.
        shape: of its output, as far as it can be told; free axes by name.
        parameters: name → shape of the weights it reads.
        operations: additions and multiplications for one row, a multiplication with its addition counting as two.
        reads: numbers of the layers whose outputs it reads, from 0; ``-1 - i`` for the input with number ``i``.
    """

    name: str
    operator: str
    shape: tuple[int | str, ...] = ()
    parameters: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    operations: int = field(default=0, compare=False)  # a layer is the same wherever it stands
    reads: tuple[int, ...] = field(default=(), compare=False)

    @property
    def size(self) -> int:
        """How many numbers its weights hold."""
        return sum(int(np.prod(shape, dtype=np.int64)) for shape in self.parameters.values())


@dataclass(frozen=True, slots=True)
class Network:
    """The layers of a network, and what it costs to ask it for one row.

    Attributes:
        layers: in an order in which they can run.
        outputs: for each output the number of the layer that makes it, counted as in ``Layer.reads``.
        operations: of all nodes, those that are no layer of their own included.
        memory: bytes that intermediate results take at the worst moment.
        assumed: free axis → the length taken for it.
    """

    layers: tuple[Layer, ...]
    outputs: tuple[int, ...]
    operations: int
    memory: int
    assumed: Mapping[str, int]


def layers(graph: bytes, weights: Mapping[str, ndarray]) -> tuple[Layer, ...]:
    """The layers a reader cares about, in order: those with weights, activations, pools; not the plumbing.

    Args:
        graph: canonical, without its weights.
        weights: by name.
    """
    return network(graph, weights).layers


def network(graph: bytes, weights: Mapping[str, ndarray]) -> Network:
    """The layers of a network and its cost; arguments as for ``layers``."""
    model = onnx.ModelProto.FromString(graph)
    shown = {value.name: _axes(value) for value in _inferred(model)}
    assumed = _fix(model.graph.input)
    known = {value.name: cost.Extent.of(value) for value in [*model.graph.input, *_inferred(model)]}
    known |= {tensor.name: cost.Extent.of(tensor) for tensor in model.graph.initializer}
    spent = [cost.operations(node, known) for node in model.graph.node]
    gathered = _Gathered(model.graph, weights)
    for node, operations in zip(model.graph.node, spent, strict=True):
        gathered.add(node, shown.get(node.output[0], ()), operations)
    outputs = tuple(gathered.makers(value.name for value in model.graph.output))
    return Network(tuple(gathered.layers), outputs, sum(spent), cost.peak(model.graph, known), assumed)


class _Gathered:
    """Layers in the making: who made each value, and which weights it was turned or cut from."""

    def __init__(self, graph: onnx.GraphProto, weights: Mapping[str, ndarray]) -> None:
        self.layers: list[Layer] = []
        self._weights = weights
        self._sources = {tensor.name: {tensor.name} for tensor in graph.initializer}
        self._makers: dict[str, tuple[int, ...]] = {value.name: (-1 - i,) for i, value in enumerate(graph.input)}

    def makers(self, names: Iterable[str]) -> list[int]:
        """The layers that values come from, each once."""
        return list(dict.fromkeys(maker for name in names for maker in self._makers.get(name, ())))

    def add(self, node: onnx.NodeProto, shape: tuple[int | str, ...], operations: int) -> None:
        """One more node, in order."""
        read = set[str]().union(*(self._sources.get(name, set()) for name in node.input))
        before = tuple(self.makers(node.input))
        if not read and node.op_type in _PLUMBING:
            self._makers.update(dict.fromkeys(node.output, before))
            return
        if read and node.op_type in _PLUMBING and all(name in self._sources or not name for name in node.input[:1]):
            # a weight that is only turned or cut belongs to the layer that uses it
            self._sources.update(dict.fromkeys(node.output, read))
            return
        found = {n: tuple(int(a) for a in np.shape(self._weights[n])) for n in sorted(read) if n in self._weights}
        self._makers.update(dict.fromkeys(node.output, (len(self.layers),)))
        self.layers.append(Layer(_name(node, found), node.op_type, shape, found, operations, before))


def _name(node: onnx.NodeProto, parameters: Iterable[str]) -> str:
    modules = {name.rpartition(".")[0] or name.rpartition("/")[0] for name in parameters} - {""}
    return min(modules) if len(modules) == 1 else node.name or node.output[0]


def _inferred(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """What is known of values inside; nothing where the graph contradicts itself."""
    try:
        graph = inferred(model)
    except (RuntimeError, ValueError):
        graph = model.graph
    return [*graph.value_info, *graph.output]


def _fix(inputs: Sequence[onnx.ValueInfoProto]) -> dict[str, int]:
    """Give every free axis a length: one row, and the same length to all axes of one name."""
    assumed: dict[str, int] = {}
    for value in inputs:
        for place, axis in enumerate(value.type.tensor_type.shape.dim):
            if not axis.HasField("dim_value"):
                name = axis.dim_param or f"axis {place} of {value.name}"
                axis.dim_value = assumed.setdefault(name, 1 if place == 0 else _FREE)
    return assumed


def _axes(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    axes = value.type.tensor_type.shape.dim
    return tuple(int(axis.dim_value) if axis.HasField("dim_value") else _axis_name(axis.dim_param) for axis in axes)


def _axis_name(name: str) -> str:
    return "?" if not name or name.startswith("unk__") else name  # onnx numbers the axes it cannot tell
