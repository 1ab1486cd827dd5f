"""Reading a part in pieces, so that a table of any length and a million pictures fit into memory.

Everything is read where that is bounded. A part with more is read evenly spaced: a median over a million rows spread
over the whole part is as good as one over a hundred million, and the same rows are taken each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy import ndarray

from engram.records import Column, Part

__all__ = ["pictures", "sample", "together"]

_ROWS = 65_536  # of a table at a time
_VALUES = 50_000_000  # of a table in all, 400 MB of float64
_PICTURES = 1024  # at a time, if they are small
_PICTURE_BYTES = 64_000_000  # at a time, if they are large
_PICTURES_IN_ALL = 16_384
_PICTURES_IN_A_SAMPLE = 256


def sample(part: Part, columns: Sequence[Column]) -> dict[str, ndarray]:
    """Some rows of each column, to decide by: values, or of pictures the shapes alone, int64 (pictures, 3)."""
    seen = [column for column in columns if column.kind == "image"]
    if not seen:
        taken = part.take(_spread(part, _ROWS))
        return {column.name: taken[column.name] for column in columns}
    pieces: dict[str, list[ndarray]] = {column.name: [] for column in columns}
    for chunk in _chunks(part, _spread(part, _PICTURES_IN_A_SAMPLE), 16):
        for column in columns:
            values = chunk[column.name]
            pieces[column.name].append(np.array([p.shape for p in values]) if column in seen else values)
    return {name: np.concatenate(found) for name, found in pieces.items()}


def together(part: Part, names: Sequence[str]) -> dict[str, ndarray]:
    """These columns of a table, whole; equal words are one object, so that a long column costs eight bytes a row."""
    pieces: dict[str, list[ndarray]] = {name: [] for name in names}
    words: dict[str, str] = {}
    for chunk in _chunks(part, _spread(part, max(1, _VALUES // max(1, len(names)))), _ROWS):
        for name in names:
            values = chunk[name]
            if values.dtype == object:
                shared = [words.setdefault(word, word) for word in values.tolist()]
                values = np.array(shared, dtype=object)
            pieces[name].append(values)
    return {name: np.concatenate(found) for name, found in pieces.items()}


def pictures(part: Part, names: Sequence[str]) -> Iterator[Mapping[str, ndarray]]:
    """The columns of pictures in pieces: many small ones at a time, or few large ones."""
    some = part.take(_spread(part, 16))
    largest = max((picture.nbytes for name in names for picture in some[name]), default=1)
    size = min(max(_PICTURE_BYTES // largest, 1), _PICTURES)
    return _chunks(part, _spread(part, _PICTURES_IN_ALL), size)


def _spread(part: Part, most: int) -> ndarray:
    """At most so many row numbers of the part, evenly spaced and in order, int64 (rows,)."""
    if len(part) <= most:
        return np.arange(len(part))
    return np.arange(most) * len(part) // most


def _chunks(part: Part, rows: ndarray, size: int) -> Iterator[Mapping[str, ndarray]]:
    """The raw columns of these rows, in pieces of so many."""
    for start, stop in pairwise([*range(0, len(rows), size), len(rows)]):
        yield part.take(rows[start:stop])
