"""Keras' older format: one HDF5 file with the description, the weights and the optimizer; or with weights alone.

HDF5 itself is no format of models. What is read is what Keras writes into it: whole models (``model.save("m.h5")``,
Keras 1 to 3) and weights (``m.weights.h5``). Arrays are found as Keras finds them: by the order in which a layer lists
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from numpy import ndarray

from engram.errors import FormatError
from engram.formats import _document, _files
from engram.formats._faults import typed
from engram.formats._hdf5 import tree
from engram.formats._keras import read as reading
from engram.formats._keras import real, store, stored, training
from engram.formats._keras import write as writing
from engram.formats._keras import write_training as states
from engram.formats._keras.kind import Part
from engram.formats._keras.parts import arrays as arrays_of
from engram.records import Limits, Model, Signature, TrainingState

__all__ = [
    "CARRIES",
    "SUFFIXES",
    "read",
    "recognizes",
    "run",
    "run_pieces",
    "runtime",
    "state",
    "write",
    "write_training",
]

SUFFIXES = (".h5", ".hdf5")
CARRIES = ("graph", "weights", "training state", "preprocessing", "names")

_KEY = "engram"
_WEIGHTS = ".weights.h5"


def recognizes(head: bytes, path: Path) -> bool:  # noqa: ARG001 - the contract of the shelf
    """Whether a file begins as HDF5 does."""
    return head.startswith(tree.MAGIC)


@typed
def read(path: Path, limits: Limits) -> Model:
    """The model in a file, or the weights alone where there is nothing else.

    Raises:
        FormatError: it is damaged or hostile, is not Keras', or has a layer that is not known.
    """
    with _files.spanned(path) as content:
        held = tree.opened(content, path.name, limits)
        config = _text(held, "model_config", limits)
        return _weights(held, limits) if config is None else _model(held, config, limits)


def _model(held: tree.Tree, config: dict[str, Any], limits: Limits) -> Model:
    version = held.node("").attributes.get("keras_version", "")
    source: dict[str, Any] = {"format": "hdf5", "keras_version": str(version), "config": config}
    training_config, note = (_text(held, key, limits) for key in ("training_config", _KEY))
    if training_config is not None:
        source["training_config"] = training_config

    def arrays(parts: Mapping[str, Part]) -> Mapping[str, ndarray]:
        return stored.by_list(held, "model_weights", parts)

    def plain() -> Model:
        return reading.built(config, arrays, source, limits)

    if note is not None:
        whole = writing.whole(note, config, arrays, plain, limits)
        if whole is not None:
            return whole
    return plain()


def write(model: Model, path: Path) -> None:
    """The model as Keras has it: in the words it came with, or in layers made for its graph.

    Raises:
        ConversionError: a part of it cannot be said in Keras.
    """
    _written(model, None, path)


def write_training(model: Model, state: TrainingState, path: Path) -> None:
    """As ``write``, with the optimizer's state inside.

    Raises:
        ConversionError: as ``write``, or Keras has no such optimizer.
    """
    _written(model, state, path)


def run(path: Path, inputs: Mapping[str, ndarray]) -> dict[str, ndarray]:
    """What the real Keras answers, in a process of its own, once our own reader has accepted the file.

    Raises:
        MissingLibrary: Keras, or TensorFlow and torch below it, are not installed.
        FormatError: Keras refuses the file.
    """
    return run_pieces(path, [inputs])[0]


def run_pieces(path: Path, pieces: Sequence[Mapping[str, ndarray]]) -> list[dict[str, ndarray]]:
    """As ``run`` for several batches at once: Keras takes seconds to start."""
    return real.answers(read(path, Limits()), path, pieces)


def runtime() -> str:
    """Name and version of what ``run`` asks."""
    return real.version()


def _written(model: Model, state: TrainingState | None, path: Path) -> None:
    write = _writing(model, state, path.name)
    with path.open("w+b") as file:
        write(file)


def _writing(model: Model, state: TrainingState | None, name: str) -> Callable[[BinaryIO], None]:
    """What writes the file, once all is known that could be refused."""
    if not model.graph:
        return partial(store.alone, weights=model.weights)
    found = writing.said(model)
    if name.lower().endswith(_WEIGHTS):
        places = {name: place for part in found.parts.values() for name, place, _ in arrays_of(part)}
        names = {places[theirs]: ours for ours, theirs in found.names.items()}
        note = _document.text({"names": names}, "names")
        return partial(store.by_places, parts=found.parts, weights=found.weights, note=note)
    attributes, arrays = _attributes(model, found, state)
    return partial(store.by_lists, parts=found.parts, weights=found.weights, attributes=attributes, optimizer=arrays)


def _attributes(
    model: Model, found: writing.Written, state: TrainingState | None
) -> tuple[dict[str, str], list[tuple[str, ndarray]]]:
    """What stands at the root of a whole model's file, and the optimizer's arrays."""
    config = writing.older(found.config)
    compiled = model.source.get("training_config", config.pop("compile_config", None))
    arrays = list[tuple[str, ndarray]]()
    if state is not None:
        said, listed = states.with_state(found, state, compiled)
        optimizer = said.pop("optimizer")
        name = optimizer["config"].get("name", "optimizer")
        arrays = [(f"{name}/{number}", array) for number, array in enumerate(listed)]
        compiled = {**said, "optimizer_config": {key: optimizer[key] for key in ("class_name", "config")}}
    attributes = {"backend": "tensorflow", "keras_version": found.version}
    attributes["model_config"] = _document.text(config, "the config").decode()
    if compiled:
        attributes["training_config"] = _document.text(_older(compiled), "the training config").decode()
    if not found.plain:
        note = writing.note(model, found) | (states.note_of(state) if state is not None else {})
        attributes[_KEY] = _document.text(note, "the description of the model").decode()
    return attributes, arrays


def _older(compiled: Mapping[str, Any]) -> dict[str, Any]:
    """What a network was compiled with, the optimizer where the older format has it."""
    said = {key: value for key, value in compiled.items() if key != "optimizer"}
    optimizer = compiled.get("optimizer")
    if isinstance(optimizer, Mapping) and "optimizer_config" not in said:
        said["optimizer_config"] = {key: optimizer[key] for key in ("class_name", "config") if key in optimizer}
    return said


@typed
def state(path: Path, limits: Limits) -> TrainingState | None:
    """The optimizer's state in a file, with slots by the names of the weights; None where it was not kept.

    Raises:
        FormatError: as ``read``, or the state is not that of the optimizer that the file names.
    """
    with _files.spanned(path) as content:
        return _state(tree.opened(content, path.name, limits), limits)


def _state(held: tree.Tree, limits: Limits) -> TrainingState | None:
    config, said = (_text(held, key, limits) for key in ("model_config", "training_config"))
    optimizer = (said or {}).get("optimizer_config")
    if config is None or not isinstance(optimizer, Mapping) or "optimizer_weights" not in held:
        return None
    parts = reading.layers(config)
    weights = stored.by_list(held, "model_weights", parts)
    names = stored.listed(held, "optimizer_weights", "weight_names")
    if names and names[0].endswith("iter:0"):
        raise FormatError(f"{held.where} has an optimizer of Keras before 2.11, whose state is not read; leave it out")
    found = [held.array(f"optimizer_weights/{name}") for name in names]
    made = training.state_of(optimizer, found, reading.trained(parts), weights)
    note = _text(held, _KEY, limits)
    return states.state_back(_model(held, config, limits), made, note) if note is not None else made


def _text(held: tree.Tree, key: str, limits: Limits) -> dict[str, Any] | None:
    """A JSON object in an attribute of the root; None where there is none."""
    found = held.node("").attributes.get(key)
    if not isinstance(found, str):
        return None
    parsed = _document.parse(found.encode(), f"{held.where}: {key}", depth=limits.config_depth)
    if not isinstance(parsed, Mapping):
        raise FormatError(f"{held.where}: {key} must be an object")
    return dict(parsed)


def _weights(held: tree.Tree, limits: Limits) -> Model:
    by_place = any(path.rpartition("/")[0].endswith("vars") for path in held.arrays())  # subclasses have no "layers"
    if not by_place and not stored.is_by_list(held, ""):
        raise FormatError(f"{held.where} is HDF5, but Keras wrote neither a model nor weights into it")
    found = stored.alone(held)
    names = (_text(held, _KEY, limits) or {}).get("names")
    if isinstance(names, Mapping) and names.keys() == found.keys() and len(set(names.values())) == len(names):
        found = {str(ours): found[place] for place, ours in names.items()}
    return Model(b"", found, Signature((), ()), source={"format": "hdf5"})
