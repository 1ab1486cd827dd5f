"""ONNX: one file from raw row to answer, which any runtime of ONNX opens.

What is written is the *composed* graph (preprocessing, network, head with the labels), because whoever asks for ONNX
wants to send raw rows and get labels and probabilities without any of our code. So that nothing is lost on the way
back, the one metadata entry ``engram`` holds the two graphs apart again, without weights, and the description of the
model. When such a file is read, the two are composed once more and must give exactly the graph that is in the file: a
file that was changed afterwards is read for what it now is, like any other program's ONNX, and never for what it was.

Any other ONNX from opset 7 on is brought into the canonical form; its inputs and outputs are plain tensors. Files above
2 GiB get a second file for the weights, named after its content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx as library
from google.protobuf.message import DecodeError
from numpy import ndarray
from onnx import NodeProto, TensorProto, helper

from engram.errors import ConversionError, EngramError, FormatError
from engram.formats import _description, _document, _stored_onnx, _tensors
from engram.graphs.canonical import canonical
from engram.graphs.compose import compose
from engram.graphs.signature import signature as declared
from engram.graphs.weights import detach
from engram.records import Limits, Model, Signature, TensorSpec

__all__ = ["CARRIES", "SUFFIXES", "read", "recognizes", "run", "runtime", "write"]

SUFFIXES = (".onnx",)
CARRIES = ("graph", "weights", "preprocessing", "names")

_KEY = "engram"
_HOLLOW = "engram.hollow"
_OLDEST = 7
_GRAPH_FIELD = 7
_KINDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_FAULTS = (ValueError, TypeError, LookupError, RuntimeError, ArithmeticError, AttributeError, DecodeError)


def recognizes(head: bytes, path: Path) -> bool:  # noqa: ARG001 - the contract of the shelf
    """Whether a file begins with fields of an ONNX model, each of its right kind, as far as the graph."""
    found = list(_stored_onnx.fields(head))
    numbers = [number for number, _ in found]
    until = numbers.index(_GRAPH_FIELD) + 1 if _GRAPH_FIELD in numbers else len(numbers)
    return until > 0 and all(_KINDS.get(number) == kind for number, kind in found[:until])


def read(path: Path, limits: Limits) -> Model:
    """The model in a file: whole when Engram wrote it, else network and weights in canonical form.

    Raises:
        FormatError: the file is damaged, hostile or over a limit.
        ConversionError: it uses operators that cannot be brought to opset 21.
    """
    found = _stored_onnx.load(path, limits)
    notes = {entry.key: entry.value for entry in found.metadata_props}
    if _KEY in notes:
        whole = _own(found, notes[_KEY], path.parent, limits)
        if whole is not None:
            return whole
        found = _stored_onnx.load(path, limits)
    return _foreign(found, path, limits)


def write(model: Model, path: Path) -> None:
    """The composed graph with its weights, and beside it in the same file what is needed to take it apart again.

    Raises:
        ConversionError: the model has no graph, or a weight is of a type that ONNX does not have.
    """
    composed, names = _composed(model)
    notes = {
        **_description.describe(model),
        **_description.graphs_as_text(model),
        "names": list(model.weights),
        "idle": {name: _tensors.as_json(weight) for name, weight in model.weights.items() if name not in names},
    }
    text = _document.text(notes, "the description of the model").decode()
    composed.metadata_props.add(key=_KEY, value=text)
    _stored_onnx.save(composed, {inside: model.weights[name] for name, inside in names.items()}, path)


def run(path: Path, inputs: Mapping[str, ndarray]) -> dict[str, ndarray]:
    """What the file itself answers in onnxruntime, every output by name.

    Raises:
        FormatError: onnxruntime cannot open it.
    """
    return run_pieces(path, [inputs])[0]


def run_pieces(path: Path, pieces: Sequence[Mapping[str, ndarray]]) -> list[dict[str, ndarray]]:
    """As ``run`` for several batches at once, in one process."""
    from engram.formats import _onnxruntime

    return _onnxruntime.run(path, pieces)


def runtime() -> str:
    """The runtime that ``run`` asks, and its version."""
    from engram.formats import _onnxruntime

    return _onnxruntime.VERSION


def _composed(model: Model) -> tuple[library.ModelProto, dict[str, str]]:
    """The composed graph without its weights, and what each weight of the network is called in it."""
    if not model.graph:
        raise ConversionError("the model is weights without a graph, which ONNX cannot hold; write safetensors")
    whole = library.ModelProto()
    whole.ParseFromString(compose(replace(model, graph=_hollow(model.graph), weights={})))
    names = {node.name: str(node.output[0]) for node in whole.graph.node if node.domain == _HOLLOW}
    kept = [NodeProto.FromString(n.SerializeToString()) for n in whole.graph.node if n.domain != _HOLLOW]
    versions = [(entry.domain, entry.version) for entry in whole.opset_import if entry.domain != _HOLLOW]
    del whole.graph.node[:]
    del whole.opset_import[:]
    whole.graph.node.extend(kept)
    whole.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in versions)
    return whole, names


def _hollow(graph: bytes) -> bytes:
    """The graph with a node in the place of each weight, so that composing handles names and never the numbers."""
    hollow = library.ModelProto()
    hollow.ParseFromString(graph)
    kept, nodes = [], []
    for tensor in hollow.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            nodes.append(NodeProto(op_type="Weight", domain=_HOLLOW, name=tensor.name, output=[tensor.name]))
        else:
            kept.append(TensorProto.FromString(tensor.SerializeToString()))
    nodes += [NodeProto.FromString(node.SerializeToString()) for node in hollow.graph.node]
    del hollow.graph.initializer[:]
    del hollow.graph.node[:]
    hollow.graph.initializer.extend(kept)
    hollow.graph.node.extend(nodes)
    hollow.opset_import.append(helper.make_opsetid(_HOLLOW, 1))
    return bytes(hollow.SerializeToString(deterministic=True))


def _own(found: library.ModelProto, text: str, folder: Path, limits: Limits) -> Model | None:
    """The model that Engram wrote, or None where the graph in the file is not the one it wrote."""
    where = f"the metadata entry {_KEY!r}"
    notes = _document.parse(text.encode(), where, depth=limits.config_depth)
    description = _description.from_json(notes, where)
    graph, preprocessing = _description.graphs(notes, where)
    draft = Model(graph, {}, description.signature, preprocessing, labels=description.labels)
    try:
        expected, names = _composed(draft)
    except (*_FAULTS, EngramError):
        return None
    weights = _weights(found, names, folder)
    if weights is None or not _same(found, expected):
        return None
    weights |= _idle(notes, limits)
    wanted = notes.get("names")
    if not isinstance(wanted, list) or len(wanted) != len(weights) or {str(n) for n in wanted} != weights.keys():
        raise FormatError(f"{where} names other weights than are in the file; export it again")
    ordered = {name: weights[name] for name in wanted}
    return _description.model(description, graph, ordered, preprocessing=preprocessing, limits=limits)


def _weights(found: library.ModelProto, names: Mapping[str, str], folder: Path) -> dict[str, ndarray] | None:
    """The weights by their names in the network, taken out of the graph; None where one is not there."""
    at = {tensor.name: place for place, tensor in enumerate(found.graph.initializer)}
    if any(inside not in at for inside in names.values()):
        return None
    arrays = {name: _stored_onnx.array(found.graph.initializer[at[inside]], folder) for name, inside in names.items()}
    for place in sorted((at[inside] for inside in names.values()), reverse=True):
        del found.graph.initializer[place]
    return arrays


def _same(found: library.ModelProto, expected: library.ModelProto) -> bool:
    bare = [entry for entry in found.metadata_props if entry.key != _KEY]
    kept = {entry.key: entry.value for entry in bare}
    del found.metadata_props[:]
    helper.set_model_props(found, kept)
    return bool(found.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True))


def _idle(notes: Mapping[str, Any], limits: Limits) -> dict[str, ndarray]:
    """Weights that the graph does not use (a counter of batches), which a runtime would only complain about."""
    found = notes.get("idle", {})
    if not isinstance(found, dict):
        raise FormatError("the weights that the graph does not use must be an object")
    return {name: _tensors.from_json(value, f"weight {name!r}", limits) for name, value in found.items()}


def _foreign(found: library.ModelProto, path: Path, limits: Limits) -> Model:
    version = max((entry.version for entry in found.opset_import if entry.domain in {"", "ai.onnx"}), default=_OLDEST)
    if version < _OLDEST:
        raise FormatError(f"{path.name} is in operator set {version}, but {_OLDEST} is the oldest that is read")
    source = {"format": "onnx", "producer": f"{found.producer_name} {found.producer_version}".strip(), "opset": version}
    _stored_onnx.bring_in(found, path.parent)
    try:
        network = canonical(found)
        graph, weights = detach(network)
    except EngramError:
        raise
    except _FAULTS as wrong:
        raise FormatError(f"{path.name} is damaged: {str(wrong).splitlines()[0] if str(wrong) else wrong!r}") from wrong
    ends = declared(network)
    described = _description.Description(Signature(_pictures(ends.inputs), ends.outputs), source=source)
    return _description.model(described, graph, weights, limits=limits)


def _pictures(inputs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """The inputs, uint8 with channels last called what they are: images."""
    return tuple(
        replace(spec, kind="image")
        if spec.dtype == "uint8" and len(spec.shape) == 4 and spec.shape[3] in {1, 3, 4}
        else spec
        for spec in inputs
    )
