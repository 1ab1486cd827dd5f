"""What a caller hands to a verb, checked where it comes in: whatever is no sense is one sentence that says what is.

Types say it already, and no program that is checked by them needs this; but most people who keep networks work in a
notebook, where a wrong argument would else be an error from the depths of the database.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from engram.errors import UsageError

__all__ = ["duration", "file", "mapping", "number", "record", "text", "texts", "words"]

T = TypeVar("T")
_LONGEST = 60


def text(value: object, what: str, example: str) -> str:
    """A text.

    Args:
        value: as it was handed over.
        what: it is, for the error.
        example: of one that would do.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(value, str):
        raise UsageError(f"{what} is {_shown(value)}, and must be text such as {example}")
    try:
        value.encode()
    except UnicodeEncodeError as wrong:
        raise UsageError(f"{what} {value!r} is text that is not Unicode (a lone surrogate); replace it") from wrong
    return value


def words(value: object, what: str, example: str) -> tuple[str, ...]:
    """Several texts.

    Raises:
        UsageError: it is one text, or something in it is none.
    """
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Collection):
        raise UsageError(f"{what} is {_shown(value)}, and must be a list of texts such as [{example!r}]")
    return tuple(text(one, f"one of {what}", repr(example)) for one in value)


def texts(value: object, what: str, example: str) -> dict[str, str]:
    """A mapping of texts to texts.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(value, Mapping):
        raise UsageError(f"{what} is {_shown(value)}, and must be a mapping such as {example}")
    return {text(k, f"a key of {what}", example): text(v, f"{what}[{k!r}]", example) for k, v in value.items()}


def mapping(value: object, what: str) -> dict[str, object]:
    """A mapping by text, of whatever.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(value, Mapping):
        raise UsageError(f"{what} is {_shown(value)}, and must be a mapping")
    return {text(key, f"a key of {what}", "'step'"): one for key, one in value.items()}


def file(value: object, what: str) -> Path:
    """A path of a file.

    Raises:
        UsageError: it is none, or leads to a folder.
    """
    if not isinstance(value, str | os.PathLike) or value == "":
        raise UsageError(f"{what} is {_shown(value)}, and must be the path of a file")
    path, folder = Path(text(os.fspath(value), what, "a path")), False
    if "\0" in str(path):
        raise UsageError(f"{what} {str(path)!r} has a NUL character, which no file can have; name another")
    with suppress(OSError):  # of a name that no file can have; whoever opens it says so
        folder = path.is_dir()
    if folder:
        raise UsageError(f"{what} {path} is a folder; name a file in it")
    return path


def number(value: object, what: str) -> int:
    """A whole number from 0.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UsageError(f"{what} is {_shown(value)}, and must be a whole number from 0")
    return value


def duration(value: object, what: str) -> timedelta:
    """A time that may pass; a number is in hours.

    Raises:
        UsageError: it is none.
    """
    if isinstance(value, timedelta) and value >= timedelta(0):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return timedelta(hours=min(float(value), 1e6))
    raise UsageError(f"{what} is {_shown(value)}, and must be hours from 0, or a timedelta")


def record(value: object, kind: type[T], what: str, called: str = "") -> T:
    """A value of a class, or of one that users know by another name.

    Raises:
        UsageError: it is of another.
    """
    if not isinstance(value, kind):
        raise UsageError(f"{what} is {_shown(value)}, and must be a {called or kind.__name__}")
    return value


def _shown(value: object) -> str:
    said = repr(value)
    shown = said if len(said) <= _LONGEST else f"{said[: _LONGEST - 1]}…"
    return shown if value is None else f"{shown} ({type(value).__name__})"
