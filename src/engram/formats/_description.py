"""What a model says of itself beside its tensors, as plain JSON: signature, labels, source and statistics.

Every format that can hold a piece of text holds this one, so that a file written by Engram comes back whole. The graphs
remain the truth: a description whose signature is not that of the graphs beside it is refused.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError
from numpy import ndarray
from onnx import ModelProto

from engram.errors import ConversionError, FormatError
from engram.formats._stored_onnx import names_are_text
from engram.graphs.check import check
from engram.graphs.signature import signature as declared
from engram.graphs.weights import check_fit
from engram.graphs.wire import count
from engram.records import Limits, Model, Signature, TensorSpec
from engram.records.tensors import DTYPES

__all__ = ["Description", "describe", "from_json", "graphs", "graphs_as_text", "model", "sound", "spec"]

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Description:
    """What a model says of itself beside its tensors."""

    signature: Signature
    labels: tuple[str, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)
    statistics: Mapping[str, Any] = field(default_factory=dict)


def describe(model: Model) -> dict[str, Any]:
    """The description of a model as plain JSON values.

    Raises:
        ConversionError: source or statistics hold what JSON cannot say.
    """
    found = {
        "version": _VERSION,
        "signature": model.signature.as_json(),
        "labels": list(model.labels),
        "source": dict(model.source),
        "statistics": dict(model.statistics),
    }
    try:
        again = json.loads(json.dumps(found, allow_nan=False))
    except (TypeError, ValueError) as refused:
        raise ConversionError(f"source or statistics of the model are not plain JSON: {refused}") from refused
    assert isinstance(again, dict)
    return again


def from_json(found: Any, where: str) -> Description:  # noqa: ANN401 - of a stranger's file
    """The description that ``describe`` wrote.

    Raises:
        FormatError: something is missing or of another kind.
    """
    if not isinstance(found, dict):
        raise FormatError(f"{where} must be an object, not {type(found).__name__}")
    if found.get("version") != _VERSION:
        raise FormatError(f"{where} has version {found.get('version')!r}, but this Engram reads {_VERSION}; update it")
    labels = found.get("labels", [])
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise FormatError(f"{where}: labels must be a list of texts")
    for key in ("source", "statistics"):
        if not isinstance(found.get(key, {}), dict):
            raise FormatError(f"{where}: {key} must be an object")
    signature = _signature(found.get("signature"), where)
    return Description(signature, tuple(labels), found.get("source", {}), found.get("statistics", {}))


def graphs_as_text(model: Model) -> dict[str, str]:
    """Graph and preprocessing as plain JSON values."""
    return {
        "graph": base64.b64encode(model.graph).decode(),
        "preprocessing": base64.b64encode(model.preprocessing).decode(),
    }


def graphs(found: Mapping[str, Any], where: str) -> tuple[bytes, bytes]:
    """Graph and preprocessing out of what ``graphs_as_text`` made.

    Raises:
        FormatError: one is missing or damaged.
    """
    return _decoded(found, "graph", where), _decoded(found, "preprocessing", where)


def model(
    description: Description,
    graph: bytes,
    weights: Mapping[str, ndarray],
    *,
    preprocessing: bytes = b"",
    limits: Limits,
) -> Model:
    """A model from its parts, once they are found to belong together.

    Raises:
        FormatError: a graph is not sound, or graphs, weights and signature do not fit together.
    """
    signature = description.signature
    network = sound(graph, limits)
    outermost = sound(preprocessing, limits) if preprocessing else network
    _fits(signature.inputs, outermost.inputs, "input")
    _fits(signature.outputs, network.outputs, "output")
    check_fit(graph, weights)
    return Model(
        graph=graph,
        weights=dict(weights),
        signature=signature,
        preprocessing=preprocessing,
        labels=description.labels,
        source=description.source,
        statistics=description.statistics,
    )


def sound(graph: bytes, limits: Limits) -> Signature:
    """What goes into a stranger's graph and what comes out, once it has passed every check.

    Raises:
        FormatError: it is damaged, over a limit or no valid ONNX.
    """
    try:
        count(graph, limits)
        names_are_text(ModelProto.FromString(graph))
        return declared(check(graph, limits))
    except (DecodeError, RecursionError, TypeError, UnicodeError) as wrong:
        raise FormatError(f"the graph is damaged: {wrong}") from wrong


def _decoded(found: Mapping[str, Any], key: str, where: str) -> bytes:
    try:
        return base64.b64decode(found[key], validate=True)
    except (KeyError, TypeError, ValueError) as wrong:
        raise FormatError(f"{where}: {key} is damaged: {wrong}") from wrong


def _fits(said: Sequence[TensorSpec], found: Sequence[TensorSpec], noun: str) -> None:
    """Refuse a description that tells of other tensors than its graph has."""
    if [one.name for one in said] != [one.name for one in found]:
        names = f"{[one.name for one in said]} are described, but the graph has {[one.name for one in found]}"
        raise FormatError(f"the {noun}s do not fit: {names}")
    for one, other in zip(said, found, strict=True):
        lengths = zip(one.shape, other.shape, strict=False)
        same = all(a == b or not (isinstance(a, int) and isinstance(b, int)) for a, b in lengths)
        if one.dtype != other.dtype or len(one.shape) != len(other.shape) or not same:
            is_ = f"{other.dtype} {list(other.shape)}"
            raise FormatError(f"{noun} {one.name!r} is described as {one.dtype} {list(one.shape)}, but is {is_}")


def _signature(found: Any, where: str) -> Signature:  # noqa: ANN401 - of a stranger's file
    if not isinstance(found, dict) or not all(isinstance(found.get(key), list) for key in ("inputs", "outputs")):
        raise FormatError(f"{where}: signature must have lists of inputs and outputs")
    return Signature(
        tuple(spec(one, where) for one in found["inputs"]), tuple(spec(one, where) for one in found["outputs"])
    )


def spec(found: Any, where: str) -> TensorSpec:  # noqa: ANN401 - of a stranger's file
    """One tensor of a signature.

    Raises:
        FormatError: it is not whole.
    """
    if not isinstance(found, dict):
        raise FormatError(f"{where}: a tensor of the signature must be an object")
    texts = all(isinstance(found.get(key, ""), str) for key in ("name", "dtype", "unit", "kind"))
    gaps = found.get("gaps")
    shape = found.get("shape")
    lengths = isinstance(shape, list) and all(
        isinstance(axis, str) or (type(axis) is int and axis >= 0) for axis in shape
    )
    plain = texts and lengths and (gaps is None or isinstance(gaps, bool))
    if not plain or found.get("dtype") not in DTYPES or not found.get("name"):
        raise FormatError(f"{where}: the tensor {found.get('name')!r} of the signature is not whole")
    return TensorSpec.from_json(found)
