"""How the numbers of each type stand in a safetensors file, so that every bit of them comes back.

Most types have a code of the format and are looked at in place. Types narrower than a byte are packed, the first number
in the lowest bits: they come back as copies, one byte a number as numpy holds them, because nothing can look at half a
byte in place; the bits that such a byte has to spare mean nothing and are not kept. Types that the format has no code
for (``int4``, ``complex128``, the rarer floats of eight bits) are stored as one that it has, with their true name in a
note of the header: another reader still opens the file, and sees bytes, or pairs of real and imaginary part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy import ndarray

from engram.errors import UsageError

__all__ = ["Entry", "Stored", "array", "dtype", "entry", "store"]

_NATIVE: Final = {
    "BOOL": "bool", "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64", "C64": "complex64",
    "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64", "F16": "float16", "F32": "float32", "F64": "float64",
}  # fmt: skip
_BEYOND_NUMPY: Final = {
    "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip
_NARROW: Final = {"F4": "float4_e2m1fn", "F6_E2M3": "float6_e2m3fn", "F6_E3M2": "float6_e3m2fn"}
_WORDS: Final = {name: code for code, name in (_NATIVE | _BEYOND_NUMPY | _NARROW).items()}
_BITS: Final = {
    "float4_e2m1fn": 4, "float6_e2m3fn": 6, "float6_e3m2fn": 6, "int4": 4, "uint4": 4, "int2": 2, "uint2": 2,
}  # fmt: skip
_PAIRS: Final = "complex128"
_AS_BYTES: Final = {"float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz"}
_BLOCK: Final = 2**20
_KNOWN: Final = {
    **{code: (name, 8 * np.dtype(name).itemsize) for code, name in _NATIVE.items()},
    **{code: (name, 16 if code == "BF16" else 8) for code, name in _BEYOND_NUMPY.items()},
    **{code: (name, _BITS[name]) for code, name in _NARROW.items()},
}
"""Code → name, and bits of a number; ready, because it is asked for every tensor of every load."""

_DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(np.dtype(name).str.replace(">", "<")) for name in [*_NATIVE.values(), _PAIRS]
}
"""By name; those that numpy does not have are added when the first of them is met."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An array as it is stored.

    Attributes:
        code: the format's name of a type.
        shape: in the header.
        data: the bytes, contiguous.
        note: true type and shape where the header cannot say them; empty where it can.
    """

    code: str
    shape: tuple[int, ...]
    data: ndarray
    note: Mapping[str, Any]


class Entry(NamedTuple):
    """A tensor as the header tells of it; a tuple, because a header may hold a million.

    Attributes:
        code: the format's name of a type.
        shape: in the header.
        begin, end: of its bytes, counted from the beginning of the file.
        name: of the true type.
        true: the true shape.
    """

    code: str
    shape: tuple[int, ...]
    begin: int
    end: int
    name: str
    true: tuple[int, ...]


def store(given: ndarray, where: str) -> Stored:
    """An array as it is stored; it is copied only where it is not contiguous, or packed.

    Raises:
        UsageError: its type is none that can be kept.
    """
    name = given.dtype.name
    if name not in _WORDS and name not in _BITS and name not in _AS_BYTES and name != _PAIRS:
        raise UsageError(f"{where} is of type {given.dtype}, which safetensors cannot hold; convert it")
    if given.dtype.byteorder == ">":
        given = given.astype(given.dtype.newbyteorder("<"))
    solid = np.ascontiguousarray(given).reshape(given.shape)
    note = {"dtype": name, "shape": list(solid.shape)}
    if name in _BITS:
        whole = solid.size * _BITS[name] % 8 == 0  # the format has no half bytes
        packed = _packed(solid.reshape(-1).view(np.uint8), _BITS[name])
        return Stored(_WORDS[name], solid.shape, packed, {}) if name in _WORDS and whole else _bytes(packed, note)
    if name == _PAIRS:
        return Stored("F64", (*solid.shape, 2), solid.reshape(-1).view(np.float64), note)
    if name in _AS_BYTES:
        return Stored("U8", solid.shape, solid.reshape(-1).view(np.uint8), note)
    return Stored(_WORDS[name], solid.shape, solid, {})


def entry(code: str, shape: tuple[int, ...], span: tuple[int, int], note: Mapping[str, Any] | None) -> Entry:
    """What a header says of a tensor, checked.

    Args:
        code: the format's name of a type.
        shape: of lengths that are sound.
        span: first byte and the one behind the last.
        note: the true type and shape, of sound lengths; None if there is none.

    Raises:
        ValueError: there is no such type, or the bytes are not as many as the shape says.
    """
    begin, end = span
    if code not in _KNOWN:
        raise ValueError(f"the type {code!r} is none")
    name, bits = _KNOWN[code]
    true = shape
    if note is not None:
        name, true = note["dtype"], tuple(note["shape"])
    if math.prod(shape) * bits != 8 * (end - begin) or (note is not None and _noted(name, true) != (code, shape)):
        raise ValueError("the bytes are not as many as type and shape say")
    return Entry(code, shape, begin, end, name, true)


def array(found: Entry, content: Any, origin: int = 0) -> ndarray:  # noqa: ANN401 - whatever numpy looks into
    """The array of an entry, read-only, and a view wherever its type can be looked at in place.

    Args:
        found: the entry.
        content: read-only bytes in which those of the tensor are.
        origin: where in the file ``content`` begins.
    """
    name, true = found.name, found.true
    if found.begin == found.end:
        empty: ndarray = np.empty(true, dtype(name))
        empty.flags.writeable = False
        return empty
    if name not in _BITS:
        return np.ndarray(true, dtype(name), content, found.begin - origin)
    raw = np.frombuffer(content, np.uint8, found.end - found.begin, found.begin - origin)
    unpacked = _unpacked(raw, _BITS[name], math.prod(true)).view(dtype(name)).reshape(true)
    unpacked.flags.writeable = False
    return unpacked


def dtype(name: str) -> np.dtype[Any]:
    """The type with this name, little-endian."""
    if name not in _DTYPES:
        import ml_dtypes  # a dependency of onnx, for the types numpy does not have

        _DTYPES[name] = np.dtype(getattr(ml_dtypes, name))
    return _DTYPES[name]


def _noted(name: str, true: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Code and shape under which a type that needs a note is stored."""
    if name == _PAIRS:
        return "F64", (*true, 2)
    if name in _AS_BYTES:
        return "U8", true
    if name in _BITS:
        return "U8", (-(-math.prod(true) * _BITS[name] // 8),)
    raise ValueError(f"the note names the type {name!r}, which needs none")


def _bytes(packed: ndarray, note: Mapping[str, Any]) -> Stored:
    return Stored("U8", packed.shape, packed, note)


def _packed(raw: ndarray, bits: int) -> ndarray:
    """Numbers of one byte each as a stream of ``bits`` each; in blocks, for each bit takes a byte meanwhile."""
    made = [np.empty(0, np.uint8)]
    for start in range(0, raw.size, _BLOCK):
        single = np.unpackbits(raw[start : start + _BLOCK, None], axis=1, count=bits, bitorder="little")
        made.append(np.packbits(single, bitorder="little"))
    return np.concatenate(made)


def _unpacked(raw: ndarray, bits: int, count: int) -> ndarray:
    made = np.zeros(count, np.uint8)
    for start in range(0, count, _BLOCK):
        there = made[start : start + _BLOCK]
        begin = start * bits // 8
        stream = np.unpackbits(raw[begin : begin + _BLOCK * bits // 8], count=there.size * bits, bitorder="little")
        there |= np.packbits(stream.reshape(-1, bits), axis=1, bitorder="little")[:, 0]
    return made
