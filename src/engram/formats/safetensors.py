"""safetensors: tensors behind a JSON header, the common coin of weights.

A file holds weights by name. What else makes a model (graph, preprocessing, signature, labels, statistics) stands in
the header's ``__metadata__`` under the one key ``engram``: one key, because the library writes several in random order
and the same model must give the same bytes. A file with tensors alone is read as a model that is only weights.

The header is checked here, and strictly, before the library sees it: bytes that no tensor owns, tensors that overlap, a
key twice or a byte too many make a file that two programs could read differently.

Weights may also stand in several files with an index beside them. The index is then the file of the model, holds what
else makes it, and says of every tensor where it is; a shard with one tensor more or less is refused.
"""

from __future__ import annotations

from pathlib import Path

from numpy import ndarray

from engram.errors import ConversionError
from engram.formats import _carried, _shards
from engram.formats._stored_safetensors import LENGTH, load, save
from engram.records import Limits, Model, Signature

__all__ = ["CARRIES", "SUFFIXES", "read", "recognizes", "write", "write_shards"]

SUFFIXES = (".safetensors", _shards.SUFFIX)
CARRIES = ("graph", "weights", "preprocessing", "names")

_KEY = _carried.KEY
_WHERE = "the key 'engram' of the header"
_ABSURD = 2**48


def recognizes(head: bytes, path: Path) -> bool:
    """Whether a file begins like safetensors (a length, then an object) or like the index of shards."""
    if _is_index(head):
        return b'"weight_map"' in head or path.name.lower().endswith(_shards.SUFFIX)
    if len(head) <= LENGTH or head[LENGTH : LENGTH + 1] != b"{":
        return False
    length = int.from_bytes(head[:LENGTH], "little")
    return length + LENGTH <= path.stat().st_size or path.suffix.lower() in SUFFIXES


def read(path: Path, limits: Limits) -> Model:
    """The model in a file, or the weights alone where there is nothing else.

    Args:
        path: of the file, or of the index of several.
        limits: the largest of everything that is accepted.

    Raises:
        FormatError: the file breaks a rule of the format, a shard does not hold what the index says, or what Engram
            wrote into it was changed.
    """
    with path.open("rb") as file:
        head = file.read(LENGTH)
    if _is_index(head):
        said, weights = _shards.load(path, limits)
        return _carried.noted(said[_KEY], weights, _WHERE, limits) if _KEY in said else _bare(weights)
    notes, weights = load(path, limits)
    if _KEY not in notes:
        return _bare(weights)
    return _carried.whole(notes[_KEY].encode(), weights, _WHERE, limits)


def write(model: Model, path: Path) -> None:
    """Weights by name, and everything else of the model in the header; with an index where the path is one's.

    Raises:
        ConversionError: a weight is of a type that the format does not have.
    """
    if path.name.lower().endswith(_shards.SUFFIX):
        write_shards(model, path, _shards.LARGEST)
        return
    save(model.weights, path, {_KEY: _carried.text(model).decode()} if model.graph else None)


def write_shards(model: Model, path: Path, largest: int) -> None:
    """Weights in several files, and the index that says which is where and holds everything else of the model.

    Args:
        model: what is written.
        path: of the index; the shards lie beside it, called as Hugging Face calls them.
        largest: bytes of tensors in one file; a tensor that is larger has a file of its own.

    Raises:
        ConversionError: as ``write``, or the path is not that of an index.
    """
    if not path.name.lower().endswith(_shards.SUFFIX):
        raise ConversionError(f"{path.name} is one file; name the index of the shards, as in model{_shards.SUFFIX}")
    _shards.save(model.weights, path, {_KEY: _carried.notes(model)} if model.graph else {}, largest)


def _is_index(head: bytes) -> bool:
    """Whether a file begins as a JSON object; eight of its characters would be an absurd length of a header."""
    long = len(head) < LENGTH or int.from_bytes(head[:LENGTH], "little") > _ABSURD
    return long and head.lstrip(b" \t\r\n").startswith(b"{")


def _bare(weights: dict[str, ndarray]) -> Model:
    return Model(graph=b"", weights=weights, signature=Signature((), ()), source={"format": "safetensors"})
