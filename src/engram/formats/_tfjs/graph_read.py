"""A graph model of TensorFlow.js: TensorFlow's graph in JSON, its constants beside it.

The graph goes the way of a SavedModel's: every operation of every function must be on the list of those that only
compute, all is counted before anything is inlined, and what the answers hang on becomes ONNX. Constants of floating
numbers are the learned parameters here, because the converter froze them so; single numbers stay constants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import json_format
from numpy import ndarray

from engram.errors import FormatError
from engram.formats._tensorflow import graph as graphs
from engram.formats._tensorflow.allowed import ALLOWED
from engram.formats._tensorflow.graph import Edge
from engram.formats._tensorflow.messages import message
from engram.formats._tensorflow.reading import Ends, traced
from engram.formats._tensorflow.tensors import dtype_of, shape_of, tensor
from engram.formats._tensorflow.trace import Trace
from engram.formats._tfjs.fused import divided
from engram.records import Limits, Model

__all__ = ["ends", "graph_of", "model"]

_NESTED = 90


def model(said: Mapping[str, Any], held: Mapping[str, ndarray], about: Mapping[str, Any], limits: Limits) -> Model:
    """The network with its weights, by the names of their nodes.

    Args:
        said: what ``model.json`` holds.
        held: the weights as they are listed.
        about: what else is said of the source.
        limits: of a stranger's file.

    Raises:
        FormatError: the graph is damaged, hostile, or holds an operation that is not read.
    """
    graph = graph_of(said, limits)
    for node in _nodes(graph):
        if node.op == "Const" and node.name in held:
            node.attr["value"].tensor.CopyFrom(tensor(_as_said(node, held[node.name])))
    divided(graph)
    program = graphs.program(graph)
    graphs.check(program, ALLOWED)
    graphs.counted(program, limits)
    trace = Trace(program, {}, limits)
    trace.bulk = 1
    made, signature = traced(trace, ends(said, graph))
    weights = {name: trace.held[name] for name in trace.nodes.weights}
    return Model(made, weights, signature, source={"format": "tfjs", **about})


def _as_said(node: Any, numbers: ndarray) -> ndarray:  # noqa: ANN401 - a generated class
    """A constant in the type that the graph says: what was int64 lies beside it as int32."""
    kind = dtype_of(node.attr["dtype"].type)
    wide = kind is not None and kind.kind in "iu" and numbers.dtype.kind in "iu"
    return numbers.astype(kind) if wide else numbers


def graph_of(said: Mapping[str, Any], limits: Limits) -> Any:  # noqa: ANN401 - a generated class
    """The graph in ``model.json``, as a message.

    Raises:
        FormatError: it is damaged or over a limit.
    """
    topology = said.get("modelTopology")
    if not isinstance(topology, Mapping):
        raise FormatError("model.json has no modelTopology; convert the model again")
    count = sum(1 for _ in _described(topology))
    if count > limits.nodes:
        raise FormatError(f"model.json holds {count:,} nodes, but at most {limits.nodes:,} are read")
    made = message("Graph")
    try:
        json_format.ParseDict(topology, made, ignore_unknown_fields=True, max_recursion_depth=_NESTED)
    except (json_format.ParseError, RecursionError, TypeError, ValueError, AttributeError) as wrong:
        reason = str(wrong).strip().splitlines() or [type(wrong).__name__]
        raise FormatError(f"model.json: modelTopology is no graph of TensorFlow: {reason[0][:200]}") from wrong
    return made


def _described(topology: Mapping[str, Any]) -> Iterator[Any]:
    library = topology.get("library")
    functions = library.get("function") if isinstance(library, Mapping) else None
    known = [one for one in functions if isinstance(one, Mapping)] if isinstance(functions, list) else []
    inside = [function.get("nodeDef", function.get("node_def")) for function in known]
    for listed in [topology.get("node"), *inside]:
        yield from listed if isinstance(listed, list) else []


def _nodes(graph: Any) -> Iterator[Any]:  # noqa: ANN401 - generated classes
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def ends(said: Mapping[str, Any], graph: Any) -> Ends:  # noqa: ANN401 - a generated class
    """Where the graph begins and ends: as its signature says, or at its placeholders and at what nothing reads.

    Raises:
        FormatError: the signature is damaged.
    """
    found = said.get("signature")
    if not found and isinstance(said.get("userDefinedMetadata"), Mapping):
        found = said["userDefinedMetadata"].get("signature")  # where releases before 2.0 kept it
    if not isinstance(found, Mapping) or not found.get("outputs"):
        return _open(graph)
    given = message("SignatureDef")
    try:
        plain = {key: found.get(key) or {} for key in ("inputs", "outputs")}
        json_format.ParseDict(plain, given, ignore_unknown_fields=True, max_recursion_depth=_NESTED)
    except (json_format.ParseError, RecursionError, TypeError, ValueError, AttributeError) as wrong:
        raise FormatError(f"model.json: signature is damaged: {str(wrong).splitlines()[0][:200]}") from wrong
    places = {node.name: node for node in graph.node}
    inputs, outputs = {}, {}
    for name in plain["inputs"]:  # in the order of the file: a map of protobuf has none
        info = given.inputs[name]
        node = places.get(info.name.partition(":")[0])
        if node is not None and node.op == "Placeholder":
            inputs[name] = (node.name, graphs.type_name(info.dtype), shape_of(info.tensor_shape))
    for name in plain["outputs"]:
        info = given.outputs[name]
        node, _, place = info.name.partition(":")
        if node not in places or not (place or "0").isdigit():
            raise FormatError(f"model.json: the output {name!r} is at {info.name!r:.80}, which is nowhere")
        outputs[name] = Edge(node, int(place or 0))
    return Ends(inputs, outputs)


def _open(graph: Any) -> Ends:  # noqa: ANN401 - a generated class
    read = {text.lstrip("^").partition(":")[0] for node in graph.node for text in node.input}
    inputs = {
        node.name: (node.name, graphs.type_name(node.attr["dtype"].type), shape_of(node.attr["shape"].shape))
        for node in graph.node
        if node.op == "Placeholder"
    }
    quiet = {"NoOp", "Const", "Placeholder"}
    outputs = {node.name: Edge(node.name, 0) for node in graph.node if node.name not in read and node.op not in quiet}
    return Ends(inputs, outputs)
