"""What is known of a network's values before it is written: types, shapes, and which numbers never change.

Shapes are found by asking, not by inference: the network runs once with two rows and once with three. An axis that grew
follows the batch, everything else is fixed, and the shape arithmetic that exporters leave in a graph comes out as
numbers. Inference stops at every such node, and is wrong where an exporter was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy import ndarray
from onnx import helper

from engram.errors import ConversionError
from engram.formats import _onnxruntime
from engram.formats._probes import probes
from engram.graphs.signature import signature
from engram.graphs.walk import RANDOM, Step, steps
from engram.graphs.weights import attach
from engram.records import Model

__all__ = ["Facts", "gather"]

_ROWS = (2, 3)
_SHAPES = frozenset({"Shape", "Size"})
_BATCH = 1_000_003


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a network's values.

    Attributes:
        nodes: in order of computation.
        shapes: value → lengths with -1 where an axis follows the batch.
        free: value → how many times the batch an axis of -1 is long.
        dtypes: value → numpy's name; ``string`` for texts.
        constants: value → its numbers, weights included.
        counted: value → numbers with two rows and with three, for those that hang on the batch alone.
        readers: value → how often it is read, outputs of the network included.
        inputs, outputs: names in order.
        batched: whether there is a free batch.
        weights: by name, as they are in memory; constants that only move them are views of them.
        makers: value → the node that makes it.
    """

    nodes: tuple[Step, ...]
    shapes: Mapping[str, tuple[int, ...]]
    free: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    constants: Mapping[str, ndarray]
    counted: Mapping[str, tuple[ndarray, ndarray]]
    readers: Mapping[str, int]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    batched: bool = True
    weights: Mapping[str, ndarray] = field(default_factory=dict)
    makers: Mapping[str, Step] = field(default_factory=dict)

    def sizes(self, name: str) -> list[int]:
        """The lengths of a value's axes, with a large prime for the batch: what is multiplied stays recognizable."""
        times = self.free.get(name, ())
        return [_BATCH * times[axis] if size < 0 else size for axis, size in enumerate(self.shapes[name])]


def gather(model: Model) -> Facts:
    """What is known of the values of a model's network.

    Args:
        model: with a graph; its preprocessing is not looked at.

    Raises:
        ConversionError: it has free axes beside the batch, or cannot be run.
    """
    whole = attach(model.graph, model.weights)
    plain = steps(model.graph)
    ends = signature(whole)
    network = Model(model.graph, model.weights, ends)
    batched = _batched(network)
    _check(network, plain.nodes)
    weights = {name: np.ascontiguousarray(model.weights[name]) for name in plain.weights}
    known = {**plain.constants, **weights}
    runs = [_run(whole, network, rows) for rows in (_ROWS if batched else _ROWS[:1])]
    fixed, counted = _settled(plain.nodes, known, runs)
    readers: dict[str, int] = {}
    for name in [*(name for node in plain.nodes for name in _read(node)), *plain.outputs]:
        readers[name] = readers.get(name, 0) + 1
    shapes, free = _shapes(runs)
    for name, array in fixed.items():
        shapes[name] = array.shape
    dtypes = {name: _dtype(array) for name, array in {**runs[0], **fixed}.items()}
    return Facts(
        plain.nodes,
        shapes,
        free,
        dtypes,
        fixed,
        counted,
        readers,
        plain.inputs,
        plain.outputs,
        batched,
        weights,
        {name: node for node in plain.nodes for name in node.outputs},
    )


def _read(node: Step) -> Iterator[str]:
    yield from node.inputs
    for value in node.attributes.values():
        if hasattr(value, "nodes"):
            for inner in value.nodes:
                yield from _read(inner)
            yield from value.outputs


def _batched(network: Model) -> bool:
    first = network.signature.inputs[0].shape[:1] if network.signature.inputs else ()
    return bool(first) and isinstance(first[0], str)


def _check(network: Model, nodes: tuple[Step, ...]) -> None:
    first = network.signature.inputs[0].shape[:1]
    for spec in network.signature.inputs:
        free = [axis for axis in spec.shape[1:] if isinstance(axis, str)]
        if free or (isinstance(next(iter(spec.shape), 0), str) and spec.shape[:1] != first):
            given = f"{spec.name!r} has shape {list(spec.shape)}"
            raise ConversionError(f"input {given}, but only the batch may be free in a TFLite file; fix the others")
    drawn = sorted({node.operator for node in nodes} & RANDOM)
    if drawn:
        raise ConversionError(f"the network draws random numbers when it answers ({drawn[0]}), which no proof can hold")


def _run(whole: onnx.ModelProto, network: Model, rows: int) -> dict[str, ndarray]:
    """Every value of the network for some rows, by name."""
    asked = onnx.ModelProto()
    asked.CopyFrom(whole)
    given = {spec.name for spec in network.signature.inputs}
    stored = {tensor.name for tensor in asked.graph.initializer}
    names = [n for node in asked.graph.node for n in node.output if n and node.op_type != "Constant"]
    outputs = [value.name for value in asked.graph.output]
    del asked.graph.output[:]
    passed = [name for name in outputs if name in given or name in stored]
    asked.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    for name in passed:
        asked.graph.node.append(helper.make_node("Identity", [name], [f"{name}/passed"]))
        asked.graph.output.append(onnx.ValueInfoProto(name=f"{name}/passed"))
    inputs = probes(network, rows)
    found = _onnxruntime.run(asked.SerializeToString(), [inputs])[0] if asked.graph.output else {}
    return {**inputs, **found}


def _settled(
    nodes: tuple[Step, ...], known: Mapping[str, ndarray], runs: list[dict[str, ndarray]]
) -> tuple[dict[str, ndarray], dict[str, tuple[ndarray, ndarray]]]:
    """The values that no input changes, and those that only the number of rows changes."""
    fixed: dict[str, ndarray] = dict(known)
    counted: dict[str, tuple[ndarray, ndarray]] = {}
    for node in nodes:
        inner = any(hasattr(value, "nodes") for value in node.attributes.values())
        read = [name for name in node.inputs if name]
        if inner or not (node.operator in _SHAPES or all(name in fixed or name in counted for name in read)):
            continue
        for name in filter(None, node.outputs):
            first, last = runs[0][name], runs[-1][name]
            if first.shape == last.shape and np.array_equal(first, last, equal_nan=first.dtype.kind == "f"):
                seen = _view(node, fixed, name, runs[0])
                fixed[name] = first if seen is None or not np.array_equal(seen, first) else seen
            else:
                counted[name] = (first, last)
    return fixed, counted


def _view(node: Step, fixed: Mapping[str, ndarray], name: str, run: Mapping[str, ndarray]) -> ndarray | None:
    """What a node makes of a constant by moving alone, in the same memory; None for any other node."""
    if not node.inputs or node.inputs[0] not in fixed:
        return None
    array = fixed[node.inputs[0]]
    if node.operator == "Split":
        axis = node.attributes.get("axis", 0)
        place = node.outputs.index(name)
        start = sum(run[one].shape[axis] for one in node.outputs[:place])
        return np.moveaxis(np.moveaxis(array, axis, 0)[start : start + run[name].shape[axis]], 0, axis)
    if node.operator == "Transpose":
        return array.transpose(node.attributes.get("perm"))
    if node.operator == "Slice":
        return _sliced(node, array, fixed)
    return array if node.operator == "Identity" else _in_place(node, array, fixed)


def _in_place(node: Step, array: ndarray, fixed: Mapping[str, ndarray]) -> ndarray | None:
    axes = fixed.get(node.inputs[1]) if len(node.inputs) > 1 else None
    if node.operator == "Unsqueeze" and axes is not None:
        return np.expand_dims(array, tuple(axes.tolist()))
    if node.operator == "Squeeze":
        return array.squeeze(None if axes is None else tuple(axes.tolist()))
    if node.operator == "Reshape" and axes is not None and 0 not in axes:
        made = array.reshape(axes.tolist())
        return made if np.may_share_memory(made, array) else None
    return None


def _sliced(node: Step, array: ndarray, fixed: Mapping[str, ndarray]) -> ndarray | None:
    parts = [fixed.get(name) for name in node.inputs[1:] if name]
    if len(parts) < 2 or any(part is None for part in parts) or "" in node.inputs:
        return None
    starts, ends, *rest = (part.tolist() for part in parts if part is not None)
    axes = rest[0] if rest else range(len(starts))
    steps = rest[1] if len(rest) > 1 else [1] * len(starts)
    cuts = [slice(None)] * array.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step < 0:
            return None
        cuts[axis] = slice(start, end, step)
    return array[tuple(cuts)]


def _shapes(runs: list[dict[str, ndarray]]) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    shapes: dict[str, tuple[int, ...]] = {}
    times: dict[str, tuple[int, ...]] = {}
    for name, array in runs[0].items():
        other = runs[-1][name].shape
        if len(other) != array.ndim:
            raise ConversionError(f"{name!r} has another number of axes for another batch, which TFLite cannot hold")
        shapes[name] = tuple(one if one == two else -1 for one, two in zip(array.shape, other, strict=True))
        times[name] = tuple(max(two - one, 0) for one, two in zip(array.shape, other, strict=True))
    return shapes, times


def _dtype(array: ndarray) -> str:
    return "string" if array.dtype.kind in "OUS" else array.dtype.name
