"""The weights of a TensorFlow.js model: a list of what they are, and files in which they lie one after the other.

The list may say that numbers are kept in fewer bits, as q · scale + min or as halves. They are read as what they stand
for, because that is what TensorFlow.js computes with. Every length is checked before anything is made of the bytes.

Source: tfjs-core/src/io/{io_utils,types}.ts, release 4.22.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import FormatError
from engram.formats import _files
from engram.records import Limits

__all__ = ["read", "write"]

_KINDS = {"float32": "<f4", "int32": "<i4", "bool": "|u1", "complex64": "<c8"}
_NARROW = {"uint8": "|u1", "uint16": "<u2", "float16": "<f2"}
_SHARD = 2**22
"""Bytes of a file of weights: what browsers still keep, and where TensorFlow's own converter divides."""
_LARGEST = 2**36


def read(folder: Path, found: Any, limits: Limits) -> dict[str, ndarray]:  # noqa: ANN401 - of a stranger's file
    """The weights by name, but for what an optimizer keeps; texts are arrays of bytes.

    Args:
        folder: of the model; files are looked for in it alone.
        found: what ``weightsManifest`` of ``model.json`` holds.
        limits: of a stranger's file.

    Raises:
        FormatError: the list is damaged, or the files do not hold what it says.
    """
    made: dict[str, ndarray] = {}
    files = 0
    for group in _list(found, "weightsManifest"):
        if not isinstance(group, Mapping):
            raise FormatError("model.json: a group of weightsManifest must be an object")
        paths = _list(group.get("paths"), "paths")
        files += len(paths)
        if files > limits.files:
            raise FormatError(f"model.json names more than {limits.files:,} files of weights; join them")
        content = _content(folder, paths)
        place = 0
        for entry in _list(group.get("weights"), "weights"):
            name, array, place = _entry(entry, content, place, limits)
            if name in made:
                raise FormatError(f"model.json: the weight {name!r} is there twice")
            if entry.get("group") != "optimizer":
                made[name] = array
            if len(made) > limits.tensors:
                raise FormatError(f"model.json lists more than {limits.tensors:,} weights")
        if place != len(content):
            held = f"{len(content):,} bytes, but their weights take {place:,}"
            raise FormatError(
                f"{', '.join(map(str, paths[:3])) or 'no files'} hold {held}; a file is damaged or missing"
            )
    return made


def write(arrays: Mapping[str, ndarray], folder: Path) -> list[dict[str, Any]]:
    """Write the files of weights, and return the list that goes into ``model.json``."""
    entries = []
    for name, array in arrays.items():
        kind = "bool" if array.dtype.kind == "b" else array.dtype.name
        entries.append({"name": name, "shape": list(array.shape), "dtype": kind})
    count = max(1, math.ceil(sum(array.nbytes for array in arrays.values()) / _SHARD))
    paths = [f"group1-shard{number}of{count}.bin" for number in range(1, count + 1)]
    pieces = _divided(arrays.values())
    for path in paths:
        with (folder / path).open("wb", buffering=0) as file:
            for piece in next(pieces, []):
                file.write(piece)
    return [{"paths": paths, "weights": entries}]


def _divided(arrays: Iterable[ndarray]) -> Iterator[list[memoryview]]:
    """What goes into each file, as views of the arrays."""
    held, room = list[memoryview](), _SHARD
    for array in arrays:
        rest = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        while len(rest) >= room:
            yield [*held, rest[:room]]
            held, rest, room = [], rest[room:], _SHARD
        held, room = [*held, rest], room - len(rest)
    if room < _SHARD:
        yield held


def _content(folder: Path, paths: list[Any]) -> memoryview:
    if not all(isinstance(path, str) for path in paths):
        raise FormatError("model.json: paths of weightsManifest must be texts")
    return _files.joined([_files.safe_join(folder, path) for path in paths], _LARGEST).data


def _entry(found: Any, content: memoryview, place: int, limits: Limits) -> tuple[str, ndarray, int]:  # noqa: ANN401
    """A weight: its name, its numbers, and where the next begins."""
    if not isinstance(found, Mapping) or not isinstance(found.get("name"), str):
        raise FormatError("model.json: a weight of weightsManifest has no name")
    name, shape, kind = found["name"], found.get("shape"), found.get("dtype")
    whole = isinstance(shape, list) and all(type(axis) is int and 0 <= axis <= limits.dimension for axis in shape)
    if not whole or not isinstance(shape, list) or len(shape) > limits.rank:
        raise FormatError(
            f"model.json: the weight {name!r} has the shape {shape!r:.60}, which is none or over the limits"
        )
    count = math.prod(shape)
    if kind == "string":
        texts, end = _texts(name, content, place, count)
        return name, texts.reshape(shape), end
    told = found.get("quantization")
    stored = _NARROW.get(str(told.get("dtype"))) if isinstance(told, Mapping) else _KINDS.get(str(kind))
    if stored is None or kind not in _KINDS:
        raise FormatError(f"model.json: the weight {name!r} is {kind!r:.40} in {told!r:.60}, which is not read")
    end = place + count * np.dtype(stored).itemsize
    if end > len(content):
        raise FormatError(f"the weight {name!r} ends at byte {end:,} of {len(content):,}; a file is cut off")
    numbers = np.frombuffer(content, stored, count, place)
    if isinstance(told, Mapping):
        numbers = _widened(name, numbers, told, str(kind))
    kept = numbers.astype(bool) if kind == "bool" else numbers.astype(np.dtype(str(kind)), copy=False)
    return name, kept.reshape(shape), end


def _widened(name: str, numbers: ndarray, told: Mapping[str, Any], kind: str) -> ndarray:
    """What numbers in fewer bits stand for."""
    if told.get("dtype") == "float16":
        return numbers
    scale, least = told.get("scale"), told.get("min")
    if type(scale) not in {int, float} or type(least) not in {int, float} or kind not in {"float32", "int32"}:
        raise FormatError(f"model.json: the weight {name!r} is quantized without scale and min, or is {kind}")
    with np.errstate(over="ignore"):
        made = numbers.astype(np.float64) * float(scale or 0) + float(least or 0)
        return np.asarray(np.floor(made + 0.5) if kind == "int32" else made.astype(np.float32))


def _texts(name: str, content: memoryview, place: int, count: int) -> tuple[ndarray, int]:
    """Texts, each after its length in four bytes."""
    if count * 4 > len(content) - place:
        raise FormatError(f"the weight {name!r} should hold {count:,} texts, but its file ends before; it is cut off")
    made = np.empty(count, dtype=object)
    for number, end in enumerate(_ends(name, content, place, count)):
        made[number] = bytes(content[place + 4 : end])
        place = end
    return made, place


def _ends(name: str, content: memoryview, place: int, count: int) -> Iterator[int]:
    for _ in range(count):
        end = place + 4 + int.from_bytes(content[place : place + 4], "little")
        if place + 4 > len(content) or end > len(content):
            raise FormatError(f"a text of the weight {name!r} ends after its file; the file is damaged")
        yield end
        place = end


def _list(found: Any, key: str) -> list[Any]:  # noqa: ANN401 - of a stranger's file
    if not isinstance(found, list):
        raise FormatError(f"model.json: {key} must be a list, not {type(found).__name__}")
    return found
