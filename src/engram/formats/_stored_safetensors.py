"""A file of safetensors, checked to the letter and then opened by the library.

The header is parsed here and not taken from the library: it must be known that every byte belongs to exactly one tensor
before any is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors as library
from numpy import ndarray
from safetensors.numpy import save_file

from engram.errors import ConversionError, FormatError
from engram.formats import _document
from engram.records import Limits

__all__ = ["LENGTH", "load", "save"]

LENGTH = 8
"""Bytes of the length before the header."""

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


def load(path: Path, limits: Limits) -> tuple[dict[str, str], dict[str, ndarray]]:
    """The notes in the header of a file, and its tensors in the order of the header.

    Raises:
        FormatError: the file breaks a rule of the format.
    """
    header, size = _header(path, limits)
    notes = header.pop(_METADATA, {})
    entries = {name: _entry(name, found, limits) for name, found in header.items()}
    _covered(entries, size)
    return notes, _tensors(path, entries)


def save(weights: Mapping[str, ndarray], path: Path, notes: dict[str, str] | None) -> None:
    """A file of tensors; with one note the same ones give the same bytes.

    Raises:
        ConversionError: a tensor has a name or a type that the format does not have.
    """
    if _METADATA in weights:
        raise ConversionError(f"a weight is called {_METADATA!r}, which safetensors keeps for itself; rename it")
    try:
        save_file({name: _solid(array) for name, array in weights.items()}, path, notes)
    except library.SafetensorError as refused:
        raise ConversionError(f"safetensors cannot hold the weights: {refused}") from refused


def _header(path: Path, limits: Limits) -> tuple[dict[str, Any], int]:
    """The header as parsed, and the bytes of the buffer behind it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(LENGTH)
        length = int.from_bytes(start, "little")
        if len(start) < LENGTH or length > size - LENGTH:
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
    return found, size - LENGTH - length


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
        start = LENGTH + int.from_bytes(file.read(LENGTH), "little")
        file.seek(start + entry.begin)
        return np.frombuffer(bytearray(file.read(entry.end - entry.begin)), dtype).reshape(entry.shape)


def _solid(array: ndarray) -> ndarray:
    """The array in C order and little-endian: the library writes memory as it lies there."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(array.shape)
