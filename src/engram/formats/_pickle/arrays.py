"""numpy's arrays, numbers and types in a pickle, rebuilt from their bytes.

numpy's own reader of this state hands memory of the file to whatever type the file names; an array of Python objects is
a pickle in a pickle. Here a type is one of numbers or texts, an array has exactly the bytes that its type and shape
take, and both are looked at before numpy is. Large arrays are views of the file's bytes, read-only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import ml_dtypes
import numpy as np
from numpy import ndarray

from engram.errors import FormatError
from engram.formats._pickle.stream import Stream
from engram.formats._pickle.values import Allowed, Reference, Unfinished, Word
from engram.records import Limits

__all__ = ["ARRAYS", "array", "dtype"]

_NDARRAY = Reference("numpy", "ndarray")
_PLAIN = re.compile(r"(?:b1|[iu][1248]|f2|f4|f8|f16|c8|c16|c32|[SU][0-9]{1,9}|V[0-9]{1,9})", re.ASCII)
_ORDERS = frozenset({"<", ">", "|", "="})
_FIELDS = 4096
_ADDED = 2
"""What ``isbuiltin`` says of a type that another library added to numpy's."""
_LIMITS = Limits()
_BEYOND = (
    "bfloat16", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2",
    "float8_e5m2fnuz", "float8_e8m0fnu", "int2", "int4", "uint2", "uint4",
)  # fmt: skip


def array(data: bytes | memoryview, kind: np.dtype[Any], shape: Sequence[int], *, fortran: bool = False) -> ndarray:
    """An array over bytes, which are not copied.

    Args:
        data: exactly as many as type and shape take.
        kind: of its numbers.
        shape: lengths of its axes.
        fortran: whether the first axis runs fastest.

    Raises:
        FormatError: bytes, type and shape do not belong together.
    """
    lengths = tuple(shape)
    if len(lengths) > _LIMITS.rank or not all(type(axis) is int and 0 <= axis <= _LIMITS.dimension for axis in lengths):
        raise FormatError(f"an array of the shape {str(lengths[:8])[:80]} is over the limits")
    count = math.prod(lengths)
    if not kind.itemsize or kind.hasobject:
        raise FormatError(f"an array of {kind} has no numbers")
    if count * kind.itemsize != len(data):
        raise FormatError(f"an array {list(lengths)} of {kind} does not take {len(data):,} bytes")
    flat = np.frombuffer(data, kind) if count else np.empty(0, kind)
    return flat.reshape(lengths, order="F" if fortran else "C")


def dtype(written: object, align: object = False, copy: object = True) -> Unfinished:  # noqa: ARG001 - as numpy's
    """A type, which waits for its byte order and its fields.

    Raises:
        FormatError: it is one of objects, dates or nothing.
    """
    if isinstance(written, np.dtype):
        return Unfinished(lambda state, _stream: _ordered(written, state))
    if type(written) is str and re.fullmatch("O[0-9]*", written):
        raise FormatError("an array of Python objects would be a pickle in a pickle")
    if type(written) is not str or not _PLAIN.fullmatch(written):
        raise FormatError(f"the type {str(written)[:20]!r} is none of numbers or texts")
    plain = np.dtype(written)
    return Unfinished(lambda state, _stream: _ordered(plain, state))


def _ordered(plain: np.dtype[Any], state: Any) -> np.dtype[Any]:  # noqa: ANN401 - of a stranger's file
    """The type in its byte order, with its fields if it has some."""
    if type(state) is not tuple or not 8 <= len(state) <= 9 or state[1] not in _ORDERS or state[2] is not None:
        raise FormatError("the state of a type is not as numpy writes it")
    if len(state) == 9 and state[8] is not None:
        raise FormatError("a type of dates or with notes is none of numbers or texts")
    if state[3] is not None:
        return _with_fields(plain, state[3], state[4])
    if plain.kind == "V" and plain.isbuiltin != _ADDED:
        raise FormatError("a type without fields is none of numbers or texts")
    return plain if plain.isbuiltin == _ADDED else plain.newbyteorder(state[1])


def _with_fields(plain: np.dtype[Any], names: Any, fields: Any) -> np.dtype[Any]:  # noqa: ANN401 - of a stranger's file
    if type(names) is not tuple or type(fields) is not dict or set(names) != fields.keys() or len(names) > _FIELDS:
        raise FormatError("the fields of a type are not as numpy writes them")
    found = [fields[name] for name in names]
    sound = all(
        type(name) is str and type(field) is tuple and len(field) >= 2 and isinstance(field[0], np.dtype)
        and type(field[1]) is int and 0 <= field[1] <= plain.itemsize - field[0].itemsize and not field[0].names
        for name, field in zip(names, found, strict=True)
    )  # fmt: skip
    if plain.kind != "V" or not sound or len(names) != len(set(names)):
        raise FormatError("the fields of a type are not as numpy writes them")
    offsets = [field[1] for field in found]
    ends = [field[1] + field[0].itemsize for field in found]
    if any(end > start for end, start in zip(sorted(ends), sorted(offsets)[1:], strict=False)):
        raise FormatError("the fields of a type overlap")
    formats = [field[0] for field in found]
    return np.dtype({"names": list(names), "formats": formats, "offsets": offsets, "itemsize": plain.itemsize})


def _reconstruct(kind: object, shape: object, written: object) -> Unfinished:  # noqa: ARG001 - as numpy's
    if kind != _NDARRAY:
        raise FormatError("only a plain array is rebuilt, and none of a derived class")
    return Unfinished(_from_state)


def _from_state(state: Any, _stream: Stream) -> ndarray:  # noqa: ANN401 - of a stranger's file
    if type(state) is not tuple or len(state) not in {4, 5}:
        raise FormatError("the state of an array is not as numpy writes it")
    shape, kind, fortran, data = state[-4:]
    return _checked(data, kind, shape, fortran=bool(fortran))


def _from_buffer(data: Any, kind: Any, shape: Any, order: Any, axes: Any = None) -> ndarray:  # noqa: ANN401 - as numpy's
    if order not in {"C", "F", "K"}:
        raise FormatError("the order of an array is not as numpy writes it")
    made = _checked(data, kind, shape, fortran=order == "F")
    if order != "K" or axes is None:
        return made
    if type(axes) is not tuple or sorted(axes) != list(range(made.ndim)):
        raise FormatError("the order of an array is not as numpy writes it")
    return made.transpose(axes)


def _checked(data: Any, kind: Any, shape: Any, *, fortran: bool) -> ndarray:  # noqa: ANN401 - of a stranger's file
    if type(data) is str and data.isascii():
        data = data.encode()
    if not isinstance(kind, np.dtype) or not isinstance(data, (bytes, memoryview)) or type(shape) is not tuple:
        raise FormatError("an array is made of bytes, a type and a shape")
    return array(data, kind, shape, fortran=fortran)


def _scalar(kind: object, data: object = b"") -> Any:  # noqa: ANN401 - one of numpy's numbers
    return _checked(data, kind, (1,), fortran=False)[0]


def _modules(names: Sequence[str], name: str, make: Allowed) -> dict[tuple[str, str], Allowed]:
    return {(module, name): make for module in names}


_CORE, _NUMERIC = (tuple(f"numpy.{core}.{part}" for core in ("core", "_core")) for part in ("multiarray", "numeric"))

ARRAYS: Final[Mapping[tuple[str, str], Allowed]] = {
    ("numpy", "ndarray"): Word(_NDARRAY),
    ("numpy", "dtype"): dtype,
    **_modules(_CORE, "_reconstruct", _reconstruct),
    **_modules(_CORE, "scalar", _scalar),
    **_modules(_NUMERIC, "_frombuffer", _from_buffer),
    **{("ml_dtypes", name): Word(np.dtype(getattr(ml_dtypes, name))) for name in _BEYOND if hasattr(ml_dtypes, name)},
}
"""What numpy's own pickles call, in its releases before and after 2.0."""
