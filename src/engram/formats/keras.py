"""Keras' own format since version 3: a zip with a description in JSON and weights in HDF5.

Neither Keras nor TensorFlow is needed to read it. The description names layers, which are looked up in a table of ours
and become ONNX nodes; a class that is not in it, or a Lambda, which is code, is refused by its name. Weights keep the
names of their layers (``encoder/dense/kernel``), their values and their layout; the graph turns them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engram.errors import ConversionError, FormatError
from engram.formats import _archive, _document
from engram.formats._faults import typed
from engram.formats._hdf5 import tree
from engram.formats._keras import read as reading
from engram.formats._keras import stored, training
from engram.records import Limits, Model, TrainingState

__all__ = ["CARRIES", "SUFFIXES", "WRITES", "read", "recognizes", "state", "write"]

SUFFIXES = (".keras",)
CARRIES = ("graph", "weights", "training state", "names")
WRITES = False

_CONFIG, _ABOUT, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


def recognizes(head: bytes, path: Path) -> bool:
    """Whether a file is a zip that begins with what Keras writes first, or has its suffix."""
    names = (b"metadata.json", b"config.json", b"model.weights.h5")
    if not head.startswith(_archive.MAGIC):
        return False
    return any(head[30:].startswith(name) for name in names) or path.suffix.lower() in SUFFIXES


@typed
def read(path: Path, limits: Limits) -> Model:
    """The model in a file.

    Raises:
        FormatError: it is damaged or hostile, or has a layer that is not known.
    """
    held, config, about = _opened(path, limits)
    source = {"format": "keras", "keras_version": str(about.get("keras_version", "")), "config": config}
    return reading.built(config, lambda parts: stored.by_place(held, parts), source, limits)


def write(model: Model, path: Path) -> None:  # noqa: ARG001 - the contract of the shelf
    """Nothing: the format is only read.

    Raises:
        ConversionError: always.
    """
    raise ConversionError(f"{path.name} cannot be written: keras is only read; write onnx or safetensors")


@typed
def state(path: Path, limits: Limits) -> TrainingState | None:
    """The optimizer's state in a file, with slots by the names of the weights; None where it was not kept.

    Raises:
        FormatError: as ``read``, or the state is not that of the optimizer that the config names.
    """
    held, config, _ = _opened(path, limits)
    optimizer = (config.get("compile_config") or {}).get("optimizer")
    places = [*held.arrays("optimizer/vars"), *held.arrays("_optimizer/vars")]
    if not isinstance(optimizer, Mapping) or not places:
        return None
    places.sort(key=lambda place: int(place.rpartition("/")[2]) if place.rpartition("/")[2].isdigit() else -1)
    parts = reading.layers(config)
    return training.state_of(
        optimizer, [held.array(place) for place in places], reading.trained(parts), stored.by_place(held, parts)
    )


def _opened(path: Path, limits: Limits) -> tuple[tree.Tree, dict[str, Any], dict[str, Any]]:
    """The arrays of a file, its description of the network, and what it says of itself."""
    with _archive.opened(path, limits) as archive:
        config, about = (_json(archive, name, limits) for name in (_CONFIG, _ABOUT))
        if _WEIGHTS not in archive:
            raise FormatError(f"{path.name} has no {_WEIGHTS}; weights in npz or in several files are not read")
        content = archive.read(_WEIGHTS, largest=archive.size(_WEIGHTS))
    return tree.opened(content, f"{path.name}: {_WEIGHTS}", limits), config, about


def _json(archive: _archive.Archive, name: str, limits: Limits) -> dict[str, Any]:
    found = _document.parse(archive.read(name), name, depth=limits.config_depth)
    if not isinstance(found, dict):
        raise FormatError(f"{archive.path.name}: {name} must be an object")
    return found
