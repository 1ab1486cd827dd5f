"""The last door of a reader: what its own checks did not foresee in a damaged file is a typed error all the same.

Readers check what they know to check and say what is wrong. A fuzzer finds the rest sooner or later, and a user should
not meet a ``TypeError`` from the middle of a reader because nobody thought of a text in the place of a list.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TypeVar

from onnx import checker

from engram.errors import EngramError, FormatError
from engram.records import Limits

__all__ = ["typed"]

T = TypeVar("T")
_FAULTS = (
    TypeError, AttributeError, ValueError, LookupError, ArithmeticError, RuntimeError, SystemError, AssertionError,
    checker.ValidationError,
)  # fmt: skip


def typed(read: Callable[[Path, Limits], T]) -> Callable[[Path, Limits], T]:
    """A reader whose faults on a damaged file are a ``FormatError`` that names the file and the fault."""

    @wraps(read)
    def door(path: Path, limits: Limits) -> T:
        try:
            return read(path, limits)
        except EngramError:
            raise
        except _FAULTS as wrong:
            reason = (str(wrong).strip().splitlines() or [""])[0][:200]
            raise FormatError(f"{path.name} is damaged: {type(wrong).__name__}: {reason}; get it again") from wrong

    return door
