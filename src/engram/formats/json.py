"""JSON that people read, draw and change.

A sequential network is written as it is drawn on a board, one object a layer; a file with nothing but such ``layers``
is read, too. Weights are ``[inputs][units]``, as Keras and most textbooks have them. What stands beside the layers
(preprocessing, labels, signature, statistics) brings a model of Engram back whole, and may be left out by a person.

Any other network (with branches, shared weights, shape arithmetic) is carried as ONNX's own JSON form under ``graph``,
which ``onnx.load_model_from_string(…, format="json")`` reads, beside its ``weights`` by name. No number is rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from google.protobuf import json_format
from numpy import ndarray

from engram.errors import ConversionError, FormatError
from engram.formats import _description, _document, _drawing, _files, _sequence, _tensors
from engram.graphs.signature import signature
from engram.plugins import nearest
from engram.records import Limits, Model, Signature, TensorSpec

__all__ = ["CARRIES", "SUFFIXES", "YIELDS", "read", "recognizes", "write"]

SUFFIXES = (".json",)
CARRIES = ("graph", "weights", "preprocessing", "names")
YIELDS = True

_KEYS = (
    "engram", "layers", "graph", "weights", "idle", "input", "output", "data_format", "preprocessing", "labels",
    "names",
)  # fmt: skip
_FORMATS = ("channels_first", "channels_last")


def recognizes(head: bytes, path: Path) -> bool:  # noqa: ARG001 - the contract of the shelf
    """Whether a file begins like a JSON object."""
    return head.lstrip(b" \t\r\n").startswith(b"{")


def read(path: Path, limits: Limits) -> Model:
    """The model in a file.

    Raises:
        FormatError: it is not strict JSON, is over a limit, or a layer is not whole.
    """
    found = _document.parse(_files.read(path, limits.config_bytes), path.name, depth=limits.config_depth)
    if not isinstance(found, dict) or not {"layers", "graph"} & found.keys():
        raise FormatError(f"{path.name} is JSON, but has neither layers nor a graph; is it a model?")
    for key in found:
        if key not in _KEYS:
            raise FormatError(f"{path.name} has no key {key!r}; {nearest(key, _KEYS)}")
    graph, weights = _drawn(found) if "layers" in found else _carried(found, limits)
    weights |= _arrays(found.get("idle", {}), limits)
    names = found.get("names", list(weights))
    if not isinstance(names, list) or len(names) != len(weights) or {str(name) for name in names} != weights.keys():
        raise FormatError(f"{path.name}: names must list every weight once")
    preprocessing = _graph(found["preprocessing"], "preprocessing") if "preprocessing" in found else b""
    ordered = {name: weights[name] for name in names}
    description = _described(found, _description.sound(graph, limits))
    return _description.model(description, graph, ordered, preprocessing=preprocessing, limits=limits)


def write(model: Model, path: Path) -> None:
    """The model as layers where it is a list of them, else as a graph.

    Raises:
        ConversionError: it has no graph, would be too long to be read again, or holds what JSON cannot say.
    """
    if not model.graph:
        raise ConversionError("the model is weights without a graph, which JSON cannot hold; write safetensors")
    described = _description.describe(model)
    document: dict[str, Any] = {"engram": {key: described[key] for key in described if key != "labels"}}
    if model.labels:
        document["labels"] = list(model.labels)
    if model.preprocessing:
        document["preprocessing"] = _as_json(model.preprocessing)
    drawn = _sequence.draw(model.graph, model.weights)
    inside = set(_sequence.weights_of(model.graph))
    idle = {name: array for name, array in model.weights.items() if name not in inside}
    if idle:
        document["idle"] = {name: _tensors.as_json(array) for name, array in idle.items()}
    document["names"] = list(model.weights)
    document |= _as_layers(model, drawn) if drawn else _as_graph(model, inside)
    text = _document.text(document, "the model")
    largest = Limits().config_bytes
    if len(text) > largest:
        given = f"{len(text):,} bytes of JSON"
        raise ConversionError(f"the model makes {given}, but at most {largest:,} are read; write onnx or safetensors")
    path.write_bytes(text)


def _as_layers(model: Model, drawn: list[dict[str, Any]]) -> dict[str, Any]:
    ends = signature(model.graph)
    return {
        "data_format": _FORMATS[0],
        "input": _end(ends.inputs[0]),
        "layers": drawn,
        "output": _end(ends.outputs[0]),
    }


def _as_graph(model: Model, inside: set[str]) -> dict[str, Any]:
    arrays = {name: _tensors.as_json(array) for name, array in model.weights.items() if name in inside}
    return {"graph": _as_json(model.graph), "weights": arrays}


def _as_json(graph: bytes) -> dict[str, Any]:
    found = json_format.MessageToDict(onnx.ModelProto.FromString(graph), preserving_proto_field_name=False)
    assert isinstance(found, dict)
    if _graph(found, "graph") != graph:
        raise ConversionError("the graph holds fields that ONNX's JSON form does not; write onnx or safetensors")
    return found


def _graph(found: Any, where: str) -> bytes:  # noqa: ANN401 - of a stranger's file
    if not isinstance(found, dict):
        raise FormatError(f"{where} must be an object")
    try:
        made = json_format.ParseDict(found, onnx.ModelProto())
    except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError) as wrong:
        first = (str(wrong).splitlines() or [repr(wrong)])[0]
        raise FormatError(f"{where} is no ONNX in its JSON form: {first[:200]}") from wrong
    return bytes(made.SerializeToString(deterministic=True))


def _drawn(found: Mapping[str, Any]) -> tuple[bytes, dict[str, ndarray]]:
    if {"graph", "weights"} & found.keys():
        raise FormatError("a file has either layers, or a graph and weights")
    layout = found.get("data_format", _FORMATS[1])
    if layout not in _FORMATS:
        raise FormatError(f"data_format must be {' or '.join(_FORMATS)}, not {layout!r}")
    layers, arrays = _drawing.layers(found["layers"])
    ends = (_spec(found.get("input"), "input"), _spec(found.get("output"), "output"))
    return _drawing.build(layers, arrays, ends, channels_first=layout == _FORMATS[0])


def _carried(found: Mapping[str, Any], limits: Limits) -> tuple[bytes, dict[str, ndarray]]:
    return _graph(found["graph"], "graph"), _arrays(found.get("weights", {}), limits)


def _arrays(found: Any, limits: Limits) -> dict[str, ndarray]:  # noqa: ANN401 - of a stranger's file
    if not isinstance(found, dict):
        raise FormatError("weights must be an object: name → dtype, shape, values")
    return {name: _tensors.from_json(value, f"weight {name!r}", limits) for name, value in found.items()}


def _described(found: Mapping[str, Any], ends: Signature) -> _description.Description:
    """What the file says of the model, or, in a file that a person wrote, what its last layer tells."""
    labels = found.get("labels", [])
    if "engram" in found:
        said = found["engram"]
        return _description.from_json(
            {**said, "labels": labels} if isinstance(said, dict) else said, "the key 'engram'"
        )
    output = ends.outputs[0]
    kind = _kind(found.get("layers"), output)
    outputs = (TensorSpec(output.name, output.dtype, output.shape, kind=kind), *ends.outputs[1:])
    plain = {"version": 1, "signature": Signature(ends.inputs, outputs).as_json(), "labels": labels}
    return _description.from_json({**plain, "source": {"format": "json"}}, "the file")


def _kind(layers: Any, output: TensorSpec) -> str:  # noqa: ANN401 - checked before
    last = layers[-1].get("activation", "") if isinstance(layers, list) else ""
    if last == "softmax":
        return "probabilities"
    return "probability" if last == "sigmoid" and output.shape[-1] == 1 else "tensor"


def _end(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}


def _spec(found: Any, name: str) -> TensorSpec | None:  # noqa: ANN401 - of a stranger's file
    if found is None:
        return None
    whole = {"name": name, "dtype": "float32", **found} if isinstance(found, dict) else found
    return _description.spec(whole, name)
