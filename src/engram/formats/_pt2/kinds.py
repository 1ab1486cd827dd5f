"""The numbers by which ``torch.export`` names types of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from engram.errors import FormatError
from engram.formats._pytorch.types import TYPES

__all__ = ["kind_of", "named"]

# torch/_export/serde/schema.py, ScalarType
_NAMES: Final[Mapping[int, str]] = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
    10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16", 29: "float8_e4m3fn", 30: "float8_e5m2",
    31: "float8_e4m3fnuz", 32: "float8_e5m2fnuz", 33: "float8_e8m0fnu", 34: "uint32", 35: "uint64",
}  # fmt: skip


def named(number: object) -> str:
    """The name of a type, as numpy has it.

    Raises:
        FormatError: there is no such number.
    """
    if type(number) is not int or number not in _NAMES:
        raise FormatError(f"a tensor has the type {number!r}, which is not known")
    return _NAMES[number]


def kind_of(number: object) -> np.dtype[Any]:
    """The type, as numpy has it.

    Raises:
        FormatError: there is no such number.
    """
    return TYPES[named(number)]
