"""Weights in several files of safetensors, and the index beside them that says which lies where.

Names, division and index are those of Hugging Face, whose programs look for no others. A stranger's index is data: a
shard is a plain name beside it, never a path. Its ``total_size`` is not held against the shards, because honest files
are often wrong there.

Source: huggingface_hub, ``serialization/_base.py``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy import ndarray

from engram.errors import ConversionError, FormatError
from engram.formats import _document, _files, _stored_safetensors
from engram.records import Limits

__all__ = ["LARGEST", "SUFFIX", "divided", "load", "save"]

SUFFIX = ".safetensors.index.json"
LARGEST = 5_000_000_000
"""Bytes of tensors in one file, unless somebody says otherwise; what the hub takes."""

_SHARD = ".safetensors"
_MAP = "weight_map"


@dataclass(frozen=True, slots=True)
class _Index:
    """Which tensor lies in which file, in the index's own order, and what it says beside.

    Attributes:
        files: tensor → name of the file.
        notes: anything.
    """

    files: Mapping[str, str]
    notes: Mapping[str, Any] = field(default_factory=dict)

    def shards(self) -> dict[str, set[str]]:
        """The tensors that each file is said to hold."""
        found: dict[str, set[str]] = {}
        for tensor, file in self.files.items():
            found.setdefault(file, set()).add(tensor)
        return found


def load(path: Path, limits: Limits) -> tuple[Mapping[str, Any], dict[str, ndarray]]:
    """What an index says beside, and the tensors of all its shards in its own order.

    Raises:
        FormatError: the index is not strict JSON, is over a limit, or names a shard that is no plain name; or a shard
            breaks a rule of its format, or holds other tensors than the index says.
    """
    index = _read(path, limits)
    found: dict[str, ndarray] = {}
    for file, wanted in index.shards().items():
        _, weights = _stored_safetensors.load(_files.safe_join(path.parent, file), limits)
        absent, more = wanted - weights.keys(), weights.keys() - wanted
        if absent:
            raise FormatError(f"{path.name} says that the tensor {min(absent)!r} is in {file}, but it is not there")
        if more:
            where = index.files.get(min(more))
            said = f"puts it into {where}" if where else "does not name it"
            raise FormatError(f"{file} holds the tensor {min(more)!r}, but {path.name} {said}")
        found |= weights
    return index.notes, {name: found[name] for name in index.files}


def save(weights: Mapping[str, ndarray], path: Path, notes: Mapping[str, Any], largest: int) -> None:
    """Shards and the index that says which tensor is where.

    Args:
        weights: what is divided.
        path: of the index; the shards lie beside it.
        notes: what else the index is to say, as plain JSON.
        largest: as of ``divided``.

    Raises:
        ConversionError: a tensor has a name or a type that safetensors does not have.
    """
    parts = divided({name: array.nbytes for name, array in weights.items()}, largest)
    files = _names(path.name, len(parts))
    for file, part in zip(files, parts, strict=True):
        _stored_safetensors.save({name: weights[name] for name in part}, path.with_name(file), {"format": "pt"})
    said = {"total_size": sum(array.nbytes for array in weights.values()), **notes}
    lies = {name: file for file, part in zip(files, parts, strict=True) for name in part}
    path.write_bytes(_text(lies, said))


def divided(sizes: Mapping[str, int], largest: int) -> list[list[str]]:
    """Which tensors go into one file together, in their order; one that is larger alone has a file of its own.

    Args:
        sizes: bytes of each tensor.
        largest: bytes of tensors in one file, from 1.

    Raises:
        ConversionError: there would be more files than a model may have.
    """
    if largest < 1:
        raise ConversionError(f"a shard of {largest} bytes holds nothing; give a size from 1")
    made: list[list[str]] = []
    current: list[str] = []
    held = 0
    for name, size in sizes.items():
        if size > largest:
            made.append([name])
            continue
        if held + size > largest:
            made.append(current)
            current, held = [], 0
        current.append(name)
        held += size
    made += [current] if current or not made else []
    if len(made) > Limits().files:
        raise ConversionError(f"{len(made):,} shards are over the limit of {Limits().files:,}; make them larger")
    return made


def _read(path: Path, limits: Limits) -> _Index:
    found = _document.parse(
        _files.read(path, limits.header_bytes),
        path.name,
        depth=limits.config_depth,
        entries=2 * limits.header_entries + 10_000,
    )
    files = found.get(_MAP) if isinstance(found, dict) else None
    if not isinstance(files, dict) or not all(isinstance(name, str) for name in files.values()):
        raise FormatError(f"{path.name}: {_MAP} must be an object of texts: tensor → file")
    notes = found.get("metadata", {})
    if not isinstance(notes, dict):
        raise FormatError(f"{path.name}: metadata must be an object")
    if len(files) > limits.header_entries:
        raise FormatError(f"{path.name}: more than {limits.header_entries:,} tensors")
    _plain(set(files.values()), path, limits)
    return _Index(files, notes)


def _names(index: str, count: int) -> list[str]:
    stem = index[: -len(SUFFIX)]
    return [f"{stem}-{number:05d}-of-{count:05d}{_SHARD}" for number in range(1, count + 1)]


def _text(files: Mapping[str, str], notes: Mapping[str, Any]) -> bytes:
    """An index as Hugging Face writes it, to the byte."""
    found = {"metadata": dict(notes), _MAP: dict(files)}
    try:
        return json.dumps(found, indent=2, allow_nan=False).encode()
    except (TypeError, ValueError, UnicodeError) as refused:
        raise ConversionError(f"the index of the shards cannot be written as JSON: {refused}") from refused


def _plain(files: set[str], path: Path, limits: Limits) -> None:
    if len(files) > limits.files:
        raise FormatError(f"{path.name}: {len(files):,} shards are over the limit of {limits.files:,}")
    for name in sorted(files):
        if "/" in name or "\\" in name or not name.endswith(_SHARD):
            raise FormatError(f"{path.name} names the shard {name!r}, which is no plain name of a {_SHARD} beside it")
    _files.folded(files)
