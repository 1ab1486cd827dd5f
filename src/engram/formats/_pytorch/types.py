"""torch's types of numbers, by the names that its files use, as numpy's.

Old files name the type of a storage (``FloatStorage``); types that came later have no storage of their own and are
named themselves, beside bytes without a type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import ml_dtypes
import numpy as np

from engram.errors import FormatError
from engram.formats._pickle import Reference

__all__ = ["BYTES", "QUANTIZED", "STORAGES", "TYPES", "little", "named", "storage_for"]

BYTES: Final = "UntypedStorage"
STORAGES: Final[Mapping[str, np.dtype[Any]]] = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
    "ComplexFloatStorage": np.dtype("<c8"),
    "ComplexDoubleStorage": np.dtype("<c16"),
    BYTES: np.dtype("u1"),
}
QUANTIZED: Final = ("QInt8Storage", "QUInt8Storage", "QInt32Storage", "QUInt4x2Storage", "QUInt2x4Storage")

_ADDED = 2
"""What ``isbuiltin`` says of a type that another library added to numpy's."""
_OF_STORAGE = {kind: name for name, kind in STORAGES.items() if name != BYTES}
_LATER: Mapping[str, np.dtype[Any]] = {
    "uint16": np.dtype("<u2"),
    "uint32": np.dtype("<u4"),
    "uint64": np.dtype("<u8"),
    **{
        name: np.dtype(getattr(ml_dtypes, name))
        for name in ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu")
    },
}
TYPES: Final[Mapping[str, np.dtype[Any]]] = {
    **{("bool" if kind.name == "bool" else kind.name): kind for kind in _OF_STORAGE},
    **_LATER,
}


def named(found: object) -> np.dtype[Any]:
    """The type that a file names.

    Raises:
        FormatError: no array here has it.
    """
    if not isinstance(found, Reference) or found.module != "torch" or found.name not in TYPES:
        raise FormatError(f"no array here has the type {found}; convert the tensor to float32 first")
    return TYPES[found.name]


def storage_for(kind: np.dtype[Any]) -> str | None:
    """The name of the storage of a type; ``UntypedStorage`` for the later ones, and None for what torch lacks."""
    plain = little(kind)
    return _OF_STORAGE.get(plain) or (BYTES if plain in _LATER.values() else None)


def little(kind: np.dtype[Any]) -> np.dtype[Any]:
    """The type with its lowest byte first, as torch's files have it."""
    return kind if kind.isbuiltin == _ADDED else kind.newbyteorder("<")
