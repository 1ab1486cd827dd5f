"""Pickles, read without running them.

Every format that keeps Python objects (PyTorch, joblib, scikit-learn) is a pickle inside, and a pickle is a program.
``interpret`` goes through its operations and looks every name up in a table of the caller's; what is not in it ends the
reading with the operation, the name and the byte. Nothing is imported, and nothing of the file's choosing is called.
Rejected: a list of what is dangerous, of which there is always one more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from engram.errors import FormatError
from engram.formats._pickle import bounds, literals, objects
from engram.formats._pickle.arrays import ARRAYS
from engram.formats._pickle.machine import NAMES, Machine
from engram.formats._pickle.standard import CONTAINERS, OBJECTS
from engram.formats._pickle.stream import Stream
from engram.formats._pickle.values import KEPT, Allowed, Inert, Kept, Reference, Refused, SpecialDict, Unfinished, Word
from engram.records import Limits

__all__ = [
    "ARRAYS",
    "CONTAINERS",
    "KEPT",
    "OBJECTS",
    "Allowed",
    "Inert",
    "Kept",
    "Reference",
    "Refused",
    "SpecialDict",
    "Stream",
    "Unfinished",
    "Word",
    "interpret",
    "leading",
]

_BY_NAME: Final = {**literals.ACTIONS, **objects.ACTIONS}
_ACTIONS: Final = {code: _BY_NAME[name] for code, name in NAMES.items() if name != "STOP"}


def interpret(
    content: bytes | memoryview,
    where: str,
    allowed: Mapping[tuple[str, str], Allowed],
    limits: Limits,
    persistent: Callable[[Any], Any] | None = None,
) -> Any:  # noqa: ANN401 - any value
    """The value in a pickle of protocol 0 to 5, with nothing of it run.

    The result is made of None, bool, int, float, str, bytes (a read-only ``memoryview`` of the content from 64 KiB on),
    list, tuple, dict, set and frozenset, ``SpecialDict``, ``Inert``, ``Reference`` and what the caller's rebuilders
    return. Parts may be shared; none contains itself, and written out they are at most ``limits.pickle_opcodes`` at a
    depth of at most ``limits.nesting``, so that a recursive walk ends. Keys are plain values or tuples of texts.

    Args:
        content: the whole pickle; bytes behind its end are refused.
        where: what to call it in an error, usually the name of the file.
        allowed: by (module, name), exactly as written in the file: ``KEPT`` for a class whose objects become ``Inert``
            records with arguments and state; ``Word(value)`` for a name that stands for a value and is never called;
            ``Refused(why)`` for one whose refusal says more than its name; or a function that is given the arguments,
            positional, and returns the value. Such a function sees inert data of a stranger's: it checks types, does
            not walk deep (its arguments may be endless still), allocates only what is there, and raises ``FormatError``
            with the bare reason; TypeError, ValueError and LookupError are told as arguments that do not belong. It may
            return ``Unfinished`` where the value follows from the state. A name that is mentioned and not called is a
            ``Reference``.
        limits: ``pickle_bytes`` (blocks of 64 KiB and more aside, which are not copied), ``pickle_opcodes`` (containers
            and calls count for several) and ``nesting`` are used.
        persistent: what a persistent id stands for; None refuses them.

    Raises:
        FormatError: it is damaged, over a limit, or asks for something that is not allowed: ``evil.pkl: opcode GLOBAL
            posix.system at byte 12; nothing was run``.
    """
    value, end = leading(content, where, allowed, limits, persistent)
    if end != len(content):
        raise FormatError(f"{where} has {len(content) - end:,} bytes behind the end of its pickle; nothing was run")
    return value


def leading(
    content: bytes | memoryview,
    where: str,
    allowed: Mapping[tuple[str, str], Allowed],
    limits: Limits,
    persistent: Callable[[Any], Any] | None = None,
    *,
    begin: int = 0,
) -> tuple[Any, int]:
    """The value in the pickle that begins at a byte of the content, and where that pickle ends; see ``interpret``.

    Raises:
        FormatError: as ``interpret``, bytes behind the end aside.
    """
    stream = Stream(memoryview(content).cast("B"), where, limits.pickle_bytes, begin)
    machine = Machine(stream, allowed, limits, persistent)
    value = machine.run(_ACTIONS)
    bounds.check(value, where, limits)
    return value, stream.at
