"""Data with a schema, in named parts.

A part is a protocol and not an array, so that a table in polars, a zip of a million images and a query on a server
all look alike to the stages after them, and none of these libraries is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from numpy import ndarray

__all__ = ["KINDS", "Column", "Dataset", "Part"]

KINDS = ("number", "boolean", "category", "date", "text", "image")


@dataclass(frozen=True, slots=True)
class Column:
    """One column as it was found.

    Attributes:
        name: as in the source.
        kind: one of ``KINDS``, or ``ignore``.
        reason: why it was found to be this kind, in a few words, for the lock file.
        missing: rows without a value.
        distinct: different values present; for images the number of images.
        shape: of one value, with 0 for an axis that varies; empty for scalars. Images: (height, width, channels).
    """

    name: str
    kind: str
    reason: str = ""
    missing: int = 0
    distinct: int = 0
    shape: tuple[int, ...] = ()


class Part(Protocol):
    """Rows that can be taken by number, in any order, any number of times."""

    def __len__(self) -> int:
        """Rows in the part."""
        ...

    def take(self, rows: ndarray) -> Mapping[str, ndarray]:
        """The rows with these numbers (int64, (rows,)), as one array a column.

        ``number`` and ``boolean`` are float64 with NaN for a gap (rows,); ``date`` is float64 seconds since
        1970-01-01T00:00Z with NaN for a gap (rows,); ``category`` and ``text`` are object arrays of str with ``""``
        for a gap (rows,); ``image`` is uint8 (rows, height, width, channels), or, where sizes differ, an object
        array (rows,) of uint8 (height, width, channels).
        """
        ...

    def column(self, name: str) -> ndarray:
        """One column of every row, as ``take`` gives it, without touching the others; KeyError if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Dataset:
    """Columns with a schema, rows in named parts, and a digest of it all.

    Attributes:
        columns: as found, the target among them.
        parts: ``all`` as opened (and ``test`` where there is an official one); ``train``, ``validation`` and ``test``
            once split.
        digest: ``sha256:…`` over the bytes of the source files, in order of their names.
        target: the column that is predicted; empty where there is none.
        origin: where the data came from, as the user wrote it.
        notes: what was noticed on the way in (rows left out, with their numbers), one sentence each.
        sources: files that were read.
        order: the column of moments by which the rows are divided, because rows near to each other share values; empty
            where any row may be in any part.
        ahead: seconds from what a row knows to its moment; a row may be trained on if its moment is that long before
            those of the test.
        gaps: words that this source has for a gap (``?``); a raw row that is served may have them, too.
    """

    columns: tuple[Column, ...]
    parts: Mapping[str, Part]
    digest: str
    target: str = ""
    origin: str = ""
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = field(default=())
    gaps: tuple[str, ...] = ()
    order: str = ""
    ahead: float = 0.0

    def column(self, name: str) -> Column:
        """The column of this name; KeyError if there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def inputs(self) -> tuple[Column, ...]:
        """The columns a network may look at: neither the target nor ignored."""
        return tuple(c for c in self.columns if c.name != self.target and c.kind != "ignore")
