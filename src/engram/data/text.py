"""A folder of class folders with texts: the folder a text lies in is its label.

A column of texts in a table needs no kind of source of its own: the table is read as it is, and ``[columns]`` says
``text`` where that is not found. Top folders named ``train``, ``test`` and ``validation`` are an official split.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from engram.data import _classes, _contents, _digest, _frame, _table
from engram.data._archive import open_place
from engram.data._classes import Entry
from engram.data._layout import decode
from engram.data._types import Field
from engram.errors import DataError, UsageError
from engram.records import Column, Dataset, Part

__all__ = ["Options", "open", "recognizes"]

_SUFFIXES = (".txt",)


@dataclass(frozen=True, slots=True)
class Options:
    """How texts are read.

    Attributes:
        damaged: the largest share of texts that may be left out because they are not UTF-8 or empty.
    """

    damaged: float = 0.0


def recognizes(place: str) -> bool:
    """Whether this is a folder whose files are mostly ``.txt``."""
    return _contents.held(place) == "text"


def open(places: tuple[str, ...], names: tuple[str, ...] = (), options: Options | None = None) -> Dataset:  # noqa: A001 - the contract
    """The texts of one folder, as the columns ``text`` and ``label``.

    Args:
        places: the one folder.
        names: must be empty; the columns have their names.
        options: how texts are read.

    Raises:
        DataError: there is no text in a class folder, or more are damaged than are allowed.
        UsageError: more than one place, or names were given.
    """
    chosen = options or Options()
    _frame.unnamed(names, "a folder of texts")
    if len(places) != 1:
        wrong = f"texts are read from one folder at a time; {len(places)} places were given"
        raise UsageError(wrong, place="data.from")
    path = Path(places[0])
    shelf = open_place(path)
    entries, notes = _classes.entries(path.name, shelf.names(), _SUFFIXES, "text")
    texts, broken = [], []
    for entry in entries:
        try:
            texts.append((entry, _whole(decode(shelf.read(entry.name), entry.name), entry.name)))
        except DataError as wrong:
            broken.append(str(wrong))
    if len(broken) > np.ceil(chosen.damaged * len(entries)):
        raise DataError(
            f"{path.name}: {len(broken):,} of {len(entries):,} texts cannot be read, more than damaged ="
            f" {chosen.damaged:g} allows ({'; '.join(broken[:3])})"
        )
    if broken:
        notes.append(f"{path.name}: {len(broken):,} of {len(entries):,} texts were left out ({'; '.join(broken[:3])})")
    return _dataset(texts, notes, places)


def _whole(text: str, name: str) -> str:
    if not text.strip():
        raise DataError(f"{name} is empty")
    return text.removeprefix("\ufeff")


def _dataset(texts: list[tuple[Entry, str]], notes: list[str], places: tuple[str, ...]) -> Dataset:
    parts: dict[str, Part] = {}
    columns: tuple[Column, ...] = ()
    for part in sorted({entry.part for entry, _ in texts}):  # all is the first
        own = [(text, entry.label) for entry, text in texts if entry.part == part]
        fields = {
            name: Field(name, pl.Series(name, values, dtype=pl.String), place=places[0])
            for name, values in zip(("text", "label"), zip(*own, strict=True), strict=True)
        }
        found, table = _table.of_fields(fields)
        kinds, parts[part] = table.converted({"text": "text", "label": "category"}, "a folder of texts")
        columns = columns or tuple(kinds[column.name] for column in found)
    return Dataset(
        columns, parts, _digest.files(places), target="label", origin=places[0], notes=tuple(notes), sources=places
    )
