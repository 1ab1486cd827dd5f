"""NumPy's files: ``.npz``, a zip of arrays by name, and ``.npy``, one array.

A file holds weights by name. Where the model has a graph, one member more, ``engram.json``, holds it and the
description; numpy hands that out as bytes and is not disturbed. Arrays of Python objects are pickles and are refused;
the text in front of each array is matched and never evaluated.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

from numpy import ndarray

from engram.errors import ConversionError, FormatError
from engram.formats import _archive, _carried, _files, _npy
from engram.formats._archive_writing import Zip
from engram.records import Limits, Model, Signature

__all__ = ["CARRIES", "SUFFIXES", "read", "recognizes", "write"]

SUFFIXES = (".npz", ".npy")
CARRIES = ("graph", "weights", "preprocessing", "names")

_ENDING = ".npy"
_ALONE = "array"
_NAME = 30


def recognizes(head: bytes, path: Path) -> bool:
    """Whether a file is an array, or a zip of arrays and nothing else."""
    if head.startswith(_npy.MAGIC):
        return True
    if not head.startswith(_archive.MAGIC) or len(head) < _NAME:
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, struct.error):
        length = int.from_bytes(head[_NAME - 4 : _NAME - 2], "little")
        names = [head[_NAME : _NAME + length].decode("utf-8", "replace")]
    arrays = [name for name in names if name.endswith(_ENDING)]
    return bool(arrays) and set(names) - set(arrays) <= {_carried.MEMBER}


def read(path: Path, limits: Limits) -> Model:
    """The arrays in a file, with graph and description where Engram wrote it.

    Raises:
        FormatError: the file is damaged or hostile, or holds Python objects.
    """
    with path.open("rb") as file:
        if file.read(len(_npy.MAGIC)) == _npy.MAGIC:
            content = _files.portion(file.fileno(), 0, path.stat().st_size)
            return _bare({_ALONE: _array(content, path.name)}, "npy")
    with _archive.opened(path, limits) as archive:
        names = [name for name in archive.names if name.endswith(_ENDING)]
        if len(names) > limits.tensors:
            raise FormatError(f"{path.name} has {len(names):,} arrays, over the limit of {limits.tensors:,}")
        weights = {name.removesuffix(_ENDING): _array(archive.plain(name), f"{path.name}/{name}") for name in names}
        said = archive.read(_carried.MEMBER) if _carried.MEMBER in archive else b""
    if said:
        return _carried.whole(said, weights, f"the member {_carried.MEMBER!r}", limits)
    return _bare(weights, "npz")


def write(model: Model, path: Path) -> None:
    """Each weight as a member of its name, as ``numpy.savez`` has them.

    Raises:
        ConversionError: a weight has a type or a name that such a file cannot have.
    """
    if path.suffix.lower() == _ENDING:
        raise ConversionError(f"{path.name} would hold one array without a name; write .npz")
    _named(model)
    with path.open("wb") as file:
        made = Zip(file)
        for name, array in model.weights.items():
            made.add(f"{name}{_ENDING}", *_npy.write(array, name))
        if said := _carried.text(model):
            made.add(_carried.MEMBER, said)
        made.finish()


def _array(content: ndarray, where: str) -> ndarray:
    found = _npy.parse(content.data, where)
    if found.dtype.names:
        raise FormatError(f"{where} is a table of the fields {', '.join(found.dtype.names)[:80]} and no weight")
    return found


def _bare(weights: dict[str, ndarray], form: str) -> Model:
    return Model(graph=b"", weights=weights, signature=Signature((), ()), source={"format": "npz", "form": form})


def _named(model: Model) -> None:
    """Refuse names that a zip cannot have, or that some systems take for one."""
    if not model.weights:
        raise ConversionError("the model has no weights, of which alone such a file is made")
    for name in model.weights:
        parts = f"{name}{_ENDING}".split("/")
        if "\\" in name or "\0" in name or name.startswith("/") or any(part in {"", ".", ".."} for part in parts):
            raise ConversionError(
                f"the weight {name!r} has no plain name inside a zip; rename it, or write safetensors"
            )
    try:
        _files.folded(model.weights)
    except FormatError as wrong:
        raise ConversionError(f"{wrong}; write safetensors") from wrong
