"""What a pickle is turned into: plain values, and records of what was to be built but was not.

A record says which class stood in the file, what it was to be called with and which state it was to be given. It has no
behavior; whoever reads a format decides what a class of that name means.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from engram.formats._pickle.stream import Stream

__all__ = ["KEPT", "Allowed", "Inert", "Kept", "Reference", "Refused", "SpecialDict", "Unfinished", "Word"]


@dataclass(frozen=True, slots=True, eq=False)
class Inert:
    """An object of an allowed class, as it stood in the file; two are equal only if they are one.

    Attributes:
        module: of its class, as written.
        name: of its class, as written.
        arguments: what its class was to be called with.
        state: what it was to be given afterwards; None if nothing.
        elements: what was to be appended, for a class derived from a list, or added to one derived from a set.
        pairs: what was to be set by key, for a class derived from a dictionary.
    """

    module: str
    name: str
    arguments: tuple[Any, ...] = ()
    state: Any = None
    elements: list[Any] = field(default_factory=list)
    pairs: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reference:
    """A class or function of which the file speaks without calling it."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class SpecialDict(dict[Any, Any]):
    """A dictionary of a class of the standard library.

    Attributes:
        kind: ``OrderedDict``, ``Counter`` or ``defaultdict``.
        attributes: set on it beside its items (torch keeps the versions of modules there); empty if none.
    """

    __slots__ = ("attributes", "kind")

    def __init__(self, kind: str, items: dict[Any, Any] | None = None) -> None:
        super().__init__(items or {})
        self.kind = kind
        self.attributes: dict[str, Any] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Unfinished:
    """What a rebuilder returns whose value needs the state that comes later; nothing may use it before.

    Attributes:
        finish: (state, the stream behind the state) → value. It may take bytes that follow from the stream.
    """

    finish: Callable[[Any, Stream], Any]


@dataclass(frozen=True, slots=True)
class Word:
    """An entry for a name that stands for a value and cannot be called (``torch.float32``)."""

    value: Any


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry for a class whose objects become ``Inert`` records."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An entry for a name that is known and refused, with the reason or what to do instead."""

    why: str


KEPT: Final = Kept()

Allowed = Word | Kept | Refused | Callable[..., Any]
"""What a name may mean: a value, a record, a reason, or a rebuilder: a function from arguments to a value."""
