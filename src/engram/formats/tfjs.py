"""TensorFlow.js: networks in browsers and under node, as a folder of ``model.json`` and files of weights.

There are two kinds. A layers model is what Keras 2 said of a network, and can be trained on in TensorFlow.js; a graph
model is a graph of TensorFlow, and holds nearly everything. Both are read. Written is a layers model where the network
came from Keras and TensorFlow.js has all its layers, else a graph model; a folder called ``….layers.tfjs`` or
``….graph.tfjs`` says which is wanted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError, FormatError
from engram.formats import _description, _document, _files, _onnxruntime
from engram.formats._faults import typed
from engram.formats._tfjs import graph_read, graph_write, layers_read, layers_write, manifest, running
from engram.records import Limits, Model

__all__ = ["CARRIES", "FOLDER", "SUFFIXES", "read", "recognizes", "run", "run_pieces", "runtime", "write"]

FOLDER = True
SUFFIXES = (".tfjs", "")
CARRIES = ("graph", "weights", "preprocessing", "names")

_MODEL, _KEY = "model.json", "engram"
_GRAPH, _LAYERS = "graph-model", "layers-model"
_WORDS = (b'"modelTopology"', b'"weightsManifest"', b'"graph-model"', b'"layers-model"')


def recognizes(head: bytes, path: Path) -> bool:  # noqa: ARG001 - the contract of the shelf
    """Whether a folder holds a ``model.json`` that begins as TensorFlow.js' do."""
    file = path / _MODEL
    if not file.is_file():
        return False
    begin = _files.beginning(file)
    return begin.lstrip().startswith(b"{") and any(word in begin for word in _WORDS)


@typed
def read(path: Path, limits: Limits) -> Model:
    """The model in a folder: whole when Engram wrote it, else the network with its weights.

    Raises:
        FormatError: it is damaged or hostile, or has a layer or an operation that is not read.
    """
    said = _said(path, limits)
    held = manifest.read(path, said.get("weightsManifest"), limits)
    note = (said.get("userDefinedMetadata") or {}).get(_KEY)
    if isinstance(note, Mapping):
        whole = _whole(note, said, held, limits)
        if whole is not None:
            return whole
    return _plain(said, held, limits)


def write(model: Model, path: Path) -> None:
    """The network as a layers model or as a graph model.

    Raises:
        ConversionError: the model has no graph, or a layer, a node or a type that TensorFlow.js does not have.
    """
    if not model.graph:
        raise ConversionError(
            "the model is weights without a graph, which TensorFlow.js cannot load; write safetensors"
        )
    content, arrays = _content(model, _wanted(path))
    content["userDefinedMetadata"] = {_KEY: _note(model)}
    path.mkdir(parents=True, exist_ok=True)
    content["weightsManifest"] = manifest.write(arrays, path)
    (path / _MODEL).write_bytes(_document.text(content, "the description of the model"))


def run(path: Path, inputs: Mapping[str, ndarray]) -> dict[str, ndarray]:
    """What TensorFlow.js itself answers under node, once our own reader has accepted the folder.

    Raises:
        MissingLibrary: node or TensorFlow.js is not there.
        FormatError: TensorFlow.js refuses the model.
    """
    return run_pieces(path, [inputs])[0]


def run_pieces(path: Path, pieces: Sequence[Mapping[str, ndarray]]) -> list[dict[str, ndarray]]:
    """As ``run`` for several batches at once: node takes a second to start."""
    running.version()
    model = read(path, Limits())
    given = _onnxruntime.prepare(model, pieces)
    specs = model.signature.outputs
    made = running.answers(path, given, [spec.name for spec in specs])
    types = {spec.name: spec.dtype for spec in specs}
    return [{name: np.asarray(array).astype(types[name]) for name, array in piece.items()} for piece in made]


def runtime() -> str:
    """Name and version of what ``run`` asks."""
    return running.version()


def _said(path: Path, limits: Limits) -> dict[str, Any]:
    content = _files.read(_files.safe_join(path, _MODEL), limits.config_bytes)
    found = _document.parse(content, _MODEL, depth=limits.config_depth)
    if not isinstance(found, dict) or not isinstance(found.get("modelTopology"), Mapping):
        raise FormatError(f"{path.name}: {_MODEL} has no modelTopology; save the model again")
    metadata = found.get("userDefinedMetadata")
    if metadata is not None and not isinstance(metadata, Mapping):
        raise FormatError(f"{path.name}: userDefinedMetadata of {_MODEL} must be an object")
    return found


def _plain(said: Mapping[str, Any], held: Mapping[str, ndarray], limits: Limits) -> Model:
    about = {key: str(said[key])[:200] for key in ("generatedBy", "convertedBy") if said.get(key)}
    if said.get("format") == _GRAPH or "node" in said["modelTopology"]:
        return graph_read.model(said, held, about, limits)
    return layers_read.model(said["modelTopology"], held, about, limits)


def _wanted(path: Path) -> str:
    """Which kind the name of a folder asks for; empty for any."""
    name = path.name.lower()
    return _GRAPH if name.endswith(".graph.tfjs") else _LAYERS if name.endswith(".layers.tfjs") else ""


def _content(model: Model, wanted: str) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """What ``model.json`` says, and what lies beside it by name."""
    about = {"generatedBy": "engram", "convertedBy": None}
    if wanted != _GRAPH:
        try:
            topology = layers_write.topology(model)
            return {"format": _LAYERS, **about, "modelTopology": topology}, dict(model.weights)
        except ConversionError:
            if wanted == _LAYERS:
                raise
    made = graph_write.drawn(model)
    said = {"format": _GRAPH, **about, "signature": made.signature, "modelTopology": made.topology}
    return said, dict(made.constants)


def _note(model: Model) -> dict[str, Any]:
    """What brings the model back whole, as plain JSON values."""
    return {
        **_description.describe(model),
        **_description.graphs_as_text(model),
        "weights": {name: array.dtype.name for name, array in model.weights.items()},
    }


def _whole(
    note: Mapping[str, Any], said: Mapping[str, Any], held: Mapping[str, ndarray], limits: Limits
) -> Model | None:
    """The model that Engram wrote, or None where what is in the folder is not what it wrote."""
    where = f"the key {_KEY!r} of {_MODEL}"
    described = _description.from_json(dict(note), where)
    graph, preprocessing = _description.graphs(note, where)
    _description.sound(graph, limits)
    types = note.get("weights")
    if not isinstance(types, Mapping) or not all(
        kind in {"float32", "int32", "int64", "bool"} for kind in types.values()
    ):
        raise FormatError(f"{where} does not name its weights")
    named = _named(list(types), said, held)
    if named is None:
        return None
    weights = {name: np.asarray(array).astype(types[name], copy=False) for name, array in named.items()}
    made = _description.model(described, graph, weights, preprocessing=preprocessing, limits=limits)
    try:
        content, arrays = _content(made, str(said.get("format", "")))
    except ConversionError:
        return None
    same = content["modelTopology"] == said["modelTopology"] and content.get("signature") == said.get("signature")
    alike = arrays.keys() == held.keys() and all(_equal(array, held[name]) for name, array in arrays.items())
    return made if same and alike else None


def _named(names: list[str], said: Mapping[str, Any], held: Mapping[str, ndarray]) -> dict[str, ndarray] | None:
    """The weights of the model by their own names; None where they are not all there."""
    labels = graph_write.labels(names) if said.get("format") == _GRAPH else {name: name for name in names}
    if any(label not in held for label in labels):
        return None
    return {name: held[label] for label, name in labels.items()}


def _equal(one: ndarray, other: ndarray) -> bool:
    """Whether two arrays hold the same bits; what was read and put into the graph again is mostly the very same."""
    alike = one.dtype == other.dtype and one.shape == other.shape
    return one is other or (alike and one.tobytes() == other.tobytes())
