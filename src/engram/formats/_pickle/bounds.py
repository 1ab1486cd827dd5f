"""Whether what a pickle left can be walked through: no circles, not too deep, not too large once written out.

A list that holds the same list twice, which holds the same list twice, and so on, takes a few hundred bytes and has
more parts than there are atoms. In memory it is small, and whatever walks it never ends. So the parts are counted as a
walker would meet them, each container once and its count used wherever it is met again.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any, Final

from engram.errors import FormatError
from engram.formats._pickle.values import Inert, SpecialDict
from engram.records import Limits

__all__ = ["check"]

_CONTAINERS: Final = frozenset({list, tuple, dict, Inert, SpecialDict})


def check(value: Any, where: str, limits: Limits) -> None:  # noqa: ANN401 - any value
    """Refuse a value that contains itself, is nested deeper than ``nesting`` or has more parts than ``pickle_opcodes``.

    Sets hold only plain values, so they count as one.

    Raises:
        FormatError: it does.
    """
    sizes: dict[int, tuple[int, int]] = {}
    begun: dict[int, list[Any]] = {}
    stack = [value] if type(value) in _CONTAINERS else []
    while stack:
        one = stack[-1]
        key = id(one)
        if key in sizes:
            stack.pop()
            continue
        parts = begun.get(key)
        if parts is None:
            parts = [part for part in _parts(one) if type(part) in _CONTAINERS]
            if parts:
                begun[key] = parts
                if any(id(part) in begun and id(part) not in sizes for part in parts):
                    raise FormatError(f"{where} holds a {type(one).__name__} that contains itself; nothing was run")
                stack.extend(parts)
                continue
        stack.pop()
        begun[key] = []
        inner = [sizes[id(part)] for part in parts]
        sizes[key] = _bounded(_length(one) + sum(size for size, _ in inner), inner, where, limits)


def _bounded(size: int, inner: list[tuple[int, int]], where: str, limits: Limits) -> tuple[int, int]:
    depth = 1 + max((deep for _, deep in inner), default=0) if inner else 1
    if depth > limits.nesting:
        raise FormatError(f"{where} is nested deeper than the limit of {limits.nesting}; nothing was run")
    if size > limits.pickle_opcodes:
        bound = f"{limits.pickle_opcodes:,}"
        raise FormatError(f"{where} has more than the limit of {bound} parts once written out; nothing was run")
    return size, depth


def _parts(one: Any) -> Iterable[Any]:  # noqa: ANN401 - a container
    if type(one) is Inert:
        return chain((one.arguments, one.state), one.elements, one.pairs.values())
    if type(one) is SpecialDict:
        return chain(one.values(), one.attributes.values())
    if isinstance(one, dict):
        return one.values()
    assert isinstance(one, (list, tuple))
    return one


def _length(one: Any) -> int:  # noqa: ANN401 - a container
    if type(one) is Inert:
        return 2 + len(one.elements) + len(one.pairs)
    return 1 + len(one)
