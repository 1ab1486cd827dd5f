"""What the user says of columns, laid over what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from engram.data._table import Table
from engram.errors import DataError, UnknownName, UsageError
from engram.plugins import nearest
from engram.records import Dataset
from engram.records.dataset import KINDS

__all__ = ["apply", "said", "settle"]

_SAID = "it was said in [columns]"


def said(columns: Mapping[str, Any], names: tuple[str, ...], target: str = "") -> dict[str, str]:
    """Column → the kind that was said of it; a name goes before a pattern, a later pattern before an earlier one.

    Args:
        columns: the section ``[columns]``: name or pattern → a kind, ``"ignore"``, or a table that may have `kind`.
        names: of all columns.
        target: the target, which no pattern matches.

    Raises:
        UnknownName: a key matches no column, or a kind does not exist.
        UsageError: the target is to be ignored.
    """
    exact: dict[str, str] = {}
    loose: dict[str, str] = {}
    for key, value in columns.items():
        matched = [key] if key in names else [n for n in names if n != target and fnmatchcase(n, key)]
        if not matched:
            raise UnknownName(f"[columns] has no column {key!r}; {nearest(key, names)}", place=f"columns.{key}")
        kind = _kind(key, value)
        if kind:
            (exact if key in names else loose).update(dict.fromkeys(matched, kind))
    if exact.get(target) == "ignore":
        raise UsageError(f"[columns] {target} is the target and cannot be ignored", place=f"columns.{target}")
    return {**loose, **exact}


def apply(dataset: Dataset, kinds: Mapping[str, str], reason: str = _SAID) -> Dataset:
    """The data with these columns of these kinds.

    Raises:
        DataError: the values of a column do not fit its kind.
        UsageError: the source cannot read its columns in another way.
    """
    records = {
        c.name: replace(c, kind="ignore", reason=reason) for c in dataset.columns if kinds.get(c.name) == "ignore"
    }
    read = {name: kind for name, kind in kinds.items() if kind != "ignore"}
    parts = dict(dataset.parts)
    for name, part in dataset.parts.items():
        if isinstance(part, Table):
            columns, parts[name] = part.converted(read, reason)
            records = {**columns, **records}
    for name, kind in read.items():
        if name not in records and kind != dataset.column(name).kind:
            own = dataset.column(name).kind
            wrong = f"column {name!r} of this source is of kind {own!r} and cannot be read as {kind!r}"
            raise UsageError(wrong, place=f"columns.{name}")
    return replace(dataset, columns=tuple(records.get(c.name, c) for c in dataset.columns), parts=parts)


def settle(dataset: Dataset) -> Dataset:
    """The data with nothing kept that only a change of kinds needs.

    Raises:
        DataError: a column that is used cannot be used as it was found.
    """
    kinds = {column.name: column.kind for column in dataset.columns}
    for part in dataset.parts.values():
        faults = part.faults if isinstance(part, Table) else {}
        for name, fault in faults.items():
            if kinds[name] != "ignore":
                raise DataError(fault)
    parts = {n: part.settled() if isinstance(part, Table) else part for n, part in dataset.parts.items()}
    return replace(dataset, parts=parts)


def _kind(key: str, value: Any) -> str:  # noqa: ANN401 - what the file says
    kind = value.get("kind", "") if isinstance(value, Mapping) else value
    if not isinstance(kind, str):
        wrong = f'[columns] {key} = {value!r} is refused: it is a kind such as "number", "ignore", or a table of steps'
        raise UsageError(wrong, place=f"columns.{key}")
    if kind and kind not in (*KINDS, "ignore"):
        known = nearest(kind, (*KINDS, "ignore"))
        raise UnknownName(f"[columns] {key} is of kind {kind!r}, which does not exist; {known}", place=f"columns.{key}")
    return kind
