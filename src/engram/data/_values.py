"""From fields as they are written to numbers, booleans, dates and categories, whole columns at a time.

Every conversion says which rows it could not read instead of turning them into gaps: a gap is what the file says is
one, never what we failed to understand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy import ndarray

from engram.runtime._dates import parse_date

__all__ = ["FALSE", "TRUE", "Read", "Values", "as_booleans", "as_dates", "as_numbers", "as_words", "clean", "written"]

TRUE = ("true", "yes", "t", "y")
FALSE = ("false", "no", "f", "n")
_DECIMAL_COMMA = r"^[+-]?\d*,\d+(?:[eE][+-]?\d+)?$|^[+-]?\d+$"
_DATE = r"^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2}(?:\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})?)?$"
_ALMOST_DATE = r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ]|$)"  # what is worth the slow parser, which knows every form


@dataclass(frozen=True, slots=True)
class Values:
    """One column in memory.

    Attributes:
        array: float64 with NaN for gaps, or int32 positions in `words`, (rows,); empty where `texts` holds the column.
        words: object array of str, ``""`` first; None for numbers.
        texts: the strings themselves, where hardly any repeats.
    """

    array: ndarray
    words: ndarray | None = None
    texts: pl.Series | None = None

    def take(self, rows: ndarray) -> ndarray:
        """The values of these rows: float64, or object array of str, (rows,)."""
        if self.texts is not None:
            return self.texts.gather(rows).to_numpy().astype(object, copy=False)
        if self.words is not None:
            found: ndarray = self.words[self.array[rows]]
            return found
        return np.asarray(self.array[rows])


@dataclass(frozen=True, slots=True)
class Read:
    """A column that was tried as one kind: its values, and where it is something else (bool, (rows,))."""

    values: Values
    bad: ndarray

    @property
    def wrong(self) -> int:
        """How many values are something else."""
        return int(self.bad.sum())


def clean(series: pl.Series, missing: tuple[str, ...]) -> pl.Series:
    """The fields without the spaces around them, null where one says that there is no value; typed ones as they are."""
    if series.dtype != pl.String:
        return series
    bare = series.str.strip_chars()
    return bare.set(bare.is_in(["", *missing]), None)


def written(series: pl.Series) -> pl.Series:
    """The values of any column as one would write them: 3 for a whole float, ISO 8601 for a moment."""
    if series.dtype == pl.String:
        return series
    if isinstance(series.dtype, pl.Datetime):
        zone = series.dtype.time_zone
        moments = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zone else series
        return moments.dt.strftime("%Y-%m-%dT%H:%M:%S%.f")
    if series.dtype.is_float() and ((series.is_finite() & (series == series.round())) | series.is_null()).all():
        whole = series.cast(pl.Int64, strict=False)
        series = whole if whole.null_count() == series.null_count() else series
    return series.cast(pl.String)


def as_numbers(series: pl.Series, *, comma: bool = False) -> Read:
    """The column as float64; a decimal comma is read where every value is written with one or whole."""
    numbers = series.cast(pl.Float64, strict=False)
    if not numbers.null_count():
        return Read(Values(numbers.to_numpy()), np.zeros(len(numbers), dtype=bool))
    bad = numbers.is_null() & series.is_not_null()
    if comma and bad.any() and series.str.contains(_DECIMAL_COMMA).all():
        numbers = series.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
        bad = numbers.is_null() & series.is_not_null()
    return Read(Values(_floats(numbers)), bad.to_numpy())


def as_booleans(series: pl.Series, *, digits: bool = False) -> Read:
    """The column as 1.0 and 0.0, by the words that are accepted everywhere; 1 and 0 only where `digits` says so."""
    if series.dtype == pl.Boolean:
        return Read(Values(_floats(series)), np.zeros(len(series), dtype=bool))
    words = dict.fromkeys((*TRUE, "1"), 1.0) | dict.fromkeys((*FALSE, "0"), 0.0)
    known = words if digits else {word: value for word, value in words.items() if not word.isdigit()}
    numbers = series.str.to_lowercase().replace_strict(known, default=None, return_dtype=pl.Float64)
    return Read(Values(_floats(numbers)), (numbers.is_null() & series.is_not_null()).to_numpy())


def as_dates(series: pl.Series) -> Read:
    """The column as seconds since 1970-01-01T00:00Z; a time without an offset is UTC.

    Read are ISO 8601 dates and times, ``YYYY/MM/DD`` and ``DD.MM.YYYY``. ``01/02/2024`` is text: nobody can know
    whether it is in January.
    """
    if series.dtype.is_temporal():
        moments = series.cast(pl.Datetime("us")) if series.dtype == pl.Date else series
        seconds = moments.dt.timestamp("us").cast(pl.Float64) / 1e6
        return Read(Values(_floats(seconds)), np.zeros(len(series), dtype=bool))
    different = series.drop_nulls().unique()
    seconds = _seconds(different)
    known = pl.DataFrame({"text": different, "seconds": seconds})
    numbers = pl.DataFrame({"text": series}).join(known, on="text", how="left", maintain_order="left")["seconds"]
    return Read(Values(_floats(numbers)), (numbers.is_null() & series.is_not_null()).to_numpy())


def as_words(series: pl.Series, *, repeated: bool = True) -> Values:
    """The column as strings; `repeated` keeps each different one once."""
    if not repeated:
        return Values(np.empty(0), texts=series.fill_null(""))
    different = series.drop_nulls().unique().sort()
    codes = series.cast(pl.Enum(different)).to_physical().cast(pl.Int32) + 1
    words = np.array(["", *different.to_list()], dtype=object)
    return Values(codes.fill_null(0).to_numpy(), words)


def _floats(numbers: pl.Series) -> ndarray:
    return numbers.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _seconds(texts: pl.Series) -> pl.Series:
    """Seconds since 1970-01-01T00:00Z of each text, null where it is no date."""
    plain = texts.str.replace(r"^(\d{2})\.(\d{2})\.(\d{4})", "${3}-${2}-${1}").str.replace(
        r"^(\d{4})/(\d{2})/(\d{2})", "${1}-${2}-${3}"
    )
    frame = pl.DataFrame({"text": plain}).select(
        day=pl.col("text").str.extract(_DATE, 1),
        minute=pl.col("text").str.extract(_DATE, 2).fill_null("00:00"),
        second=pl.col("text").str.extract(_DATE, 3).fill_null(":00"),
        zone=pl.col("text").str.extract(_DATE, 4).fill_null("Z"),
    )
    whole = frame.select(pl.concat_str("day", pl.lit("T"), "minute", "second", "zone"))["day"]
    moments = whole.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", strict=False)
    seconds = moments.dt.timestamp("us").cast(pl.Float64) / 1e6
    rare = np.flatnonzero(seconds.is_null().to_numpy() & texts.str.contains(_ALMOST_DATE).to_numpy())
    return seconds.scatter(rare, [_slowly(text) for text in texts.gather(rare)]) if len(rare) else seconds


def _slowly(text: str) -> float | None:
    try:
        return parse_date(text)
    except ValueError:
        return None
