"""What Engram keeps inside TensorFlow's own files, so that a model comes back as it was.

It is a collection called ``engram`` of the graph, which TensorFlow passes over: both graphs of the model, the
description, the parts of a training state that are no arrays. On reading it is believed only if lowering those graphs
once more gives exactly what else is in the file; a folder that was changed is read for what it now is. A file of its
own beside the others (``assets.extra``) would be lost unnoticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from numpy import ndarray
from onnx.checker import ValidationError

from engram.errors import EngramError, FormatError
from engram.formats import _description, _document
from engram.formats._tensorflow import saving
from engram.formats._tensorflow.bundle import Bundle
from engram.formats._tensorflow.messages import message
from engram.formats._tensorflow.parameters import path_key
from engram.records import Limits, Model, TrainingState

__all__ = ["arrays", "enclosed", "note", "noted", "restored", "restored_state"]

_KEY = "engram"
_WHERE = f"the collection {_KEY!r} of saved_model.pb"
_ARRAYS = ("slots", "average", "random", "best")
_FAULTS = (ValueError, TypeError, LookupError, RuntimeError, ArithmeticError, AttributeError, ValidationError)
"""What lowering a spoiled description may run into; the folder is then read for what it is."""
_PLAIN = tuple(field.name for field in fields(TrainingState) if field.name not in _ARRAYS)


def note(model: Model, state: TrainingState | None = None) -> bytes:
    """What TensorFlow has no place for, as text.

    Raises:
        ConversionError: the model holds what JSON cannot say.
    """
    found: dict[str, Any] = {
        **_description.describe(model),
        **_description.graphs_as_text(model),
        "names": list(model.weights),
    }
    if state is not None:
        found["training"] = {key: _json(getattr(state, key)) for key in _PLAIN}
        found["training arrays"] = list(arrays(state))
    return _document.text(found, "the description of the model")


def arrays(state: TrainingState) -> dict[str, ndarray]:
    """The arrays of a training state under one name each (``slots/exp_avg/layer1.weight``)."""
    return {f"{kind}/{name}": array for kind in _ARRAYS for name, array in getattr(state, kind).items()}


def noted(graph: Any, limits: Limits) -> Mapping[str, Any] | None:  # noqa: ANN401 - a generated class
    """What ``note`` wrote, if anything.

    Raises:
        FormatError: it is there and damaged.
    """
    if _KEY not in graph.collection_def:
        return None
    texts = graph.collection_def[_KEY].bytes_list.value
    if len(texts) != 1 or len(texts[0]) > limits.config_bytes:
        raise FormatError(f"{_WHERE} holds {len(texts)} texts, or one over the limit of {limits.config_bytes:,} bytes")
    found = _document.parse(texts[0], _WHERE, depth=limits.config_depth)
    if not isinstance(found, dict):
        raise FormatError(f"{_WHERE} must be an object, not {type(found).__name__}")
    return found


def enclosed(content: bytes, text: bytes) -> bytes:
    """A serialized SavedModel with the text of ``note`` in it."""
    found = message("SavedModel")
    found.ParseFromString(content)
    found.meta_graphs[0].collection_def[_KEY].bytes_list.value.append(text)
    return bytes(found.SerializeToString(deterministic=True))


def restored(found: Mapping[str, Any], saved: Any, bundle: Bundle, limits: Limits) -> Model | None:  # noqa: ANN401 - generated
    """The model that Engram wrote, or None where the graph in the folder is not the one it wrote.

    Args:
        found: what ``note`` wrote.
        saved: the message of the file.
        bundle: the variables.
        limits: of a stranger's file.

    Raises:
        FormatError: the parts do not belong together.
    """
    description = _description.from_json(found, _WHERE)
    graph, preprocessing = _description.graphs(found, _WHERE)
    names = found.get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FormatError(f"{_WHERE}: names must be a list of texts")
    keys = {name: path_key(saving.HOLDER, name) for name in names}
    if any(key not in bundle for key in keys.values()):
        raise FormatError(f"{_WHERE} names other weights than the checkpoint holds; export the model again")
    weights = {name: bundle.array(key) for name, key in keys.items()}
    made = _description.model(description, graph, weights, preprocessing=preprocessing, limits=limits)
    try:
        same = saving.graph_bytes(made) == _bare(saved)
    except (EngramError, *_FAULTS):
        return None
    return made if same else None


def restored_state(found: Mapping[str, Any], bundle: Bundle) -> TrainingState | None:
    """The training state that Engram wrote, if it did.

    Raises:
        FormatError: it is not whole.
    """
    said, names = found.get("training"), found.get("training arrays")
    if not isinstance(said, dict) or not isinstance(names, list):
        return None
    kinds: dict[str, dict[str, ndarray]] = {kind: {} for kind in _ARRAYS}
    for name in names:
        kind, _, rest = str(name).partition("/")
        if kind not in kinds:
            raise FormatError(f"the training state tells of {name!r}, which is no part of one; export it again")
        kinds[kind][rest] = bundle.array(path_key(saving.TRAINING, str(name)))
    usual = TrainingState()
    plain: dict[str, Any] = {}
    for key in _PLAIN:
        value, wanted = said.get(key), getattr(usual, key)
        if isinstance(wanted, tuple):
            value = tuple(value) if isinstance(value, list) else value
        if type(value) is not type(wanted):
            raise FormatError(
                f"the training state says {key} = {value!r:.60}, which is of another kind; export it again"
            )
        plain[key] = value
    plain.update(kinds)
    return replace(usual, **plain)


def _bare(saved: Any) -> bytes:  # noqa: ANN401 - a generated class
    """What else is in the file."""
    found = message("SavedModel")
    found.CopyFrom(saved)
    del found.meta_graphs[0].collection_def[_KEY]
    return bytes(found.SerializeToString(deterministic=True))


def _json(value: Any) -> Any:  # noqa: ANN401 - any plain value
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    return [_json(item) for item in value] if isinstance(value, (list, tuple)) else value
