"""What Engram writes into a file beside the network, and how much of it is believed.

The metadata entry ``engram`` holds what TFLite cannot: the network before it was turned and folded, the preprocessing,
the description, and where each weight's numbers lie. It also holds a digest of everything else in the file. A file that
another program changed afterwards has another digest and is read for what it now is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from engram.errors import FormatError
from engram.formats import _description, _document
from engram.formats._tflite.parts import File
from engram.formats._tflite.pieces import Store, gathered, located
from engram.formats._tflite.write import Written
from engram.records import Limits, Model

__all__ = ["KEY", "described", "notes", "own"]

KEY = "engram"
_STORE = "engram.weights"


def described(model: Model, written: Written, file: File, composed: bool) -> dict[str, memoryview]:
    """The metadata that bring a model back whole.

    Args:
        model: what was written.
        written: its network as TFLite.
        file: everything else in the file.
        composed: whether the preprocessing is in the network as well.

    Raises:
        ConversionError: source or statistics are no plain JSON.
    """
    store = Store()
    weights = {name: written.weights.get(name, array) for name, array in model.weights.items()}
    found = {
        **_description.describe(model),
        **_description.graphs_as_text(model),
        "composed": composed,
        "folded": list(written.folded),
        "weights": located(weights, written.graph, written.sources, store),
        "network": digest(file),
        "stored": hashlib.sha256(store.filled()).hexdigest(),
    }
    # it stands last in the file; filled up, it leaves no padding behind it whose loss nobody would notice
    text = _document.text(found, "the description of the model")
    return {KEY: memoryview(text), _STORE: memoryview(store.filled())}


def notes(file: File, limits: Limits) -> dict[str, Any] | None:
    """What Engram wrote into a file; None where it did not write it, or not as it now is.

    Raises:
        FormatError: the entry is damaged.
    """
    text = file.metadata.get(KEY)
    if text is None:
        return None
    where = f"the metadata {KEY!r}"
    if len(text) > limits.config_bytes:
        raise FormatError(f"{where} has {len(text):,} bytes, but at most {limits.config_bytes:,} are read")
    found = _document.parse(bytes(text), where, depth=limits.config_depth)
    if not isinstance(found, dict):
        raise FormatError(f"{where} must be an object")
    stored = hashlib.sha256(file.metadata.get(_STORE, b"")).hexdigest()
    return found if (found.get("network"), found.get("stored")) == (digest(file), stored) else None


def own(found: Mapping[str, Any], file: File, limits: Limits) -> Model:
    """The model that was written.

    Raises:
        FormatError: what is said of it does not fit together.
    """
    where = f"the metadata {KEY!r}"
    description = _description.from_json(found, where)
    store = Store(bytes(file.metadata.get(_STORE, b"")))
    weights = gathered(found.get("weights"), file.subgraphs[0], store, limits)
    graph, preprocessing = _description.graphs(found, where)
    return _description.model(description, graph, weights, preprocessing=preprocessing, limits=limits)


def digest(file: File) -> str:
    """A digest of everything in a file that is not Engram's own."""
    found = hashlib.sha256()
    for graph in file.subgraphs:
        found.update(repr((graph.name, graph.inputs, graph.outputs)).encode())
        for tensor in graph.tensors:
            about = (tensor.name, tensor.type, tensor.shape, tensor.free, tensor.is_variable, tensor.data is None)
            found.update(repr(about).encode())
            found.update(b"" if tensor.data is None else tensor.data)
            if tensor.quantization is not None:
                scale, zero = tensor.quantization.scale, tensor.quantization.zero_point
                found.update(repr((scale.tolist(), zero.tolist(), tensor.quantization.axis)).encode())
        for operator in graph.operators:
            options = sorted((name, value) for name, value in operator.options.items())
            about_it = (operator.kind, operator.custom, operator.version, operator.inputs, operator.outputs, options)
            found.update(repr(about_it).encode())
    entries = [(one.key, list(one.inputs.items()), list(one.outputs.items()), one.subgraph) for one in file.entries]
    found.update(repr((file.description, entries)).encode())
    for name, data in file.metadata.items():
        if name not in {KEY, _STORE}:
            found.update(name.encode() + b"\0" + bytes(data))
    return found.hexdigest()
