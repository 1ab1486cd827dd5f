"""Keras' own format since version 3: a zip with a description in JSON and weights in HDF5.

Neither Keras nor TensorFlow is needed to read it. The description names layers, which are looked up in a table of ours
and become ONNX nodes; a class that is not in it, or a Lambda, which is code, is refused by its name. Weights keep the
names of their layers (``encoder/dense/kernel``), their values and their layout; the graph turns them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy import ndarray

from engram.errors import FormatError
from engram.formats import _archive, _document
from engram.formats._archive_writing import Zip
from engram.formats._faults import typed
from engram.formats._hdf5 import tree
from engram.formats._keras import read as reading
from engram.formats._keras import real, store, stored, training
from engram.formats._keras import write as writing
from engram.formats._keras import write_training as states
from engram.formats._keras.kind import Part
from engram.records import Limits, Model, TrainingState

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

SUFFIXES = (".keras",)
CARRIES = ("graph", "weights", "training state", "preprocessing", "names")

_KEY = "engram"
_CONFIG, _ABOUT, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


def recognizes(head: bytes, path: Path) -> bool:
    """Whether a file is a zip that begins with what Keras writes first, or has its suffix."""
    names = (b"metadata.json", b"config.json", b"model.weights.h5")
    if not head.startswith(_archive.MAGIC):
        return False
    return any(head[30:].startswith(name) for name in names) or path.suffix.lower() in SUFFIXES


@typed
def read(path: Path, limits: Limits) -> Model:
    """The model in a file: whole when Engram wrote it, else the network with its weights.

    Raises:
        FormatError: it is damaged or hostile, or has a layer that is not known.
    """
    with _opened(path, limits) as (held, config, about):
        return _model(held, config, about, limits)


def _model(held: tree.Tree, config: dict[str, Any], about: dict[str, Any], limits: Limits) -> Model:
    source = {"format": "keras", "keras_version": str(about.get("keras_version", "")), "config": config}

    def arrays(parts: Mapping[str, Part]) -> Mapping[str, ndarray]:
        return stored.by_place(held, parts)

    def plain() -> Model:
        return reading.built(config, arrays, source, limits)

    if _KEY in about:
        said: dict[str, Any] = {key: config[key] for key in ("class_name", "config") if key in config}
        whole = writing.whole(about[_KEY], said, arrays, plain, limits)
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
    found = writing.said(model)
    functional = {"module": "keras.src.models.functional", "registered_name": "Functional"}
    home = {"module": "keras", "registered_name": None} if found.config["class_name"] == "Sequential" else functional
    config: dict[str, Any] = {**home, **writing.modern(found.config)}
    compiled, arrays = model.source.get("training_config", config.get("compile_config")), list[ndarray]()
    if state is not None:
        config["compile_config"], arrays = states.with_state(found, state, compiled)
    about: dict[str, Any] = {"keras_version": found.version}
    if not found.plain:
        about[_KEY] = writing.note(model, found) | (states.note_of(state) if state is not None else {})
    with path.open("w+b") as file:
        made = Zip(file)
        made.add(_ABOUT, _document.text(about, "the metadata"))
        made.add(_CONFIG, _document.text(config, "the config"))
        made.add_by(_WEIGHTS, lambda inside: store.by_places(inside, found.parts, found.weights, arrays))
        made.finish()


@typed
def state(path: Path, limits: Limits) -> TrainingState | None:
    """The optimizer's state in a file, with slots by the names of the weights; None where it was not kept.

    Raises:
        FormatError: as ``read``, or the state is not that of the optimizer that the config names.
    """
    with _opened(path, limits) as (held, config, about):
        return _state(held, config, about, limits)


def _state(held: tree.Tree, config: dict[str, Any], about: dict[str, Any], limits: Limits) -> TrainingState | None:
    optimizer = (config.get("compile_config") or {}).get("optimizer")
    places = [*held.arrays("optimizer/vars"), *held.arrays("_optimizer/vars")]
    if not isinstance(optimizer, (Mapping, str)) or not places:
        return None
    places.sort(key=lambda place: int(place.rpartition("/")[2]) if place.rpartition("/")[2].isdigit() else -1)
    parts = reading.layers(config)
    found = [held.array(place) for place in places]
    made = training.state_of(optimizer, found, reading.trained(parts), stored.by_place(held, parts))
    note = about.get(_KEY)
    return states.state_back(_model(held, config, about, limits), made, note) if isinstance(note, Mapping) else made


@contextmanager
def _opened(path: Path, limits: Limits) -> Iterator[tuple[tree.Tree, dict[str, Any], dict[str, Any]]]:
    """The arrays of a file, its description of the network, and what it says of itself."""
    with _archive.opened(path, limits) as archive:
        config, about = (_json(archive, name, limits) for name in (_CONFIG, _ABOUT))
        if _WEIGHTS not in archive:
            raise FormatError(f"{path.name} has no {_WEIGHTS}; weights in npz or in several files are not read")
        yield tree.opened(archive.span(_WEIGHTS), f"{path.name}: {_WEIGHTS}", limits), config, about


def _json(archive: _archive.Archive, name: str, limits: Limits) -> dict[str, Any]:
    found = _document.parse(archive.read(name), name, depth=limits.config_depth)
    if not isinstance(found, dict):
        raise FormatError(f"{archive.path.name}: {name} must be an object")
    return found
