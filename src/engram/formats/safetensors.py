"""safetensors: tensors behind a JSON header, the common coin of weights.

A file holds weights by name. What else makes a model (graph, preprocessing, signature, labels, statistics) stands in
the header's ``__metadata__`` under the one key ``engram``: one key, because the library writes several in random order
and the same model must give the same bytes. A file with tensors alone is read as a model that is only weights.

The header is checked here, and strictly, before the library sees it: bytes that no tensor owns, tensors that overlap, a
key twice or a byte too many make a file that two programs could read differently.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors as library
from numpy import ndarray
from safetensors.numpy import save_file

from engram.errors import ConversionError, FormatError
from engram.formats import _description, _document
from engram.records import Limits, Model, Signature

__all__ = ["CARRIES", "SUFFIXES", "read", "recognizes", "write"]

SUFFIXES = (".safetensors",)
CARRIES = ("graph", "weights", "preprocessing", "names")

_LENGTH = 8
_KEY = "engram"
_METADATA = "__metadata__"
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
_BEYOND_NUMPY = {
    "BF16": "bfloat16", "F8_E5M2": "float8_e5m2", "F8_E4M3": "float8_e4m3fn", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip


class _Entry(NamedTuple):
    """A tensor as the header tells of it; a tuple, because a header may hold a million."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def recognizes(head: bytes, path: Path) -> bool:
    """Whether a file begins like safetensors: a length, then an object."""
    if len(head) <= _LENGTH or head[_LENGTH : _LENGTH + 1] != b"{":
        return False
    length = int.from_bytes(head[:_LENGTH], "little")
    return length + _LENGTH <= path.stat().st_size or path.suffix.lower() in SUFFIXES


def read(path: Path, limits: Limits) -> Model:
    """The model in a file, or the weights alone where there is nothing else.

    Raises:
        FormatError: the file breaks a rule of the format, or what Engram wrote into it was changed.
    """
    header, size = _header(path, limits)
    notes = header.pop(_METADATA, {})
    entries = {name: _entry(name, found, limits) for name, found in header.items()}
    _covered(entries, size)
    weights = _tensors(path, entries)
    if _KEY not in notes:
        return Model(graph=b"", weights=weights, signature=Signature((), ()), source={"format": "safetensors"})
    found = _document.parse(notes[_KEY].encode(), "the key 'engram' of the header", depth=limits.config_depth)
    return _whole(found, weights, limits)


def write(model: Model, path: Path) -> None:
    """Weights by name, and everything else of the model in the header.

    Raises:
        ConversionError: a weight is of a type that the format does not have.
    """
    notes = {
        "graph": base64.b64encode(model.graph).decode(),
        "preprocessing": base64.b64encode(model.preprocessing).decode(),
        "names": list(model.weights),
        **_description.describe(model),
    }
    arrays = {name: _solid(array) for name, array in model.weights.items()}
    if _METADATA in arrays:
        raise ConversionError(f"a weight is called {_METADATA!r}, which safetensors keeps for itself; rename it")
    metadata = {_KEY: _document.text(notes, "the description of the model").decode()} if model.graph else None
    try:
        save_file(arrays, path, metadata)
    except library.SafetensorError as refused:
        raise ConversionError(f"safetensors cannot hold the weights: {refused}") from refused


def _header(path: Path, limits: Limits) -> tuple[dict[str, Any], int]:
    """The header as parsed, and the bytes of the buffer behind it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(_LENGTH)
        length = int.from_bytes(start, "little")
        if len(start) < _LENGTH or length > size - _LENGTH:
            raise FormatError(f"{path.name}: the header should have {length:,} bytes, but the file has {size:,} in all")
        if length > limits.header_bytes:
            raise FormatError(f"{path.name}: a header of {length:,} bytes is over the limit of {limits.header_bytes:,}")
        head = file.read(length)
    if not head.startswith(b"{"):
        raise FormatError(f"{path.name}: the header does not begin with '{{'")
    found = _document.parse(
        head.rstrip(b" "),
        f"header of {path.name}",
        depth=3,
        entries=8 * limits.header_entries + 100,
        pairs=_compact,
    )
    if len(found) - (_METADATA in found) > limits.header_entries:
        raise FormatError(f"{path.name}: more than {limits.header_entries:,} tensors")
    notes = found.get(_METADATA, {})
    if not isinstance(notes, dict) or not all(isinstance(note, str) for note in notes.values()):
        raise FormatError(f"{path.name}: the values of {_METADATA} must be texts")
    return found, size - _LENGTH - length


def _compact(found: dict[str, Any]) -> Any:  # noqa: ANN401 - an entry, or any other object
    if found.keys() != {"dtype", "shape", "data_offsets"}:
        return found
    shape, offsets = found["shape"], found["data_offsets"]
    numbers = [*shape, *offsets] if isinstance(shape, list) and isinstance(offsets, list) else [-1]
    sound = all(type(number) is int and number >= 0 for number in numbers) and len(offsets) == 2
    if not sound or not isinstance(found["dtype"], str):
        return found
    return _Entry(found["dtype"], tuple(shape), *offsets)


def _entry(name: str, found: Any, limits: Limits) -> _Entry:  # noqa: ANN401 - of a stranger's file
    if not isinstance(found, _Entry):
        raise FormatError(f"tensor {name!r}: its entry must have exactly dtype, shape and data_offsets, as numbers")
    if found.dtype not in _BITS:
        raise FormatError(f"tensor {name!r}: the type {found.dtype!r} is none of {', '.join(_BITS)}")
    if len(found.shape) > limits.rank or any(axis > limits.dimension for axis in found.shape):
        raise FormatError(f"tensor {name!r}: the shape {list(found.shape)[:8]} is over the limits")
    bits = math.prod(found.shape) * _BITS[found.dtype]
    if bits % 8 or bits // 8 != found.end - found.begin:
        given = f"{found.end - found.begin:,} bytes"
        raise FormatError(f"tensor {name!r}: {found.dtype} {list(found.shape)} does not take {given}")
    return found


def _covered(entries: Mapping[str, _Entry], size: int) -> None:
    """Every byte of the buffer belongs to exactly one tensor."""
    at = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != at:
            fault = "leaves a hole before it" if entry.begin > at else "overlaps the one before it"
            raise FormatError(f"tensor {name!r} begins at byte {entry.begin:,} and {fault}, which ends at {at:,}")
        at = entry.end
    if at != size:
        raise FormatError(f"the tensors take {at:,} bytes, but the file holds {size:,}; it is cut off or has a tail")


def _tensors(path: Path, entries: Mapping[str, _Entry]) -> dict[str, ndarray]:
    try:
        with library.safe_open(path, "numpy") as file:
            plain = {name: file.get_tensor(name) for name, entry in entries.items() if entry.dtype in _numpy_types()}
    except library.SafetensorError as refused:
        raise FormatError(f"{path.name}: {refused}") from refused
    return {name: plain[name] if name in plain else _beyond(path, name, entry) for name, entry in entries.items()}


def _numpy_types() -> set[str]:
    return {name for name in _BITS if name[0] != "F" or name in {"F16", "F32", "F64"}} - {"BF16"}


def _beyond(path: Path, name: str, entry: _Entry) -> ndarray:
    """A tensor of a type that numpy lacks and the library therefore cannot hand over."""
    import ml_dtypes  # a dependency of onnx

    if entry.dtype not in _BEYOND_NUMPY:
        raise FormatError(f"tensor {name!r}: no array here has the type {entry.dtype}; convert it to BF16 or F16")
    dtype = np.dtype(getattr(ml_dtypes, _BEYOND_NUMPY[entry.dtype]))
    with path.open("rb") as file:
        start = _LENGTH + int.from_bytes(file.read(_LENGTH), "little")
        file.seek(start + entry.begin)
        return np.frombuffer(bytearray(file.read(entry.end - entry.begin)), dtype).reshape(entry.shape)


def _whole(found: Any, weights: dict[str, ndarray], limits: Limits) -> Model:  # noqa: ANN401 - of a stranger's file
    description = _description.from_json(found, "the description in the header")
    graph, preprocessing = (_graph(found.get(key), key) for key in ("graph", "preprocessing"))
    names = found.get("names")
    if not isinstance(names, list) or len(names) != len(weights) or {str(name) for name in names} != weights.keys():
        raise FormatError("the tensors are not those that the description in the header names; one was added or lost")
    ordered = {name: weights[name] for name in names}
    return _description.model(description, graph, ordered, preprocessing=preprocessing, limits=limits)


def _graph(found: Any, key: str) -> bytes:  # noqa: ANN401 - of a stranger's file
    try:
        return base64.b64decode(found, validate=True)
    except (TypeError, ValueError) as wrong:
        raise FormatError(f"{key} in the header is damaged: {wrong}") from wrong


def _solid(array: ndarray) -> ndarray:
    """The array in C order and little-endian: the library writes memory as it lies there."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(array.shape)
