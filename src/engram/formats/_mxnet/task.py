"""One operator that is to be drawn: its inputs are values of the graph, and its settings are texts in the file."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from engram.errors import FormatError
from engram.formats._mxnet.symbol import Node
from engram.formats._sheet import Sheet

__all__ = ["Draw", "Drawing", "Drawn", "Misfit", "Task", "Unsized"]

Drawn = str | tuple[str, ...]
_LITERAL = re.compile(r"(?:None|True|False|[\d\s.,eE+\-()\[\]])*")
_LONGEST = 10_000


class Misfit(FormatError):
    """A layer takes another number of features than come in."""

    def __init__(self, text: str, found: int, wanted: int) -> None:
        super().__init__(text)
        self.small = 0 <= found < wanted


class Unsized(FormatError):
    """How many features come into a layer depends on the size of an input that the file does not tell."""


@dataclass(slots=True)
class Drawing:
    """What stays the same while a network is drawn.

    Attributes:
        sheet: the graph.
        weights: their shapes by name; they are values of the graph, too.
        strict: refuse what has no size yet.
        flat: value that lies flat → what it is without that.
        joined: value → those that were joined to it.
    """

    sheet: Sheet
    weights: Mapping[str, tuple[int, ...]]
    strict: bool
    flat: dict[str, str] = field(default_factory=dict)
    joined: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Task:
    """One operator.

    Attributes:
        node: as the file tells of it.
        inputs: values.
        drawing: where it is drawn.
    """

    node: Node
    inputs: tuple[str, ...]
    drawing: Drawing

    @property
    def sheet(self) -> Sheet:
        """The graph."""
        return self.drawing.sheet

    def refused(self, why: str) -> FormatError:
        """The error that names this operator."""
        return FormatError(f"{self.node.operator} {self.node.name!r} {why}")

    def value(self, place: int = 0) -> str:
        """An input.

        Raises:
            FormatError: there is none at this place.
        """
        if place >= len(self.inputs):
            raise self.refused(f"has {len(self.inputs)} inputs, but needs one more")
        return self.inputs[place]

    def weight(self, place: int) -> str:
        """An input that must be a parameter in the file.

        Raises:
            FormatError: it is not there.
        """
        found = self.value(place)
        if found not in self.drawing.weights and found not in self.drawing.flat and found not in self.drawing.joined:
            raise self.refused(f"needs the parameter {found!r}, which is not in the file of parameters")
        return found

    def said(self, key: str, default: Any) -> Any:  # noqa: ANN401 - any literal
        """A setting as a value of Python; its default where it is not said."""
        text = self.node.settings.get(key)
        if text is None:
            return default
        plain = re.sub(r"(?<=\d)L", "", text)  # as Python 2 wrote whole numbers
        if len(plain) > _LONGEST or not _LITERAL.fullmatch(plain):
            raise self.refused(f"has {key} = {text[:40]!r}, which is no number or list of numbers")
        try:
            return ast.literal_eval(plain.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError) as wrong:
            raise self.refused(f"has {key} = {text[:40]!r}, which is no number or list of numbers") from wrong

    def number(self, key: str, default: float) -> float:
        """A setting that is a number."""
        found = self.said(key, default)
        if isinstance(found, bool) or not isinstance(found, (int, float)):
            raise self.refused(f"has {key} = {found!r}, which is no number")
        return float(found)

    def whole(self, key: str, default: int | None = None) -> int:
        """A setting that is a whole number; without a default it must be there."""
        found = self.said(key, default)
        if type(found) is not int:
            raise self.refused(f"has {key} = {found!r}, which is no whole number")
        return found

    def truth(self, key: str, *, default: bool = False) -> bool:
        """A setting that is true or false."""
        found = self.said(key, default)
        if found not in {True, False}:
            raise self.refused(f"has {key} = {found!r}, which is neither true nor false")
        return bool(found)

    def wholes(self, key: str, default: tuple[int, ...] | None = ()) -> tuple[int, ...]:
        """A setting that is a list of whole numbers; one alone is a list, too."""
        found = self.said(key, default)
        several = (found,) if type(found) is int else found
        if not isinstance(several, (tuple, list)) or not all(type(one) is int for one in several):
            raise self.refused(f"has {key} = {found!r}, which is no list of whole numbers")
        return tuple(several)

    def word(self, key: str, default: str, known: Collection[str]) -> str:
        """A setting that is one of some words."""
        found = self.node.settings.get(key, default)
        if found not in known:
            raise self.refused(f"has {key} = {found[:40]!r}, which is not read")
        return found

    def axis(self, key: str, default: int, rank: int) -> int:
        """A setting that is an axis, counted from the first."""
        found = self.whole(key, default)
        if not -rank <= found < rank:
            raise self.refused(f"has {key} = {found}, but there are {rank} axes")
        return found % rank


Draw = Callable[[Task], Drawn]
