"""What a question to a worker holds, and what its answer does: plain values and arrays, as files in a folder.

They travel as JSON and plain bytes: a pickle of the answer would let a stranger's file that took over the worker take
over this process, too.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np
from numpy import ndarray

from engram.errors import FormatError

__all__ = ["Arrays", "mapped", "numbered", "pack", "piece", "unpack"]

Arrays = Mapping[str, ndarray]

_TEXTS = "string"
_PLAIN = (str, int, float, type(None))


def pack(folder: Path, name: str, said: Mapping[str, Any], arrays: Arrays) -> None:
    """Values as JSON, arrays as bytes one after the other; the JSON comes last and says that all is there."""
    index: list[dict[str, Any]] = []
    with (folder / f"{name}.bin").open("wb") as file:
        for key, given in arrays.items():
            array = np.asarray(given)
            entry = {"name": key, "type": _type(array), "shape": list(array.shape)}
            if array.dtype.kind in "OUS" and any(isinstance(one, ndarray) for one in array.flat):
                entry["arrays"] = [_placed(file, np.asarray(one)) for one in array.flat]
            elif array.dtype.kind in "OUS":
                entry["texts"] = [one if isinstance(one, _PLAIN) else str(one) for one in array.ravel().tolist()]
            else:
                _placed(file, array)
            index.append(entry)
    part = folder / f"{name}.part"
    part.write_text(json.dumps({"said": dict(said), "arrays": index}), encoding="utf-8")
    part.replace(folder / f"{name}.json")


def unpack(
    folder: Path, name: str, content: Callable[[Path], bytes | mmap.mmap] = Path.read_bytes
) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """What ``pack`` wrote; a worker that was taken over may have written anything, so every length is checked.

    It may also still be there and cut the file short, so an answer is copied and not mapped.
    """
    try:
        found = json.loads((folder / f"{name}.json").read_bytes())
        whole = memoryview(content(folder / f"{name}.bin"))
        arrays, place = dict[str, ndarray](), 0
        for entry in found["arrays"]:
            parts = []
            for part in entry.get("arrays", [entry]):
                made, place = _taken(whole, place, part)
                parts.append(made)
            arrays[entry["name"]] = _ragged(parts, entry["shape"]) if "arrays" in entry else parts[0]
        return dict(found["said"]), arrays
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as wrong:
        raise FormatError(f"a worker's {name} cannot be read: {wrong}; nothing of it is used") from wrong


def mapped(path: Path) -> bytes | mmap.mmap:
    """A file that nobody changes, without a copy of it."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""


def numbered(pieces: Sequence[Arrays]) -> dict[str, ndarray]:
    """Several batches as one, each array behind the number of its batch."""
    return {f"{number}/{name}": array for number, batch in enumerate(pieces) for name, array in batch.items()}


def piece(arrays: Arrays, number: int) -> dict[str, ndarray]:
    """One of the batches that ``numbered`` made one of."""
    start = f"{number}/"
    return {name[len(start) :]: array for name, array in arrays.items() if name.startswith(start)}


def _placed(file: BinaryIO, array: ndarray) -> dict[str, Any]:
    """Write the numbers of an array, and say what it is."""
    file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return {"type": _type(array), "shape": list(array.shape)}


def _taken(whole: memoryview, place: int, entry: Mapping[str, Any]) -> tuple[ndarray, int]:
    """An array that begins at a place, and where the next one does."""
    shape = tuple(int(length) for length in entry["shape"])
    if entry["type"] == _TEXTS:
        return np.array(entry["texts"], dtype=object).reshape(shape), place
    kind, count = _dtype(entry["type"]), max(math.prod(shape), 0)
    end = place + count * kind.itemsize
    return np.frombuffer(whole[place:end], kind).reshape(shape), end


def _ragged(parts: Sequence[ndarray], shape: Sequence[int]) -> ndarray:
    made = np.empty(len(parts), dtype=object)
    for number, part in enumerate(parts):
        made[number] = part
    return made.reshape(shape)


def _type(array: ndarray) -> str:
    return _TEXTS if array.dtype.kind in "OUS" else array.dtype.name


def _dtype(name: str) -> np.dtype[Any]:
    found = getattr(ml_dtypes, name, None)
    kind = np.dtype(found if isinstance(found, type) else name)
    if kind.hasobject:
        raise ValueError(f"{name} is no type of numbers")
    return kind
