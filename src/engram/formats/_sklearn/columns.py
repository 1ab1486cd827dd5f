"""Columns on their way through a pipeline: one tensor, or one value a column, whichever the next step wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engram.errors import FormatError
from engram.graphs.build import Builder, element_type

__all__ = ["Columns"]


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of a table in a graph.

    Attributes:
        count: how many there are.
        whole: the value that holds all, float64 (batch, count); empty where each has its own.
        parts: one value a column, (batch,); empty where one holds all.
        texts: whether each column holds words.
    """

    count: int
    whole: str = ""
    parts: tuple[str, ...] = ()
    texts: tuple[bool, ...] = ()

    def numbers(self, builder: Builder, where: object) -> str:
        """All columns as one tensor, float64 (batch, count).

        Raises:
            FormatError: one of them holds words.
        """
        if self.whole:
            return self.whole
        if any(self.texts):
            raise FormatError(f"{where} is given the words of column {self.texts.index(True)}, where numbers belong")
        axis = builder.constant([1], dtype="int64")
        columns = [builder.node("Unsqueeze", self._double(builder, part), axis) for part in self.parts]
        return columns[0] if len(columns) == 1 else builder.node("Concat", *columns, axis=1)

    def column(self, builder: Builder, place: int) -> str:
        """One column, (batch,)."""
        if self.parts:
            return self.parts[place]
        return builder.node("Gather", self.whole, builder.constant(np.int64(place)), axis=1)

    def chosen(self, builder: Builder, places: Sequence[int]) -> Columns:
        """Some of the columns, in this order."""
        if self.parts:
            picked = tuple(self.parts[place] for place in places)
            return Columns(len(places), parts=picked, texts=tuple(self.texts[place] for place in places))
        if list(places) == list(range(self.count)):
            return self
        chosen = builder.node("Gather", self.whole, builder.constant(list(places), dtype="int64"), axis=1)
        return Columns(len(places), whole=chosen)

    def text(self, place: int) -> bool:
        """Whether a column holds words."""
        return bool(self.texts and self.texts[place])

    @staticmethod
    def _double(builder: Builder, value: str) -> str:
        return builder.node("Cast", value, to=element_type("float64"))
