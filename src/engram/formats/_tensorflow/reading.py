"""From the folder of a SavedModel to a model, without TensorFlow.

The order matters: everything is counted, every operation of every function is compared with the list of those allowed,
and only then is the graph of one signature walked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from numpy import ndarray
from onnx import helper

from engram.errors import FormatError
from engram.formats import _files
from engram.formats._tensorflow import begun
from engram.formats._tensorflow import bundle as bundles
from engram.formats._tensorflow import graph as graphs
from engram.formats._tensorflow.allowed import ALLOWED
from engram.formats._tensorflow.graph import Edge, Program
from engram.formats._tensorflow.nodes import Nodes
from engram.formats._tensorflow.parameters import Objects, keys, objects
from engram.formats._tensorflow.tensors import shape_of
from engram.formats._tensorflow.trace import Trace
from engram.formats._tensorflow.values import Axis, Tensor
from engram.formats._tensorflow.wire import parsed
from engram.graphs.build import IR_VERSION, OPSET, element_type
from engram.graphs.canonical import canonical
from engram.graphs.naming import rename
from engram.graphs.weights import outside
from engram.records import Limits, Signature, TensorSpec

__all__ = ["Ends", "Network", "Places", "Saved", "load", "network", "places", "traced"]

SERVING = "serving_default"
_FREE = re.compile(r"free\.\d+")


@dataclass(frozen=True, slots=True)
class Saved:
    """A SavedModel that has passed every check.

    Attributes:
        file: the message that the file is.
        graph: the message of the graph that serves.
        program: the same as records.
        bundle: its variables; None where it has none.
    """

    file: Any
    graph: Any
    program: Program
    bundle: bundles.Bundle | None


@dataclass(frozen=True, slots=True)
class Ends:
    """Where a graph begins and ends.

    Attributes:
        inputs: name → placeholder, type and axes.
        outputs: name → edge.
    """

    inputs: Mapping[str, tuple[str, str, tuple[int | None, ...] | None]]
    outputs: Mapping[str, Edge]


@dataclass(frozen=True, slots=True)
class Places:
    """Where TensorFlow finds the ends of the serving signature.

    Attributes:
        tags: of the graph.
        inputs, outputs: name → ``node:output``.
    """

    tags: list[str]
    inputs: dict[str, str]
    outputs: dict[str, str]


@dataclass(frozen=True, slots=True)
class Network:
    """A network in canonical form.

    Attributes:
        graph: without its weights.
        weights: by name.
        signature: of the graph.
    """

    graph: bytes
    weights: Mapping[str, ndarray]
    signature: Signature


def load(folder: Path, limits: Limits) -> Saved:
    """The SavedModel in a folder, checked; nothing of it is run.

    Raises:
        FormatError: it is damaged, over a limit, or holds an operation that is not allowed.
    """
    file = _files.safe_join(folder, "saved_model.pb")
    found = parsed("SavedModel", _files.read(file, limits.protobuf_bytes), "saved_model.pb", limits)
    if found.saved_model_schema_version != 1 or not found.meta_graphs:
        raise FormatError(f"{folder.name} has version {found.saved_model_schema_version} of the format; 1 is read")
    programs = [graphs.program(graph.graph_def) for graph in found.meta_graphs]
    for program in programs:
        graphs.check(program, ALLOWED)
        graphs.counted(program, limits)
    for graph in found.meta_graphs:
        begun.refuse_writing(graph)
    place = _serving(found)
    index = folder / "variables" / "variables.index"
    held = bundles.opened(folder / "variables" / "variables", limits) if index.exists() else None
    return Saved(found, found.meta_graphs[place], programs[place], held)


def network(saved: Saved, limits: Limits) -> Network:
    """The network behind the signature that serves.

    Raises:
        FormatError: it uses an operation that is not read.
    """
    known = objects(saved.bundle, limits) if saved.bundle is not None else Objects({})
    places = keys(saved.program, saved.bundle, limits) if saved.bundle is not None else {}
    called = {node: (known.names[key], known.path(key), key) for node, key in places.items()}
    trace = Trace(saved.program, called, limits)
    made, specs = traced(trace, _ends(saved.graph))
    weights = dict(trace.held)
    for node, name in trace.named.items():
        assert saved.bundle is not None
        weights[name] = _fitting(saved.bundle.array(places[node]), trace.nodes.weights[name], name)
    return Network(made, {name: weights[name] for name in trace.nodes.weights}, specs)


def places(saved: Saved) -> Places:
    """Where the ends of the signature that serves are, in the words of TensorFlow."""
    ends = _ends(saved.graph)
    return Places(
        [str(tag) for tag in saved.graph.meta_info_def.tags],
        {name: f"{node}:0" for name, (node, _, _) in ends.inputs.items()},
        {name: f"{edge.node}:{edge.output}" for name, edge in ends.outputs.items()},
    )


def traced(trace: Trace, ends: Ends) -> tuple[bytes, Signature]:
    """The canonical graph of a program between some ends, without its weights, and its signature.

    Raises:
        FormatError: it uses an operation that is not read, or has no answer.
    """
    if not ends.outputs:
        raise FormatError("the signature has no outputs; export the model again")
    nodes, specs, known = trace.nodes, [], {}
    for name, (place, dtype, shape) in ends.inputs.items():
        if shape is None or not dtype:
            raise FormatError(
                f"the input {name!r} has no known number of axes, or is no tensor; export it with a shape"
            )
        axes = tuple(
            axis if axis is not None else ("batch" if i == 0 else f"{name}.{i}") for i, axis in enumerate(shape)
        )
        known[place] = nodes.input(name, dtype, axes)
        specs.append(TensorSpec(name, dtype, axes))
    nodes.keep(ends.outputs)
    results = trace.walk(trace.program.main, list(ends.outputs.values()), known)
    outputs, made = [], []
    for name, value in zip(ends.outputs, results, strict=True):
        if not isinstance(value, Tensor) or value.shape is None:
            raise FormatError(f"the output {name!r} is no tensor with a known number of axes; it is not read")
        made.append(nodes.name(value))
        outputs.append(TensorSpec(name, value.dtype, _named(value.shape, name)))
    signature = Signature(tuple(specs), tuple(outputs))
    return _canonical(nodes, signature, made), signature


def _canonical(nodes: Nodes, signature: Signature, made: list[str]) -> bytes:
    """The graph in canonical form; weights are inputs until it is, so that nobody copies their numbers."""
    weights = [
        helper.make_tensor_value_info(name, element_type(dtype), list(shape))
        for name, (dtype, shape) in nodes.weights.items()
    ]
    inputs, outputs = (
        [helper.make_tensor_value_info(s.name, element_type(s.dtype), list(s.shape)) for s in specs]
        for specs in (signature.inputs, signature.outputs)
    )
    _named_outputs(nodes, made, [spec.name for spec in signature.outputs])
    graph = helper.make_graph(nodes.outermost, "network", [*inputs, *weights], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    made = canonical(model, names=())
    kept = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in made.graph.input[: len(inputs)]]
    del made.graph.input[:]
    made.graph.input.extend(kept)
    for name, (dtype, shape) in nodes.weights.items():
        made.graph.initializer.append(outside(name, element_type(dtype), shape))
    return bytes(made.SerializeToString(deterministic=True))


def _named_outputs(nodes: Nodes, made: list[str], wanted: list[str]) -> None:
    """Give the answers the names of the signature; what is no node's own gets a node that only renames it."""
    own = {name for node in nodes.outermost if node.op_type != "Constant" for name in node.output}
    mapping: dict[str, str] = {}
    for source, name in zip(made, wanted, strict=True):
        if source in own and source not in mapping and name not in own:
            mapping[source] = name
        else:
            nodes.outermost.append(helper.make_node("Identity", [mapping.get(source, source)], [name], name=name))
    graph = helper.make_graph(nodes.outermost, "network", [], [])
    rename(graph, mapping)
    nodes.outermost[:] = list(graph.node)


def _serving(found: Any) -> int:  # noqa: ANN401 - a generated class
    tagged = [place for place, graph in enumerate(found.meta_graphs) if "serve" in graph.meta_info_def.tags]
    if tagged or len(found.meta_graphs) == 1:
        return tagged[0] if tagged else 0
    raise FormatError(f"none of the {len(found.meta_graphs)} graphs is for serving; export the model for serving")


def _ends(graph: Any) -> Ends:  # noqa: ANN401 - a generated class
    """The placeholders and edges of the signature that serves."""
    given = {
        name: signature
        for name, signature in graph.signature_def.items()
        if signature.outputs and not name.startswith("__saved_model")
    }
    if SERVING not in given and len(given) != 1:
        raise FormatError(f"no signature is called {SERVING!r} among {sorted(given) or 'none'}; export one")
    signature = given.get(SERVING) or next(iter(given.values()))
    inputs = {
        name: (info.name.rpartition(":")[0] or info.name, graphs.type_name(info.dtype), shape_of(info.tensor_shape))
        for name, info in sorted(signature.inputs.items(), key=lambda item: _natural(item[0]))
    }
    outputs = {}
    for name, info in sorted(signature.outputs.items(), key=lambda item: _natural(item[0])):
        node, _, place = info.name.partition(":")
        if not node or not (place or "0").isdigit():
            raise FormatError(f"the output {name!r} of the signature is at {info.name!r}, which is nowhere")
        outputs[name] = Edge(node, int(place or 0))
    return Ends(inputs, outputs)


def _natural(name: str) -> list[tuple[int, str]]:
    """An order in which ``output_10`` comes after ``output_2``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _named(shape: tuple[Axis, ...], name: str) -> tuple[Axis, ...]:
    return tuple(
        f"{name}.{place}" if isinstance(axis, str) and _FREE.fullmatch(axis) else axis
        for place, axis in enumerate(shape)
    )


def _fitting(array: ndarray, declared: tuple[str, tuple[int, ...]], name: str) -> ndarray:
    dtype, shape = declared
    if array.dtype.name != dtype or array.shape != shape:
        given = f"{array.dtype.name} {list(array.shape)}"
        raise FormatError(f"the variable {name!r} is {given} in the checkpoint, but {dtype} {list(shape)} in the graph")
    return array
