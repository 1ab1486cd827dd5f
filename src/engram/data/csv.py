"""Text tables: CSV and its relatives, one file or several of the same shape.

Everything is read as text first and understood afterwards, column by column, with all rows at hand. A reader that
guesses types from the first rows is faster by a third and wrong on row 40,001.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy import ndarray

from engram.data import _digest, _layout, _table, _text, jsonl, parquet
from engram.data._types import Field
from engram.errors import DataError, UsageError
from engram.records import Dataset

__all__ = ["BARE", "Options", "open", "recognizes"]

BARE = True  # a file may have no header, so that columns may be named
_SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".data", ".dat")


@dataclass(frozen=True, slots=True)
class Options:
    """How the table is written, where that should not be found.

    Attributes:
        separator: between fields, one character; empty means found among comma, semicolon, tab and bar.
        header: whether the first row names the columns; None means found.
        missing: fields that mean a gap, beside the empty one.
        wrong_rows: the largest share of rows that may be left out because they do not have as many fields as the rest.
    """

    separator: str = ""
    header: bool | None = None
    missing: tuple[str, ...] = ("?", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL")
    wrong_rows: float = 0.01


def recognizes(place: str) -> bool:
    """Whether this is the path of a text table: by its suffix, else by a first kilobyte that is text."""
    path = Path(place)
    if not path.is_file():
        return False
    if jsonl.recognizes(place) or parquet.recognizes(place):
        return False
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if any(suffix in _SUFFIXES for suffix in suffixes[-2:]):
        return True
    try:
        with path.open("rb") as source:
            head = source.read(1024)
    except OSError:
        return False
    return bool(head) and all(byte >= 32 or byte in b"\t\r\n" for byte in head)


def open(places: tuple[str, ...], names: tuple[str, ...] = (), options: Options | None = None) -> Dataset:  # noqa: A001 - the contract
    """The rows of these files, one file after the other, with every column's kind found.

    Args:
        places: paths of text tables with the same columns.
        names: of the columns, where the files have no header.
        options: how the files are written.

    Raises:
        DataError: a file is empty, damaged or no text table, repeats a column, or has another shape than the first.
        UsageError: an option has a value that cannot be.
    """
    chosen = options or Options()
    _check(chosen)
    tables, layouts = [], []
    for place in places:
        layouts.append(_layout.find(Path(place), names=names, separator=chosen.separator, header=chosen.header))
        tables.append(_text.read(Path(place), layouts[-1], chosen.wrong_rows))
        _same(Path(place).name, layouts[-1].names, layouts[0].names, Path(places[0]).name)
    frame = pl.concat([table.frame.select(layouts[0].names) for table in tables])
    if not frame.height:
        raise DataError(f"{', '.join(Path(p).name for p in places)}: a header and 0 rows; add rows below the header")
    comma = layouts[0].separator != ","
    numbers = _numbers(tables)
    place = ", ".join(Path(p).name for p in places)
    fields = {name: Field(name, frame[name], chosen.missing, comma, numbers, place) for name in frame.columns}
    columns, table = _table.of_fields(fields)
    return Dataset(
        columns=columns,
        parts={"all": table},
        digest=_digest.files(places),
        origin=", ".join(places),
        notes=_notes(layouts, tables, {c.name: c.reason for c in columns if c.kind == "ignore"}),
        sources=places,
        gaps=chosen.missing,
    )


def _check(options: Options) -> None:
    if len(options.separator) > 1 or options.separator in {'"', "\n", "\r"}:
        raise UsageError(
            f"[data] separator = {options.separator!r} is refused: it is one character, not a quote or an end of line",
            place="data.separator",
        )
    if not 0 <= options.wrong_rows <= 1:
        raise UsageError(
            f"[data] wrong_rows = {options.wrong_rows} is refused: it is a share from 0 to 1", place="data.wrong_rows"
        )


def _same(name: str, columns: tuple[str, ...], first: tuple[str, ...], beside: str) -> None:
    if set(columns) != set(first):
        odd = sorted(set(columns) ^ set(first))
        raise DataError(f"{name} has other columns than {beside} ({', '.join(odd[:5])}); give files of the same shape")


def _numbers(tables: list[_text.Strings]) -> ndarray | None:
    """The numbers of the rows as they stand in their files, one file after the other."""
    if all(table.numbers is None for table in tables):
        return None
    pieces, start = [], 0
    for table in tables:
        own = np.arange(1, table.frame.height + 1) if table.numbers is None else table.numbers
        pieces.append(own + start)
        start += int(own[-1]) if len(own) else 0
    return np.concatenate(pieces)


def _notes(layouts: list[_layout.Layout], tables: list[_text.Strings], ignored: Mapping[str, str]) -> tuple[str, ...]:
    assumed = [layout.note for layout in layouts[:1] if layout.note]
    left_out = [note for table in tables for note in table.notes]
    return (*assumed, *left_out, *(f"column {name!r} is ignored: {reason}" for name, reason in ignored.items()))
