"""What pickles call from Python's own library: containers, bytes, and the two functions that make objects.

Formats add these to their own tables. Each is a function over inert values that does what its original does to honest
arguments and refuses others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from engram.errors import FormatError
from engram.formats._pickle import keys
from engram.formats._pickle.values import Allowed, Inert, Reference, SpecialDict, Word

__all__ = ["CONTAINERS", "OBJECTS"]

_OBJECT = Reference("builtins", "object")
_LATIN = frozenset({"latin1", "latin-1", "iso-8859-1"})


def _encoded(text: object, encoding: object = "utf-8") -> bytes:
    """Bytes, as protocols 0 to 2 write them: each as the character of its number."""
    if type(text) is not str or encoding not in _LATIN:
        raise FormatError("only a text in latin1 stands for bytes")
    return text.encode("latin-1")


def _bytes() -> bytes:
    return b""


def _bytearray(content: object = b"", encoding: object = "latin-1") -> object:
    if isinstance(content, (bytes, memoryview)):
        return content
    return _encoded(content, encoding)


def _ordered(items: object = ()) -> SpecialDict:
    return SpecialDict("OrderedDict", _pairs(items))


def _counter(items: object = ()) -> SpecialDict:
    return SpecialDict("Counter", _pairs(items))


def _with_default(factory: object = None) -> SpecialDict:
    if factory is not None and not isinstance(factory, Reference):
        raise FormatError("its factory must be the name of a class")
    made = SpecialDict("defaultdict")
    made.attributes["default_factory"] = factory
    return made


def _pairs(items: object) -> dict[Any, Any]:
    if isinstance(items, dict):
        return dict(items)
    if type(items) not in {list, tuple}:
        raise FormatError("its items must be a list of pairs")
    assert isinstance(items, (list, tuple))
    if not all(type(pair) in {list, tuple} and len(pair) == 2 for pair in items):
        raise FormatError("its items must be a list of pairs")
    return {keys.plain(key): value for key, value in items}


def _set(items: object = ()) -> set[Any]:
    return {keys.plain(item) for item in _sequence(items)}


def _frozen(items: object = ()) -> frozenset[Any]:
    return frozenset(keys.plain(item) for item in _sequence(items))


def _list(items: object = ()) -> list[Any]:
    return list(_sequence(items))


def _dict(items: object = ()) -> dict[Any, Any]:
    return _pairs(items)


def _complex(real: object = 0.0, imaginary: object = 0.0) -> complex:
    if type(real) not in {int, float} or type(imaginary) not in {int, float}:
        raise FormatError("a complex number is made of two numbers")
    assert isinstance(real, (int, float))
    assert isinstance(imaginary, (int, float))
    return complex(real, imaginary)


def _sequence(items: object) -> list[Any] | tuple[Any, ...]:
    if type(items) not in {list, tuple}:
        raise FormatError("it is made from a list")
    assert isinstance(items, (list, tuple))
    return items


def _reconstructed(kind: object, base: object, state: object) -> Inert:
    """An object of protocol 0 or 1, whose class is derived from nothing but ``object``."""
    if not isinstance(kind, Reference) or base != _OBJECT or state is not None:
        raise FormatError("only an object of an allowed class, derived from nothing else, is kept")
    return Inert(kind.module, kind.name)


def _made(kind: object, *arguments: object) -> Inert:
    """An object of protocol 2 and later, written with the function in place of the operation."""
    if not isinstance(kind, Reference):
        raise FormatError("only an object of an allowed class is kept")
    return Inert(kind.module, kind.name, arguments)


def _both(name: str, make: Callable[..., Any]) -> dict[tuple[str, str], Allowed]:
    """A built-in under its module's names in Python 3 and in Python 2."""
    return {("builtins", name): make, ("__builtin__", name): make}


CONTAINERS: Final[Mapping[tuple[str, str], Allowed]] = {
    ("_codecs", "encode"): _encoded,
    ("collections", "OrderedDict"): _ordered,
    ("collections", "Counter"): _counter,
    ("collections", "defaultdict"): _with_default,
    **_both("bytes", _bytes),
    **_both("bytearray", _bytearray),
    **_both("set", _set),
    **_both("frozenset", _frozen),
    **_both("list", _list),
    **_both("dict", _dict),
    **_both("complex", _complex),
}
"""Containers and bytes."""

OBJECTS: Final[Mapping[tuple[str, str], Allowed]] = {
    ("copyreg", "_reconstructor"): _reconstructed,
    ("copy_reg", "_reconstructor"): _reconstructed,
    ("copyreg", "__newobj__"): _made,
    ("builtins", "object"): Word(_OBJECT),
    ("__builtin__", "object"): Word(_OBJECT),
}
"""How objects of the caller's allowed classes are made, where not by an operation of its own."""
