"""A table with a time column as windows: what was known up to a moment, and the target some rows later.

Each row of the data set is one window. A column becomes one for every step (``TEMP_t-0`` is the latest, ``TEMP_t-1``
the one before), so that any network of rows learns from it. The latest windows are the test, and what is trained on
ends before what is tested could be known: a random division would put halves of one window on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from engram.data import _frame, _moments, _source, _windows
from engram.data._table import Table
from engram.errors import DataError, UnknownName, UsageError
from engram.plugins import nearest
from engram.records import Column, Dataset

__all__ = ["BY_NAME", "Options", "open", "recognizes"]

BY_NAME = True  # a table of times is a table as well: only kind = "timeseries" says that it is more
_TIME = "time"


@dataclass(frozen=True, slots=True)
class Options:
    """How windows are cut.

    Attributes:
        target: the column to predict, which is that of ``[data]``.
        time: the columns that say the moment: one of dates, or several such as year, month, day and hour; empty means
            found.
        series: the column that tells series apart, where the table holds several (``station``).
        steps: rows that a window looks back, the latest among them.
        horizon: rows from the latest of a window to its target.
        stride: rows from one window to the next.
        even: whether rows come at equal distances of time; false for those that just follow each other, as trading days
            do.
        gaps: the largest share of moments that may be missing; no window reaches across one.
        sort: whether rows that are out of order are put into it.
        missing: what means a gap, for a table that is read as ``csv``.
    """

    target: str = ""
    time: tuple[str, ...] = ()
    series: str = ""
    steps: int = 12
    horizon: int = 1
    stride: int = 1
    even: bool = True
    gaps: float = 0.05
    sort: bool = False
    missing: tuple[str, ...] = ("?", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL")


def recognizes(place: str) -> bool:  # noqa: ARG001 - the contract
    """Never: ``kind = "timeseries"`` says it."""
    return False


def open(places: tuple[str, ...], names: tuple[str, ...] = (), options: Options | None = None) -> Dataset:  # noqa: A001 - the contract
    """The windows of a table that another kind of source reads.

    Args:
        places: of the table.
        names: of its columns, where it has no header.
        options: how windows are cut.

    Raises:
        DataError: moments are out of order, come twice or are missing, or no window fits.
        UsageError: there is no target, or an option has a value that cannot be.
        UnknownName: a column does not exist.
    """
    chosen = options or Options()
    _check(chosen)
    table = _table(places, names, chosen)
    part = table.parts["all"]
    moments = _moments.find(table, chosen.time)
    features = tuple(c for c in table.columns if c.name not in {*moments.columns, chosen.series})
    _known(chosen, features)
    clock = _moments.Clock(even=chosen.even, gaps=chosen.gaps, sort=chosen.sort)
    series = _moments.words(table, chosen.series)
    runs, every, notes = _moments.runs(moments.seconds, series, clock)
    shape = _windows.Shape(chosen.steps, chosen.horizon, chosen.stride)
    cut = _windows.cut(runs, shape)
    predicted = _windows.moments(moments.seconds, cut, every * chosen.horizon)
    pieces = [pl.Series(_TIME, predicted)]
    pieces += [pl.Series(chosen.series, series[cut.latest], dtype=pl.String)] if chosen.series else []
    for column in features:
        pieces += _windows.columns(column.name, part.column(column.name), column.kind, cut)
    goal = table.column(chosen.target)
    pieces.append(_windows.target(goal.name, part.column(goal.name), goal.kind, cut))
    said = (*(note for note in table.notes if " is ignored" not in note), *notes, _windows.sentence(predicted, shape))
    origin = _frame.Origin(places, table.origin, table.digest, table.sources, target=chosen.target)
    found = _judged(_frame.dataset(pl.DataFrame(pieces), origin), features, chosen.steps, said)
    return replace(found, order=_TIME, ahead=every * chosen.horizon, gaps=table.gaps)


def _check(options: Options) -> None:
    for name in ("steps", "horizon", "stride"):
        if (value := getattr(options, name)) < 1:
            raise UsageError(f"[data] {name} = {value} is refused: it is at least 1", place=f"data.{name}")
    if not 0 <= options.gaps <= 1:
        raise UsageError(f"[data] gaps = {options.gaps} is refused: it is a share from 0 to 1", place="data.gaps")
    if not options.target:
        raise UsageError("windows need to know what they lead to; say target in [data]", place="data.target")


def _table(places: tuple[str, ...], names: tuple[str, ...], options: Options) -> Dataset:
    """The table itself, by the kind of source that reads it."""
    given: Mapping[str, Any] = {"missing": list(options.missing)} if "missing" in _source.known(places) else {}
    table = _source.read(places, (), names=names, given=given)
    part = table.parts["all"]
    if not isinstance(part, Table):
        raise UsageError("windows are cut from a table, and this source gives none", place="data.kind")
    for fault in part.faults.values():
        raise DataError(fault)
    return table


def _known(options: Options, features: tuple[Column, ...]) -> None:
    have = [column.name for column in features]
    if options.target not in have:
        wrong = f"target {options.target!r} is no column that windows lead to; {nearest(options.target, have)}"
        raise UnknownName(wrong, place="data.target")


def _judged(dataset: Dataset, features: tuple[Column, ...], steps: int, notes: tuple[str, ...]) -> Dataset:
    """The windows without what their table ignores, and with words of their latest row alone."""
    reasons: dict[str, str] = {}
    for column in features:
        early = "" if column.kind in {"number", "boolean"} else "of words and dates only the latest is looked at"
        for step in range(steps):
            reason = column.reason if column.kind == "ignore" else early if step else ""
            reasons[_windows.named(column.name, step)] = reason
    columns = tuple(
        replace(column, kind="ignore", reason=reasons[column.name]) if reasons.get(column.name) else column
        for column in dataset.columns
    )
    left = [c for c in columns if c.kind == "ignore" and not reasons.get(c.name)]
    ignored = [*(c for c in features if c.kind == "ignore"), *left]
    said = [f"column {column.name!r} is ignored: {column.reason}" for column in ignored]
    return replace(dataset, columns=columns, notes=(*notes, *said))
