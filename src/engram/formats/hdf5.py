"""Keras' older format: one HDF5 file with the description, the weights and the optimizer; or with weights alone.

HDF5 itself is no format of models. What is read is what Keras writes into it: whole models (``model.save("m.h5")``,
Keras 1 to 3) and weights (``m.weights.h5``). Arrays are found as Keras finds them: by the order in which a layer lists
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engram.errors import ConversionError, FormatError
from engram.formats import _document, _files
from engram.formats._faults import typed
from engram.formats._hdf5 import tree
from engram.formats._keras import read as reading
from engram.formats._keras import stored, training
from engram.records import Limits, Model, Signature, TrainingState

__all__ = ["CARRIES", "SUFFIXES", "WRITES", "read", "recognizes", "state", "write"]

SUFFIXES = (".h5", ".hdf5")
CARRIES = ("graph", "weights", "training state", "names")
WRITES = False

_LARGEST = 2**40


def recognizes(head: bytes, path: Path) -> bool:  # noqa: ARG001 - the contract of the shelf
    """Whether a file begins as HDF5 does."""
    return head.startswith(tree.MAGIC)


@typed
def read(path: Path, limits: Limits) -> Model:
    """The model in a file, or the weights alone where there is nothing else.

    Raises:
        FormatError: it is damaged or hostile, is not Keras', or has a layer that is not known.
    """
    held = tree.opened(_files.read(path, _LARGEST), path.name, limits)
    config = _text(held, "model_config", limits)
    if config is None:
        return _weights(held)
    version = held.node("").attributes.get("keras_version", "")
    source: dict[str, Any] = {"format": "hdf5", "keras_version": str(version), "config": config}
    training = _text(held, "training_config", limits)
    if training is not None:
        source["training_config"] = training
    return reading.built(config, lambda parts: stored.by_list(held, "model_weights", parts), source, limits)


def write(model: Model, path: Path) -> None:  # noqa: ARG001 - the contract of the shelf
    """Nothing: the format is only read.

    Raises:
        ConversionError: always.
    """
    raise ConversionError(f"{path.name} cannot be written: hdf5 is only read; write onnx or safetensors")


@typed
def state(path: Path, limits: Limits) -> TrainingState | None:
    """The optimizer's state in a file, with slots by the names of the weights; None where it was not kept.

    Raises:
        FormatError: as ``read``, or the state is not that of the optimizer that the file names.
    """
    held = tree.opened(_files.read(path, _LARGEST), path.name, limits)
    config, said = (_text(held, key, limits) for key in ("model_config", "training_config"))
    optimizer = (said or {}).get("optimizer_config")
    if config is None or not isinstance(optimizer, Mapping) or "optimizer_weights" not in held:
        return None
    parts = reading.layers(config)
    weights = stored.by_list(held, "model_weights", parts)
    names = stored.listed(held, "optimizer_weights", "weight_names")
    found = [held.array(f"optimizer_weights/{name}") for name in names]
    return training.state_of(optimizer, found, reading.trained(parts), weights)


def _text(held: tree.Tree, key: str, limits: Limits) -> dict[str, Any] | None:
    """A JSON object in an attribute of the root; None where there is none."""
    found = held.node("").attributes.get(key)
    if not isinstance(found, str):
        return None
    parsed = _document.parse(found.encode(), f"{held.where}: {key}", depth=limits.config_depth)
    if not isinstance(parsed, Mapping):
        raise FormatError(f"{held.where}: {key} must be an object")
    return dict(parsed)


def _weights(held: tree.Tree) -> Model:
    by_place = any(name in held for name in ("layers", "_layer_checkpoint_dependencies"))
    if not by_place and not stored.is_by_list(held, ""):
        raise FormatError(f"{held.where} is HDF5, but Keras wrote neither a model nor weights into it")
    found = stored.alone(held)
    return Model(b"", found, Signature((), ()), source={"format": "hdf5"})
