"""joblib's record of an array, written: the numbers lie in the file as they are, at a multiple of 16."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy import ndarray

from engram.formats._pickle import Reference
from engram.formats._pickle.writing import Call, dtype

__all__ = ["record"]

_ALIGNMENT: Final = 16


def record(value: object) -> Call | None:
    """An array as joblib writes it since 1.2; None for anything else.

    Raises:
        ConversionError: it is one of Python objects.
    """
    if not isinstance(value, ndarray):
        return None
    solid = np.ascontiguousarray(value)
    state = {
        "subclass": Reference("numpy", "ndarray"),
        "shape": tuple(value.shape),
        "order": "C",
        "dtype": dtype(value.dtype),
        "allow_mmap": True,
        "numpy_array_alignment_bytes": _ALIGNMENT,
    }

    def behind(at: int) -> list[bytes | memoryview]:
        padding = -(at + 1) % _ALIGNMENT
        numbers = solid.reshape(-1).view(np.uint8).data if solid.size else b""
        return [bytes((padding,)) + b"\xff" * padding, numbers]

    return Call("joblib.numpy_pickle", "NumpyArrayWrapper", (), state, new=True, behind=behind)
