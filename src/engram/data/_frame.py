"""From a table of a source that has types to a ``Dataset``, in one place for all of them.

A type is believed: a column of whole numbers is numbers, a moment is a date. Words are looked into as those of a text
table are, because JSON has no dates and a database often holds numbers as text. What has no single value in a row (a
list, bytes) is shown and ignored, never dropped without a word.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl
from numpy import ndarray

from engram.data import _digest, _table
from engram.data._types import Field
from engram.errors import DataError, UsageError
from engram.records import Dataset

__all__ = ["Origin", "dataset", "flat", "joined", "series", "typed", "unnamed"]

_LIST = "a list has no single value in a row"
_BYTES = "bytes are no value"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a table came from.

    Attributes:
        places: as they were opened.
        title: as messages call them all.
        digest: of the source; empty to take the digest of the rows.
        sources: files that were read.
        notes: what was noticed on the way, one sentence each.
        missing: words and numbers that mean a gap.
        target: where the source knows it.
    """

    places: tuple[str, ...]
    title: str
    digest: str = ""
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    target: str = ""


def dataset(frame: pl.DataFrame, origin: Origin) -> Dataset:
    """The rows of a table, with every column's kind found.

    Args:
        frame: typed; inner records become columns of their own (``address.city``).
        origin: where it came from.

    Raises:
        DataError: there is no row, or no column.
    """
    if not frame.width or not frame.height:
        raise DataError(f"{origin.title} has {frame.height} rows of {frame.width} columns; give rows to learn from")
    table = flat(frame)
    fields = {name: _field(table[name], origin) for name in table.columns}
    columns, part = _table.of_fields(fields)
    ignored = tuple(f"column {c.name!r} is ignored: {c.reason}" for c in columns if c.kind == "ignore")
    return Dataset(
        columns=columns,
        parts={"all": part},
        digest=origin.digest or _digest.rows(pl.DataFrame([fields[name].series for name in table.columns])),
        target=origin.target,
        origin=", ".join(origin.places),
        notes=(*origin.notes, *ignored),
        sources=origin.sources,
        gaps=origin.missing,
    )


def joined(frames: Sequence[pl.DataFrame], titles: Sequence[str]) -> pl.DataFrame:
    """Tables of the same columns, one after the other; a column of numbers here and words there becomes words.

    Args:
        frames: at least one; columns may stand in any order.
        titles: of the tables, for messages.

    Raises:
        DataError: a table has other columns than the first.
    """
    first = frames[0]
    for frame, title in zip(frames[1:], titles[1:], strict=True):
        if odd := sorted(set(frame.columns) ^ set(first.columns)):
            raise DataError(
                f"{title} has other columns than {titles[0]} ({', '.join(odd[:5])}): the schema changes in the middle;"
                " give rows of one shape"
            )
    if len(frames) == 1:
        return first
    return pl.DataFrame({name: _column([frame[name] for frame in frames]) for name in first.columns})


def flat(frame: pl.DataFrame) -> pl.DataFrame:
    """The table with inner records as columns of their own, named ``outer.inner``, and every type one that is known.

    Raises:
        DataError: two columns would then have one name.
    """
    while inner := [name for name in frame.columns if isinstance(frame.schema[name], pl.Struct)]:
        pieces = []
        for name in frame.columns:
            if name not in inner:
                pieces.append(frame[name])
                continue
            record = frame[name].struct
            pieces += [record.field(key).alias(f"{name}.{key}") for key in record.fields]
        names = [piece.name for piece in pieces]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DataError(f"two columns are called {twice[0]!r} once records are taken apart; rename one")
        frame = pl.DataFrame(pieces)
    return frame.select(_known(frame[name]) for name in frame.columns)


def typed(given: Dataset) -> pl.DataFrame:
    """The rows of a data set as a table with types, whatever source read them.

    Raises:
        UsageError: it has images, which are no column of a table.
    """
    part = given.parts["all"]
    if any(column.kind == "image" for column in given.columns):
        raise UsageError(f"{given.origin} has images and is no table", place="data.from")
    return pl.DataFrame([series(column.name, part.column(column.name), column.kind) for column in given.columns])


def series(name: str, values: ndarray, kind: str) -> pl.Series:
    """Values as a part gives them as a column with a type: null for a gap.

    Args:
        name: of the column.
        values: float64 or object array of str, (rows,).
        kind: of the column.
    """
    if values.dtype == object:
        words = pl.Series(name, values, dtype=pl.String)
        return words.set(words == "", None)
    numbers = pl.Series(name, values).fill_nan(None)
    if kind == "date":
        return (numbers * 1e6).cast(pl.Int64).cast(pl.Datetime("us"))
    return numbers.cast(pl.Boolean) if kind == "boolean" else numbers


def unnamed(names: tuple[str, ...], what: str) -> None:
    """Refuse ``names = […]`` for a source whose columns have names.

    Raises:
        UsageError: names were given.
    """
    if names:
        raise UsageError(f"{what} has names for its columns; leave names out of [data]", place="data.names")


def _column(pieces: Sequence[pl.Series]) -> pl.Series:
    try:
        return pl.concat([piece.to_frame() for piece in pieces], how="vertical_relaxed").to_series()
    except pl.exceptions.PolarsError:  # words here, numbers there
        return pl.concat([_known(piece).cast(pl.String) for piece in pieces])


def _known(series: pl.Series) -> pl.Series:
    """The column in one of the types that columns of a data set come in."""
    kind = series.dtype
    if isinstance(kind, pl.Duration):
        return series.dt.total_microseconds().cast(pl.Float64) / 1e6
    if kind.is_decimal():
        return series.cast(pl.Float64)
    if kind in {pl.Null, pl.Time} or isinstance(kind, (pl.Categorical, pl.Enum)):
        return series.cast(pl.String)
    if isinstance(kind, pl.Object):
        return pl.Series(series.name, _texts(series.to_list()), dtype=pl.String)
    return series


def _texts(values: Iterable[object]) -> list[str | None]:
    return [None if value is None else str(value) for value in values]


def _field(series: pl.Series, origin: Origin) -> Field:
    if series.dtype == pl.Binary:
        held = series.bin.encode("hex")
        return Field(series.name, held, origin.missing, place=origin.title, unread=_BYTES)
    if isinstance(series.dtype, (pl.List, pl.Array)):
        held = pl.Series(series.name, _texts(series.to_list()), dtype=pl.String)
        return Field(series.name, held, origin.missing, place=origin.title, unread=_LIST)
    gaps = [number for word in origin.missing if (number := _number(word)) is not None]
    if series.dtype.is_numeric() and gaps:
        series = series.set(series.cast(pl.Float64).is_in(gaps), None)
    return Field(series.name, series, origin.missing, place=origin.title)


def _number(word: str) -> float | None:
    """The number that a word for a gap is; None for another word, and for NaN, which is a gap anyway."""
    try:
        number = float(word)
    except ValueError:
        return None
    return None if math.isnan(number) else number
