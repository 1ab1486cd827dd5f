"""Values of JSON and of databases as a table, whatever they are.

A column whose values are of one type has it; one of several types is text as JSON writes it, so that a word among
numbers is found where it stands and is not a gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import orjson
import polars as pl

from engram.errors import DataError

__all__ = ["column", "table"]

_TYPES: Mapping[type, pl.DataType | type[pl.DataType]] = {
    int: pl.Int64,
    float: pl.Float64,
    bool: pl.Boolean,
    str: pl.String,
    bytes: pl.Binary,
    date: pl.Date,
    datetime: pl.Datetime("us"),
    time: pl.Time,
    timedelta: pl.Duration("us"),
}
_DEEP = 8  # records within records


def table(records: Sequence[object], title: str) -> pl.DataFrame:
    """The table of these records, inner ones taken apart (``outer.inner``), columns in the order they first appear.

    Args:
        records: what JSON gave, each a mapping.
        title: of the source, for messages.

    Raises:
        DataError: something is no record, or nested too deep.
    """
    rows = []
    for number, record in enumerate(records, start=1):
        if not isinstance(record, Mapping):
            raise DataError(f"{title}: record {number} is {_shown(record)} and not an object with names; give records")
        rows.append(_flat(record, title))
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pl.DataFrame([column(name, [row.get(name) for row in rows]) for name in names])


def _flat(record: Mapping[str, Any], title: str, prefix: str = "", depth: int = 0) -> dict[str, Any]:
    if depth > _DEEP:
        raise DataError(f"{title}: records lie in records more than {_DEEP} deep; give flatter ones")
    found: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            found |= _flat(value, title, f"{prefix}{key}.", depth + 1)
        else:
            found[f"{prefix}{key}"] = value
    return found


def column(name: str, values: list[Any]) -> pl.Series:
    """The values as a column: typed where all are of one type, else as text.

    Args:
        name: of the column.
        values: numbers, texts, booleans, moments, bytes or lists; None is a gap.
    """
    kinds = {type(value) for value in values} - {type(None)}
    if kinds and kinds <= {int, float, Decimal} and kinds != {int}:
        return pl.Series(name, [None if value is None else float(value) for value in values], dtype=pl.Float64)
    only = next(iter(kinds)) if len(kinds) == 1 else None
    if only is not None and only in _TYPES and (only is not int or _fits(values)):
        return pl.Series(name, map(_utc, values) if only is datetime else values, dtype=_TYPES[only])
    if only is list:
        return pl.Series(name, [None if v is None else [_text(x) for x in v] for v in values], dtype=pl.List(pl.String))
    return pl.Series(name, [None if value is None else _text(value) for value in values], dtype=pl.String)


def _utc(moment: datetime | None) -> datetime | None:
    return moment if moment is None or moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _fits(values: list[int | None]) -> bool:
    return all(value is None or -(1 << 63) <= value < 1 << 63 for value in values)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode().strip('"')
    except TypeError:
        return str(value)


def _shown(value: object) -> str:
    return "a list" if isinstance(value, list) else _text(value)[:40]
