"""The moments of a table, and the stretches in which row follows row without a gap.

What is out of order is refused and not put right in silence: it is as often a sign of two series in one table, or of a
clock that was set back, as of rows that somebody shuffled.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy import ndarray

from engram.data._target import texts
from engram.data._types import listed
from engram.errors import DataError, UnknownName, UsageError
from engram.plugins import nearest
from engram.records import Dataset

__all__ = ["Clock", "Moments", "Run", "find", "runs", "shown", "words"]

_PARTS = ("year", "month", "day", "hour", "minute", "second")
_EXACT = 1e-6


@dataclass(frozen=True, slots=True)
class Clock:
    """What is asked of the moments, as ``timeseries.Options`` says."""

    even: bool = True
    gaps: float = 0.05
    sort: bool = False


@dataclass(frozen=True, slots=True)
class Moments:
    """The columns that say the moment, and seconds since 1970-01-01T00:00Z, float64 (rows,)."""

    columns: tuple[str, ...]
    seconds: ndarray


@dataclass(frozen=True, slots=True)
class Run:
    """Rows that follow each other without a gap, int64 (rows,), and whether their series ends with them."""

    rows: ndarray
    last: bool


def shown(seconds: float) -> str:
    """A moment for a message."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def find(table: Dataset, said: tuple[str, ...]) -> Moments:
    """The moments of a table, from the columns that are said, or from those that look like it.

    Raises:
        UnknownName: there is no such column.
        UsageError: nothing is said, and none or several are found.
        DataError: a row has no moment.
    """
    names = said or _found(table)
    have = [column.name for column in table.columns]
    for name in names:
        if name not in have:
            raise UnknownName(f"[data] time: there is no column {name!r}; {nearest(name, have)}", place="data.time")
    part = table.parts["all"]
    seconds = _alone(table, names[0]) if len(names) == 1 else _together(names, [part.column(name) for name in names])
    if np.isnan(seconds).any():
        without = listed((np.flatnonzero(np.isnan(seconds)) + 1).tolist())
        raise DataError(f"{', '.join(names)}: {without} has no moment; give every row one, or leave it out")
    return Moments(names, seconds)


def words(table: Dataset, name: str) -> ndarray:
    """What tells the series apart, object array of str (rows,); all alike where there is but one.

    Raises:
        UnknownName: there is no such column.
    """
    have = [column.name for column in table.columns]
    if not name:
        return np.full(len(table.parts["all"]), "", dtype=object)
    if name not in have:
        raise UnknownName(f"[data] series: there is no column {name!r}; {nearest(name, have)}", place="data.series")
    return texts(table.parts["all"].column(name))


def runs(seconds: ndarray, series: ndarray, clock: Clock) -> tuple[list[Run], float, tuple[str, ...]]:
    """The stretches without a gap, the seconds from one row to the next, and what was noticed.

    Raises:
        DataError: rows are out of order, two have one moment, moments stand between others, or too many are missing.
    """
    chains = [_ordered(np.flatnonzero(series == word), seconds, word, clock) for word in np.unique(series)]
    steps = np.concatenate([np.diff(seconds[rows]) for rows in chains])
    if not len(steps):
        raise DataError("there is one row at most of every series; windows need rows that follow each other")
    values, counts = np.unique(steps, return_counts=True)
    every = float(values[counts.argmax()])
    if not clock.even:
        return [Run(rows, last=True) for rows in chains], every, ()
    found: list[Run] = []
    missing = 0
    for rows in chains:
        gaps = _gaps(rows, seconds, every)
        missing += int((gaps - 1).sum())
        pieces = np.split(rows, np.flatnonzero(gaps > 1) + 1)
        found += [Run(piece, last=piece is pieces[-1]) for piece in pieces]
    return found, every, _missing(found, missing, seconds, clock)


def _found(table: Dataset) -> tuple[str, ...]:
    dates = [column.name for column in table.columns if column.kind == "date"]
    if len(dates) == 1:
        return (dates[0],)
    named = {column.name.lower(): column.name for column in table.columns}
    if not dates and {"year", "month", "day"} <= named.keys():
        return tuple(named[part] for part in _PARTS if part in named)
    what = f"{len(dates)} columns have dates ({', '.join(dates)})" if dates else "no column has dates"
    raise UsageError(f"{what}; say which one is the moment with time in [data]", place="data.time")


def _alone(table: Dataset, name: str) -> ndarray:
    values = table.parts["all"].column(name)
    if values.dtype == object:
        raise UsageError(f"[data] time: column {name!r} has words and no moments", place="data.time")
    return values.astype(np.float64)


def _together(names: tuple[str, ...], columns: list[ndarray]) -> ndarray:
    """The moments that columns of years, months, days and so on make."""
    parts = {}
    for name, values in zip(names, columns, strict=True):
        part = next((part for part in _PARTS if part in name.lower()), "")
        if not part or values.dtype == object:
            wrong = (
                f"[data] time: column {name!r} is no {', '.join(_PARTS)} in numbers; name it so, or give one of dates"
            )
            raise UsageError(wrong, place="data.time")
        parts[part] = values
    gap = np.isnan(np.sum(list(parts.values()), axis=0))
    whole = {part: np.where(gap, 1, values).astype(np.int64) for part, values in parts.items()}
    ones = np.ones(len(gap), dtype=np.int64)
    months = (whole["year"] - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (whole.get("month", ones) - 1)
    days = months.astype("datetime64[D]").astype(np.int64) + whole.get("day", ones) - 1
    sizes = {"hour": 3600, "minute": 60, "second": 1}
    seconds = days * 86400 + sum(whole[part] * size for part, size in sizes.items() if part in whole)
    return np.where(gap, np.nan, seconds.astype(np.float64))


def _ordered(rows: ndarray, seconds: ndarray, word: str, clock: Clock) -> ndarray:
    """The rows of one series in the order of their moments."""
    if clock.sort:
        rows = rows[np.argsort(seconds[rows], kind="stable")]
    steps = np.diff(seconds[rows])
    where = f" of {word}" if word else ""
    if (steps < 0).any():
        at = int(np.argmax(steps < 0))
        raise DataError(
            f"the rows{where} are out of order: row {rows[at + 1] + 1} ({shown(seconds[rows[at + 1]])}) is earlier than"
            f" the one before it ({shown(seconds[rows[at]])}); sort them, say sort = true, or say which column tells"
            " series apart"
        )
    if (steps == 0).any():
        at = int(np.argmax(steps == 0))
        raise DataError(
            f"rows {rows[at] + 1} and {rows[at + 1] + 1}{where} have the same moment ({shown(seconds[rows[at]])});"
            " leave one out, or say which column tells series apart"
        )
    return rows


def _gaps(rows: ndarray, seconds: ndarray, every: float) -> ndarray:
    """How many steps each row is after the one before it, int64 (rows - 1,)."""
    exact = np.diff(seconds[rows]) / every
    whole = np.rint(exact)
    if (odd := np.abs(exact - whole) > _EXACT).any():
        at = int(np.argmax(odd))
        raise DataError(
            f"row {rows[at + 1] + 1} ({shown(seconds[rows[at + 1]])}) is {exact[at] * every:g} seconds after the one"
            f" before it, while most are {every:g} apart; say even = false if rows just follow each other"
        )
    steps: ndarray = whole.astype(np.int64)
    return steps


def _missing(found: list[Run], missing: int, seconds: ndarray, clock: Clock) -> tuple[str, ...]:
    if not missing:
        return ()
    there = sum(len(run.rows) for run in found)
    first = next(run for run in found if not run.last)
    said = (
        f"{missing:,} of {there + missing:,} moments are missing, first after {shown(seconds[first.rows[-1]])}"
        f" (row {first.rows[-1] + 1})"
    )
    if missing > clock.gaps * (there + missing):
        raise DataError(
            f"{said}, more than gaps = {clock.gaps:g} allows; fill them, raise gaps, or say even = false in [data] if"
            " rows just follow each other"
        )
    return (f"{said}; no window reaches across",)
