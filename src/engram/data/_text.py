"""Reading a text table into strings, and noticing the rows that do not have its width.

polars reads the file in one go. It pads short rows without a word, so a gap in the last column is looked into; it
refuses long rows and stray quotes, so a refusal is looked into as well. Only these files pay for a second reader: lines
counted in polars where nothing is quoted, the standard library's ``csv`` where something is.
"""

from __future__ import annotations

import csv
import io
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy import ndarray

from engram.data._layout import Layout, decode, raw
from engram.errors import DataError

__all__ = ["Strings", "read"]

_NAMED = 10
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Strings:
    """A table as it is written.

    Attributes:
        frame: all columns as strings, ``""`` for an empty field.
        notes: rows left out, one sentence.
        numbers: of the rows, counted from 1 below the header, where rows were left out; None where none was.
    """

    frame: pl.DataFrame
    notes: tuple[str, ...] = ()
    numbers: ndarray | None = None


def read(path: Path, layout: Layout, wrong_rows: float = 0.01) -> Strings:
    """The table in this file, rows of another width left out.

    Args:
        path: a text file, or one packed with gzip.
        layout: how it is written.
        wrong_rows: the largest share of rows that may be left out; one row always may unless it is 0.

    Raises:
        DataError: too many rows are wrong, a quote is never closed, or the text is not UTF-8.
    """
    frame = None if layout.quoted else _quick(path, layout)
    try:
        return _looked_into(path, layout, frame, wrong_rows)
    except (OSError, EOFError, zlib.error) as wrong:
        raise DataError(f"{path.name} cannot be read to its end ({wrong}); make it again") from None


def _looked_into(path: Path, layout: Layout, frame: pl.DataFrame | None, wrong_rows: float) -> Strings:
    """The table, read a second time where the first reading leaves a doubt."""
    quoted = _quoted(path)
    if frame is not None and not frame.select(pl.last().eq("").any()).item() and not (quoted and _spaced(frame)):
        return Strings(frame)
    seen = _by_csv(path, layout, frame) if quoted else _by_lines(path, layout)
    wrong, total = len(seen.lines), len(seen.wrong) - int(seen.blank.sum())
    sentence = _sentence(path.name, layout, seen.lines, total)
    if wrong > math.ceil(wrong_rows * total):
        raise DataError(
            f"{sentence}, more than wrong_rows = {wrong_rows:g} allows; mend them, or say wrong_rows or separator"
            f" (here {layout.separator!r}) in [data]"
        )
    notes = (f"{sentence} and {'was' if wrong == 1 else 'were'} left out",) if wrong else ()
    numbers = np.flatnonzero(~(seen.blank | seen.wrong)) + 1
    return Strings(seen.frame, notes, None if len(numbers) == len(seen.wrong) else numbers)


def _quick(path: Path, layout: Layout) -> pl.DataFrame | None:
    """The table as polars reads it; None where it does not."""
    try:
        frame = pl.read_csv(
            path,
            has_header=layout.header,
            separator=layout.separator,
            infer_schema=False,
            empty_string_is_null=False,
            new_columns=list(layout.names),
            glob=False,
        )
    except (pl.exceptions.PolarsError, OSError):  # the careful reader says what is wrong, and where
        return None
    return frame if frame.width == len(layout.names) else None


def _spaced(frame: pl.DataFrame) -> bool:
    """Whether a field still has its quote, because a space stands before it."""
    return bool(frame.select(pl.any_horizontal(pl.all().str.contains(r'^\s+"').any())).item())


@dataclass(frozen=True, slots=True)
class _Seen:
    """The good rows; which rows below the header were blank or wrong; the lines of the wrong ones."""

    frame: pl.DataFrame
    blank: ndarray
    wrong: ndarray
    lines: list[int]


def _quoted(path: Path) -> bool:
    """Whether a quote is anywhere in the file, or its lines end as csv alone knows (a bare carriage return)."""
    newline = False
    with raw(path) as source:
        while chunk := source.read(_CHUNK):
            newline = newline or b"\n" in chunk
            if b'"' in chunk:
                return True
    return not newline


def _by_lines(path: Path, layout: Layout) -> _Seen:
    width = len(layout.names)
    try:
        lines = pl.read_lines(path, name="line", glob=False)["line"]
    except (pl.exceptions.PolarsError, OSError):
        lines = pl.Series("line", _whole(path).splitlines())
    lines = lines.str.strip_chars_start("\ufeff")
    blank = lines.str.strip_chars().eq("").to_numpy()
    start = int(np.argmin(blank)) + layout.header  # the first row that is not blank may be the header
    rest, blank = lines[start:], blank[start:]
    wrong = rest.str.count_matches(layout.separator, literal=True).ne(width - 1).to_numpy() & ~blank
    fields = rest.filter(pl.Series(~blank & ~wrong, dtype=pl.Boolean)).str.split_exact(layout.separator, width - 1)
    frame = fields.struct.rename_fields(list(layout.names)).struct.unnest()
    return _Seen(frame, blank, wrong, (np.flatnonzero(wrong) + start + 1).tolist())


def _by_csv(path: Path, layout: Layout, frame: pl.DataFrame | None) -> _Seen:
    """The table with widths counted by ``csv``; its fields too, where polars did not read as many rows."""
    width = len(layout.names)
    counted = [(len(row), line) for row, line in _rows(path, layout)]
    start = next((i for i, (fields, _) in enumerate(counted) if fields), 0) + layout.header
    widths = np.array([fields for fields, _ in counted[start:]], dtype=np.int64)
    lines = np.array([line for _, line in counted[start:]], dtype=np.int64)
    blank = widths == 0
    wrong = (widths != width) & ~blank
    good = ~blank & ~wrong
    if frame is not None and frame.height == len(widths) and not _spaced(frame):
        kept = frame.filter(pl.Series(good, dtype=pl.Boolean))
    else:
        fields = [row for i, (row, _) in enumerate(_rows(path, layout)) if i >= start and len(row) == width]
        kept = pl.DataFrame(fields, schema=dict.fromkeys(layout.names, pl.String), orient="row")
    return _Seen(kept, blank, wrong, lines[wrong].tolist())


def _rows(path: Path, layout: Layout) -> Iterator[tuple[list[str], int]]:
    """Each row of the file with the line it begins on."""
    line = 1
    with raw(path) as source, io.TextIOWrapper(source, encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text, delimiter=layout.separator, skipinitialspace=True, strict=True)
        try:
            for row in reader:
                yield row, line
                line = reader.line_num + 1
        except csv.Error as wrong:
            raise DataError(
                f"{path.name}: the quotes of the row on line {line} do not match ({wrong}); close them or double them"
            ) from None
        except UnicodeDecodeError:
            _whole(path)  # says on which line
            raise


def _whole(path: Path) -> str:
    with raw(path) as source:
        return decode(source.read(), path.name).removeprefix("\ufeff")


def _sentence(name: str, layout: Layout, lines: list[int], total: int) -> str:
    wrong = len(lines)
    listed = ", ".join(map(str, lines[:_NAMED])) + (", …" if wrong > _NAMED else "")
    have, where = ("does", "line") if wrong == 1 else ("do", "lines")
    return f"{name}: {wrong:,} of {total:,} rows {have} not have {len(layout.names)} fields ({where} {listed})"
