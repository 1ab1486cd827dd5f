"""What each column of a text table is, found from its values, with the reason in words.

A column that is almost, but not quite, numbers is a fault of the data and no new kind: guessing ``category`` would hide
a typing error in row 17 for ever. The fault is recorded here and raised by whoever knows whether the user has already
said what the column is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy import ndarray

from engram.data._values import FALSE, TRUE, Read, Values, as_booleans, as_dates, as_numbers, as_words, clean, written
from engram.errors import DataError
from engram.records import Column

__all__ = ["Field", "Found", "convert", "find", "listed"]

_ENOUGH = 20  # rows from which a pattern (distinct, counting up) is no accident
_ALMOST = 0.05  # a smaller share of strangers among numbers or dates is a fault of the data
_NAMED = 10
_COUNTED = 1_000_000  # rows up to which different numbers are counted and not estimated
_ID = re.compile(
    r"(?i:(.*[_\- .])?(id|ids|uuid|guid|key|no|nr|index|idx|rownum|row|row_number|unnamed: ?0))|.*[a-z]I[dD]"
)
_CODE = r"^-?0[0-9]"


@dataclass(frozen=True, slots=True)
class Field:
    """One column as it is written, and how to read it.

    Attributes:
        name: of the column.
        series: its fields as strings, or numbers, booleans and moments where the source has types.
        missing: what stands for a gap.
        comma: whether a comma may be a decimal mark.
        numbers: of its rows, for messages; None where they count from 1.
        place: where it was read, for messages.
        unread: why nothing is found in it (it holds lists, or bytes); empty for all that can be a column.
    """

    name: str
    series: pl.Series
    missing: tuple[str, ...] = ()
    comma: bool = False
    numbers: ndarray | None = None
    place: str = ""
    unread: str = ""

    @property
    def title(self) -> str:
        """The place and the column, as a message begins."""
        return f"{self.place}: column {self.name!r}" if self.place else f"column {self.name!r}"

    def rows(self, bad: ndarray) -> str:
        """The rows that are marked (bool, (rows,)), for a message: ``row 3`` or ``rows 3, 17, …``."""
        places = np.flatnonzero(bad)
        return listed((places + 1 if self.numbers is None else self.numbers[places]).tolist())


@dataclass(frozen=True, slots=True)
class Found:
    """A column as it was found: the record, its values, and what is wrong with it (empty if nothing is)."""

    column: Column
    values: Values
    fault: str = ""


def listed(numbers: Sequence[int]) -> str:
    """``row 3`` or ``rows 3, 17, 204``, the first ten of them."""
    shown = ", ".join(map(str, numbers[:_NAMED])) + (", …" if len(numbers) > _NAMED else "")
    return f"{'row' if len(numbers) == 1 else 'rows'} {shown}"


def find(field: Field) -> Found:
    """What this column is."""
    if field.unread or field.series.dtype != pl.String:
        return _typed(field)
    if not any(map(_is_number, field.missing)):
        numbers = as_numbers(field.series)
        if not numbers.wrong:  # the common case, in which no field needs to be cleaned
            return _number(field, field.series, numbers)
    series = clean(field.series, field.missing)
    present = len(series) - series.null_count()
    if not present:
        return _found(field, "ignore", "no row has a value", series, as_words(series))
    numbers = as_numbers(series, comma=field.comma)
    if not numbers.wrong:
        return _number(field, series, numbers)
    if _almost(numbers, present):
        return _almost_found(field, series, numbers, "numbers")
    return _word(field, series, numbers.wrong / present)


def _typed(field: Field) -> Found:
    """What a column is whose source has a type for it."""
    series = field.series
    if field.unread:
        return _found(field, "ignore", field.unread, series, as_words(series, repeated=False))
    if series.dtype.is_temporal():
        return _date(field, series, as_dates(series))
    if series.dtype == pl.Boolean:
        found = _found(field, "boolean", "the source holds true and false", series, as_booleans(series).values)
        return _ignored(found, "it is constant") if found.column.distinct == 1 else found
    return _number(field, series, as_numbers(series))


def convert(field: Field, kind: str, reason: str = "it was said in [columns]") -> Found:
    """The column as the kind that the user, or a kept model, says it is.

    Raises:
        DataError: values do not fit; with their rows.
    """
    series = clean(field.series, field.missing)
    series = series if _of_kind(series.dtype, kind) else written(series)
    if kind in {"category", "text"}:
        return _found(field, kind, reason, series, as_words(series, repeated=kind == "category"))
    if kind == "number":
        read = as_numbers(series, comma=field.comma)
        if fault := _infinite(field, read):
            raise DataError(fault)
    elif kind == "boolean":
        read = as_booleans(series, digits=True)
    elif kind == "date":
        read = as_dates(series)
    else:
        raise DataError(f"{field.title} of a table cannot be of kind {kind!r}")
    if read.wrong:
        raise DataError(_fault(field, series, read, {"number": "numbers", "date": "dates"}.get(kind, "booleans")))
    return _found(field, kind, reason, series, read.values)


def _of_kind(dtype: pl.DataType, kind: str) -> bool:
    """Whether values of this type are of the kind without being read as words."""
    if kind == "number":
        return dtype.is_numeric()
    return dtype.is_temporal() if kind == "date" else kind == "boolean" and dtype == pl.Boolean


def _found(field: Field, kind: str, reason: str, series: pl.Series, values: Values) -> Found:
    numeric = values.words is None and values.texts is None
    missing = int(np.isnan(values.array).sum()) if numeric else series.null_count()
    return Found(Column(field.name, kind, reason, missing, _distinct(values, series)), values)


def _is_number(word: str) -> bool:
    """Whether a word that means a gap could be taken for a number (``-999``, ``inf``); NaN is a gap either way."""
    try:
        return not math.isnan(float(word))
    except ValueError:
        return False


def _distinct(values: Values, series: pl.Series) -> int:
    if values.words is not None:
        return len(values.words) - 1
    if values.texts is not None:
        return series.drop_nulls().n_unique()
    numbers = pl.Series(values.array).drop_nans()
    if len(numbers) <= _COUNTED:
        return numbers.n_unique()
    estimate = numbers.approx_n_unique()
    assert isinstance(estimate, int)
    return min(estimate, len(numbers))


def _number(field: Field, series: pl.Series, read: Read) -> Found:
    array = read.values.array
    gaps = np.isnan(array)
    present = array[~gaps] if gaps.any() else array
    if fault := _infinite(field, read):
        return Found(Column(field.name, "number", "all values are numbers"), read.values, fault)
    whole = _whole(present[:1000]) and _whole(present)
    if whole and series.dtype == pl.String and series.str.contains(_CODE).any():
        return _found(field, "category", "whole numbers with leading zeros are codes", series, as_words(series))
    found = _found(field, "number", "all values are numbers", series, read.values)
    distinct = found.column.distinct
    if distinct <= 1:
        return _ignored(found, "it is constant" if distinct else "no row has a value")
    if whole and distinct >= 0.95 * len(array) >= _ENOUGH and _all_differ(array):
        if array[0] in (0, 1) and (np.diff(array) == 1).all():
            return _ignored(found, "it counts the rows")
        if _ID.fullmatch(field.name):
            return _ignored(found, "by its name and values it numbers the rows")
    return found


def _whole(numbers: ndarray) -> bool:
    return bool((numbers == np.floor(numbers)).all())


def _all_differ(array: ndarray) -> bool:
    return len(np.unique(array)) == len(array) and not np.isnan(array).any()


def _ignored(found: Found, reason: str) -> Found:
    seen = found.column
    return Found(Column(seen.name, "ignore", reason, seen.missing, seen.distinct), found.values)


def _word(field: Field, series: pl.Series, strange: float) -> Found:
    """What a column is that is not all numbers; `strange` is the share that is none."""
    present = series.drop_nulls()
    different = present.unique()
    words = {word.lower() for word in different.head(5).to_list()}
    if len(different) <= 4 and len(words) == 2 and any(words == {a, b} for a, b in zip(TRUE, FALSE, strict=True)):
        return _found(
            field, "boolean", f"all values are {' or '.join(sorted(words))}", series, as_booleans(series).values
        )
    dates = as_dates(different.head(100))
    if dates.wrong < 50 and len(different) > dates.wrong:
        dates = as_dates(series)
        if not dates.wrong:
            return _date(field, series, dates)
        if _almost(dates, len(present)):
            return _almost_found(field, series, dates, "dates")
    return _category(field, series, different, strange)


def _date(field: Field, series: pl.Series, read: Read) -> Found:
    found = _found(field, "date", "all values are dates", series, read.values)
    return _ignored(found, "it is constant") if found.column.distinct == 1 else found


def _category(field: Field, series: pl.Series, different: pl.Series, strange: float) -> Found:
    present = len(series) - series.null_count()
    distinct = len(different)
    spread = distinct / present
    if distinct == 1:
        return _found(field, "ignore", "it is constant", series, as_words(series))
    length = float(different.head(1000).str.count_matches(r"\s+").mean() or 0) + 1  # type: ignore[arg-type]
    if spread > 0.5 and distinct > _ENOUGH and length >= 3:
        return _found(
            field,
            "text",
            f"{distinct:,} different texts of {length:.0f} words",
            series,
            as_words(series, repeated=False),
        )
    if spread > 0.9 and distinct > _ENOUGH:
        reason = f"{distinct:,} different values in {present:,} rows say nothing about another row"
        return _found(field, "ignore", reason, series, as_words(series, repeated=False))
    mixed = f", {strange:.0%} of the values are no numbers" if strange < 1 else ""
    return _found(
        field, "category", f"{distinct:,} different values in {present:,} rows{mixed}", series, as_words(series)
    )


def _almost(read: Read, present: int) -> bool:
    """Whether a few strangers stand among many: less than a twentieth, or a single one among five or more."""
    return 0 < read.wrong < _ALMOST * present or (read.wrong == 1 and present >= 5)


def _almost_found(field: Field, series: pl.Series, read: Read, what: str) -> Found:
    found = _found(field, "category", f"most but not all values are {what}", series, as_words(series))
    return Found(found.column, found.values, _fault(field, series, read, what))


def _fault(field: Field, series: pl.Series, read: Read, what: str) -> str:
    strange = series.filter(pl.Series(read.bad)).unique(maintain_order=True).head(3).to_list()
    some = ", ".join(repr(word[:40]) for word in strange)
    count = "1 value that is" if read.wrong == 1 else f"{read.wrong:,} values that are"
    one = what if read.wrong != 1 else {"numbers": "a number", "dates": "a date", "booleans": "a boolean"}[what]
    return (
        f"{field.title} has {count} not {one} ({field.rows(read.bad)}: {some}); fix them, add what means a gap to"
        f' missing in [data], or say {_key(field.name)} = "category" in [columns]'
    )


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_\-]+", name) else f'"{name}"'


def _infinite(field: Field, read: Read) -> str:
    endless = np.isinf(read.values.array)
    if not endless.any():
        return ""
    count = "an infinite value" if endless.sum() == 1 else f"{int(endless.sum()):,} infinite values"
    return (
        f"{field.title} has {count} ({field.rows(endless)}); replace them, add inf to missing in [data], or say"
        f' {_key(field.name)} = "ignore" in [columns]'
    )
