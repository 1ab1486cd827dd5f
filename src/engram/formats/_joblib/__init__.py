"""Pickles as joblib writes them: arrays lie in the stream as they are, perhaps with compression around the whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from pickletools import genops
from typing import Any, Final

from engram.formats._joblib import stream
from engram.formats._joblib.table import Table
from engram.formats._pickle import Allowed, interpret
from engram.records import Limits

__all__ = ["leading_name", "unpickled"]

_HEAD: Final = 65_536
_MAKERS: Final = frozenset(f"{module}._reconstructor" for module in ("copyreg", "copy_reg"))
"""What protocols 0 and 1 name before the class of an object."""


def leading_name(head: bytes, path: Path) -> str:
    """The module and name of the first class that a pickle mentions; empty where it is none, or mentions none.

    Args:
        head: the first bytes of the file.
        path: of the file, of which more is read where the head is compressed.
    """
    if stream.is_packed(head):
        with path.open("rb") as file:
            head = stream.begins(file.read(_HEAD))
    return next((name for name in _names(head) if name not in _MAKERS), "")


def _names(head: bytes) -> Iterator[str]:
    """Module and name of each class and function that a pickle mentions, as far as its first bytes go."""
    texts: list[str] = []
    try:
        for code, argument, _ in genops(head):
            if code.name in {"GLOBAL", "INST"}:
                yield str(argument).replace(" ", ".")
            elif code.name == "STACK_GLOBAL":
                yield ".".join(texts[-2:])
            elif isinstance(argument, str):
                texts.append(argument)
    except (ValueError, IndexError, OverflowError, MemoryError):
        return


def unpickled(path: Path, allowed: Mapping[tuple[str, str], Allowed], limits: Limits) -> Any:  # noqa: ANN401 - any value
    """The value in a file that pickle or joblib wrote; see ``_pickle.interpret``.

    Args:
        path: of the file.
        allowed: what each name in it may mean; joblib's own record of an array is known beside it.
        limits: of the pickle; a compressed file may unpack to ``zip_ratio`` times its size, and to 16 MiB always.

    Raises:
        FormatError: it is damaged, over a limit, or names what is not allowed.
    """
    return interpret(stream.content(path, limits), path.name, Table(allowed, limits), limits)
