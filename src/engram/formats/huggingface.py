"""Hugging Face folders: ``config.json`` beside weights in safetensors.

What is written is a folder that the hub shows and every reader of safetensors opens; the graph, the preprocessing and
the rest stand in the metadata of the weights, as in a file of safetensors. A folder of another program's holds weights
and the name of an architecture whose code lies elsewhere: it is read as weights alone, and ``--graph`` gives them one.
Nothing of such a folder is run, ``auto_map`` and its like included. Weights may lie in shards with an index; a folder
of these alone is read without a configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from engram.errors import FormatError
from engram.formats import _document, _files, _shards, safetensors
from engram.graphs.compose import classes
from engram.records import Limits, Model

__all__ = ["CARRIES", "FOLDER", "SUFFIXES", "read", "recognizes", "write", "write_shards"]

FOLDER = True
SUFFIXES = ("",)
CARRIES = safetensors.CARRIES

_CONFIG, _WEIGHTS, _INDEX, _CARD = "config.json", "model.safetensors", f"model{_shards.SUFFIX}", "README.md"
_KIND = "engram"


def recognizes(head: bytes, path: Path) -> bool:  # noqa: ARG001 - the contract of the shelf
    """Whether a folder holds an index of shards, or a configuration and weights in safetensors."""
    return (path / _INDEX).is_file() or all((path / name).is_file() for name in (_CONFIG, _WEIGHTS))


def read(path: Path, limits: Limits) -> Model:
    """The model in a folder: whole when Engram wrote it, else weights with what the configuration says.

    Raises:
        FormatError: a file is missing, damaged or hostile.
    """
    config = _config(path, limits) if (path / _CONFIG).is_file() else {}
    name = _WEIGHTS if (path / _WEIGHTS).is_file() else _INDEX
    if name == _WEIGHTS and (path / _INDEX).is_file():
        raise FormatError(f"{path.name} holds {_WEIGHTS} and {_INDEX}, of which programs read one or the other")
    found = safetensors.read(_files.safe_join(path, name), limits)
    if found.graph:
        return found
    return replace(found, labels=_labels(config), source={"format": "huggingface", "config": config})


def write(model: Model, path: Path) -> None:
    """A folder with the weights, a configuration, and a card that says what it is.

    Raises:
        ConversionError: a weight is of a type that safetensors does not have.
    """
    write_shards(model, path, _shards.LARGEST)


def write_shards(model: Model, path: Path, largest: int) -> None:
    """As ``write``, with an index and several files of weights where one would be larger than asked for.

    Args:
        model: what is written.
        path: of the folder.
        largest: bytes of tensors in one file; a tensor that is larger has a file of its own.

    Raises:
        ConversionError: as ``write``.
    """
    path.mkdir()
    several = len(_shards.divided({name: array.nbytes for name, array in model.weights.items()}, largest)) > 1
    if several:
        safetensors.write_shards(model, path / _INDEX, largest)
    else:
        safetensors.write(model, path / _WEIGHTS)
    (path / _CONFIG).write_bytes(_document.text(_described(model), _CONFIG) + b"\n")
    (path / _CARD).write_text(_card(model, _INDEX if several else _WEIGHTS), encoding="utf-8")


def _config(path: Path, limits: Limits) -> dict[str, Any]:
    content = _files.read(_files.safe_join(path, _CONFIG), limits.config_bytes)
    found = _document.parse(content, f"{_CONFIG} of {path.name}", depth=limits.config_depth)
    if not isinstance(found, dict):
        raise FormatError(f"{_CONFIG} of {path.name} must be an object, not {type(found).__name__}")
    return found


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Classes in the order of their numbers; none where the configuration has no whole list."""
    found = config.get("id2label")
    if not isinstance(found, dict) or not all(isinstance(label, str) for label in found.values()):
        return ()
    places = [str(place) for place in range(len(found))]
    return tuple(found[place] for place in places) if found.keys() == set(places) else ()


def _described(model: Model) -> dict[str, Any]:
    labels = classes(model) if model.graph else model.labels
    kinds = sorted({array.dtype.name for array in model.weights.values() if "float" in array.dtype.name})
    return {
        "architectures": [str(model.source.get("architecture") or model.source.get("framework") or _KIND)],
        "model_type": _KIND,
        "torch_dtype": kinds[0] if len(kinds) == 1 else None,
        "id2label": {str(place): label for place, label in enumerate(labels)},
        "label2id": {label: place for place, label in enumerate(labels)},
    }


def _card(model: Model, weights: str) -> str:
    inputs = "\n".join(f"- `{spec.name}`: {spec.dtype} {list(spec.shape)}" for spec in model.signature.inputs)
    return (
        "---\nlibrary_name: engram\n---\n\n"
        f"A network of {model.parameters:,} parameters. Graph, preprocessing and labels stand in the metadata of\n"
        f"`{weights}`; `engram import` reads the folder without running anything of it.\n\n"
        f"## Inputs\n\n{inputs}\n"
    )
