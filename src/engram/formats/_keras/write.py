"""What a model is in Keras' words: the description it came with, or one made for its graph.

A description that came with the model is used only while it is still the model's: it is read again with the model's
weights, and the graph that comes out must be the model's, bit for bit. Any other graph is put into layers anew.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy import ndarray

from engram.errors import ConversionError, EngramError, FormatError
from engram.formats import _description, _tensors
from engram.formats._keras import read as reading
from engram.formats._keras.kind import Part
from engram.formats._keras.lower import NAME, Lowered, lowered
from engram.formats._keras.operations import OPERATIONS
from engram.formats._keras.parts import arrays
from engram.formats._keras.words import HOMES
from engram.records import Limits, Model

__all__ = ["Written", "modern", "note", "older", "own", "said", "whole"]

_EXPORTED = {"GroupedQueryAttention": "GroupQueryAttention"}
"""Class → what ``keras.layers`` calls it, where that is another name."""
VERSION = "3.10.0"
"""What a description of ours says it was written by: the oldest Keras that has all that is used."""


@dataclass(frozen=True, slots=True)
class Written:
    """A model in Keras' words.

    Attributes:
        config: with ``class_name`` and ``config``.
        version: of the Keras that would write it so.
        parts: its layers.
        weights: by the names that ``parts`` gives them.
        names: our name → name in ``weights``, for those that are one array in both.
        kept: weights that are in no array of Keras' and are written beside the network.
        plain: whether reading the words alone gives the model.
        low: how the graph was put into words; None for words it came with.
    """

    config: Mapping[str, Any]
    version: str
    parts: Mapping[str, Part]
    weights: Mapping[str, ndarray]
    names: Mapping[str, str]
    kept: Mapping[str, ndarray]
    plain: bool
    low: Lowered | None = None


def said(model: Model) -> Written:
    """The model in the words it came with, or in words for its graph.

    Raises:
        ConversionError: it has no graph, or a node cannot be said in Keras.
    """
    if not model.graph:
        raise ConversionError("the model is weights without a graph, which Keras cannot load; write safetensors")
    found = own(model)
    if found is not None:
        return found
    low = lowered(model.graph, model.weights)
    kept = {name: array for name, array in model.weights.items() if name not in low.found}
    return Written(low.config, VERSION, low.parts, low.weights, low.names, kept, plain=False, low=low)


def own(model: Model) -> Written | None:
    """The model in the words it came with; None where it did not come from Keras or is another network by now."""
    config = model.source.get("config")
    if not isinstance(config, Mapping) or "class_name" not in config:
        return None
    try:
        parts = reading.layers(config)
        names = [name for part in parts.values() for name, _, _ in arrays(part)]
        if set(names) != model.weights.keys():
            return None
        again = reading.built(config, lambda _: {name: model.weights[name] for name in names}, model.source, Limits())
    except EngramError:
        return None
    if again.graph != model.graph:
        return None
    more = (model.labels, model.preprocessing, model.statistics, again.signature != model.signature)
    version = str(model.source.get("keras_version", ""))
    same = {name: name for name in names}
    return Written(config, version, parts, model.weights, same, {}, plain=not any(more))


def modern(config: Mapping[str, Any]) -> dict[str, Any]:
    """A description with the modules that Keras 3 wants and the older format leaves out."""
    config = dict(config)
    inner = config.get("config")
    if not isinstance(inner, Mapping) or not isinstance(inner.get("layers"), list):
        return config
    layers = [modern(one) for one in inner["layers"]]
    config["config"] = {**inner, "layers": [one if "module" in one else {**one, **_home(one)} for one in layers]}
    return config


def older(config: Mapping[str, Any]) -> dict[str, Any]:
    """A description for the older format: modules stand only where Keras would go wrong without one.

    Without it, Keras takes a function of ``keras.ops`` for the layer of the same name, or finds none, and leaves out an
    ``axis`` that is several.
    """
    config = dict(config)
    inner = config.get("config")
    if not isinstance(inner, Mapping) or not isinstance(inner.get("layers"), list):
        return config
    layers = [older(one) for one in inner["layers"]]
    config["config"] = {**inner, "layers": [{**one, **_home(one)} if _unsaid(one) else one for one in layers]}
    return config


def _unsaid(found: Mapping[str, Any]) -> bool:
    """Whether a layer of the older format needs its module."""
    settings = found.get("config")
    if "module" in found or not isinstance(settings, Mapping):
        return False
    axis = settings.get("axis")
    return _is_function(found) or (isinstance(axis, list) and len(axis) > 1)


def _is_function(found: Mapping[str, Any]) -> bool:
    """Whether a description without a module is that of a function: nearly every layer says if it is trainable."""
    return "trainable" not in found["config"] and str(found.get("class_name")) in OPERATIONS


def _home(found: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(found.get("class_name"))
    if kind in {"Functional", "Model"}:
        return {"module": "keras.src.models.functional", "class_name": "Functional", "registered_name": "Functional"}
    if kind == "Sequential":
        return {"module": "keras", "registered_name": None}
    if _is_function(found):
        return {"module": f"keras.src.ops.{HOMES.get(kind, 'numpy')}", "registered_name": kind}
    return {"module": "keras.layers", "class_name": _EXPORTED.get(kind, kind), "registered_name": None}


def note(model: Model, written: Written) -> dict[str, Any]:
    """What brings the model back whole, as plain JSON values."""
    return {
        **_description.describe(model),
        **_description.graphs_as_text(model),
        "names": list(model.weights),
        "kept": {name: _tensors.as_json(array) for name, array in written.kept.items()},
    }


def whole(
    found: Any,  # noqa: ANN401 - of a stranger's file
    config: Mapping[str, Any],
    arrays_of: Callable[[Mapping[str, Part]], Mapping[str, ndarray]],
    plain: Callable[[], Model],
    limits: Limits,
) -> Model | None:
    """The model that Engram wrote, or None where the network in the file is not the one it wrote.

    Args:
        found: the note.
        config: of the network in the file.
        arrays_of: finds the arrays in the file for layers.
        plain: reads the network as Keras has it.
        limits: the largest of everything that is accepted.

    Raises:
        FormatError: the note is damaged.
    """
    where = "the key 'engram'"
    described = _description.from_json(found, where)
    graph, preprocessing = _description.graphs(found, where)
    _description.sound(graph, limits)
    ordered = found.get("names")
    if not isinstance(ordered, list) or not isinstance(found.get("kept"), dict):
        raise FormatError(f"{where} does not name its weights")
    kept = {name: _tensors.from_json(one, f"weight {name!r}", limits) for name, one in found["kept"].items()}
    ways: list[Callable[[], Mapping[str, ndarray] | None]] = [
        lambda: _original(graph, plain),
        lambda: _originals(graph, config, arrays_of, kept),
    ]
    if config.get("config", {}).get("name") == NAME:  # most likely in our words, and each way costs a second
        ways.reverse()
    weights = ways[0]() or ways[1]()
    every = {**(weights or {}), **kept}
    if weights is None or {str(name) for name in ordered} != every.keys() or len(ordered) != len(every):
        return None
    in_order = {name: every[name] for name in ordered}
    return _description.model(described, graph, in_order, preprocessing=preprocessing, limits=limits)


def _original(graph: bytes, plain: Callable[[], Model]) -> Mapping[str, ndarray] | None:
    """A graph's weights where it is the one that Keras' own words say."""
    read = plain()
    return read.weights if read.graph == graph else None


def _originals(
    graph: bytes,
    config: Mapping[str, Any],
    arrays_of: Callable[[Mapping[str, Part]], Mapping[str, ndarray]],
    kept: Mapping[str, ndarray],
) -> dict[str, ndarray] | None:
    """A graph's weights out of Keras' arrays, where putting both into words gives just this file."""
    try:
        held = arrays_of(reading.layers(config))
        blank = _blank(graph, sum(array.size for array in (*held.values(), *kept.values())))
        if blank is None:
            return None
        draft = lowered(graph, blank)
        if draft.weights.keys() != held.keys():
            return None
        found = {**{name: kept[name] for name in blank if name in kept}, **draft.originals(held)}
        again = draft.told(found)  # the words hang on shapes alone, so the arrays can be said without saying them anew
        if found.keys() != blank.keys() or json.loads(json.dumps(draft.config)) != config:
            return None
        return found if all(_same_bits(again[name], held[name]) for name in again) else None
    except (EngramError, KeyError):
        return None


def _same_bits(one: ndarray, other: ndarray) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    kind = f"u{one.dtype.itemsize}"
    return np.array_equal(np.ascontiguousarray(one).view(kind), np.ascontiguousarray(other).view(kind))


def _blank(graph: bytes, most: int) -> dict[str, ndarray] | None:
    """Zeros in the shapes of a graph's weights; None where they would be more numbers than the file has."""
    model = onnx.ModelProto.FromString(graph)
    outside = [tensor for tensor in model.graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
    if sum(math.prod(tensor.dims) for tensor in outside) > most:
        return None
    kinds = onnx.helper.tensor_dtype_to_np_dtype
    return {tensor.name: np.broadcast_to(kinds(tensor.data_type).type(), tuple(tensor.dims)) for tensor in outside}
