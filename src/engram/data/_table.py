"""A table in memory as a ``Part``, and any part seen through some of its rows.

Numbers are plain arrays and categories are positions in a list of words, because training takes rows in random order
many times and a column store of strings would build every string anew. The fields as written are kept until the kinds
are settled, since a user may say that a column of numbers is a category, and 007 must then still be 007.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy import ndarray

from engram.data._types import Field, convert, find
from engram.data._values import Values
from engram.records import Column, Part

__all__ = ["Rows", "Table", "column_of", "of_fields"]

_LARGE = 100_000  # rows from which columns are looked at side by side


@dataclass(frozen=True, slots=True)
class Table:
    """A table in memory.

    Attributes:
        rows: how many.
        values: column → its values; ignored columns are here too.
        fields: column → as it is written; empty once settled.
        faults: column → why it cannot be used as it was found.
    """

    rows: int
    values: Mapping[str, Values]
    fields: Mapping[str, Field]
    faults: Mapping[str, str]

    def __len__(self) -> int:
        return self.rows

    def take(self, rows: ndarray) -> Mapping[str, ndarray]:
        """As a ``Part`` does; ignored columns are given as well, as the numbers or strings they hold."""
        return {name: values.take(rows) for name, values in self.values.items()}

    def column(self, name: str, rows: ndarray | None = None) -> ndarray:
        """One column alone, of all rows where none are named."""
        return self.values[name].take(np.arange(self.rows) if rows is None else rows)

    def converted(self, kinds: Mapping[str, str], reason: str) -> tuple[dict[str, Column], Table]:
        """The table with these columns read as these kinds, and the records of what changed.

        Raises:
            DataError: values do not fit their kind.
        """
        found = {name: convert(self.fields[name], kind, reason) for name, kind in kinds.items()}
        values = {**self.values, **{name: one.values for name, one in found.items()}}
        faults = {name: fault for name, fault in self.faults.items() if name not in found}
        return {name: one.column for name, one in found.items()}, replace(self, values=values, faults=faults)

    def settled(self) -> Table:
        """The table without its fields as written, which take more room than their values."""
        return replace(self, fields={})

    def renamed(self, name: str, change: Callable[[str], str]) -> Table:
        """The table with the words of one category column changed."""
        values = self.values[name]
        assert values.words is not None
        words = np.array([change(word) for word in values.words], dtype=object)
        return replace(self, values={**self.values, name: Values(values.array, words)})


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a part, in their own order; nothing is copied.

    Attributes:
        part: the rows are of.
        numbers: of the rows in it, int64 (rows,).
    """

    part: Part
    numbers: ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, rows: ndarray) -> Mapping[str, ndarray]:
        """As a ``Part`` does."""
        return self.part.take(self.numbers[rows])

    def column(self, name: str, rows: ndarray | None = None) -> ndarray:
        """One column alone, of all rows where none are named."""
        return column_of(self.part, name, self.numbers if rows is None else self.numbers[rows])


def column_of(part: Part, name: str, rows: ndarray | None = None) -> ndarray:
    """One column of a part, without reading the others where the part knows how (an image is costly to decode)."""
    numbers = np.arange(len(part)) if rows is None else rows
    alone: Callable[[str, ndarray], ndarray] | None = getattr(part, "column", None)
    return alone(name, numbers) if alone else part.take(numbers)[name]


def of_fields(fields: Mapping[str, Field]) -> tuple[tuple[Column, ...], Table]:
    """The table of these fields, with every kind found."""
    rows = len(next(iter(fields.values())).series)
    if rows < _LARGE:
        found = {name: find(field) for name, field in fields.items()}
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # polars and numpy let other threads go on
            found = dict(zip(fields, pool.map(find, fields.values()), strict=True))
    values = {name: one.values for name, one in found.items()}
    faults = {name: one.fault for name, one in found.items() if one.fault}
    return tuple(one.column for one in found.values()), Table(rows, values, fields, faults)
