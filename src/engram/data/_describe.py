"""A first look at data nobody has written a pipeline for, so that one can be written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from engram.data import _places, _source
from engram.data._table import Table
from engram.data._types import Field
from engram.data._values import as_dates, as_numbers, clean, written
from engram.records import Column, Dataset

__all__ = ["describe", "doubts", "look", "strangers", "suggest_target"]

_TARGETS = ("target", "label", "class", "y", "outcome", "output", "response")


def look(
    place: str | Sequence[str],
    *,
    names: tuple[str, ...] = (),
    kind: str = "",
    target: str = "",
    folders: Sequence[Path] = (Path(),),
    options: Mapping[str, Any] | None = None,
) -> Dataset:
    """The data of one place or several of the same shape, as found: undivided, no target needed.

    Args:
        place: as in ``[data] from``.
        names: of the columns, where there is no header.
        kind: the plug-in; empty means found.
        target: the column to predict, for plug-ins that cannot read without.
        folders: where a relative place may start.
        options: of the plug-in, as in ``[data]``.

    Raises:
        DataError: nothing is there, or it cannot be used.
    """
    places = _places.resolve((place,) if isinstance(place, str) else tuple(place), folders)
    named = {"target": target} if target and "target" in _source.known(places, kind) else {}
    return _source.read(places, folders, kind=kind, names=names, given={**(options or {}), **named})


def describe(place: str | Sequence[str], names: tuple[str, ...] = ()) -> tuple[Column, ...]:
    """The columns of one place or several of the same shape, each with its kind and why.

    Raises:
        DataError: nothing is there, or it cannot be used.
    """
    return look(place, names=names).columns


def doubts(dataset: Dataset) -> Mapping[str, tuple[str, str]]:
    """Columns that a pipeline must say something of before they can be used, as ``look`` found them.

    Returns:
        Column → the kind that lets it be used as it is, and what is wrong with it, in a sentence.
    """
    part = dataset.parts["all"]
    faults = part.faults if isinstance(part, Table) else {}
    return {
        name: ("ignore" if dataset.column(name).kind == "number" else "category", why) for name, why in faults.items()
    }


def strangers(dataset: Dataset) -> Mapping[str, tuple[str, ...]]:
    """What stands among the numbers or dates of a column that ``look`` doubted: words, or infinite values, sorted."""
    part = dataset.parts["all"]
    if not isinstance(part, Table):
        return {}
    return {name: _strange(part.fields[name], dataset.column(name).kind) for name in part.faults}


def _strange(field: Field, kind: str) -> tuple[str, ...]:
    series = clean(written(field.series), field.missing)
    numbers = as_numbers(series, comma=field.comma)
    bad = np.isinf(numbers.values.array) if kind == "number" else numbers.bad
    if kind != "number" and (dates := as_dates(series)).wrong < numbers.wrong:
        bad = dates.bad
    return tuple(sorted(series.filter(pl.Series(bad)).unique().to_list()))


def suggest_target(columns: Sequence[Column]) -> str:
    """The column most likely to be predicted: one with a name that says so, else the last that could be."""
    able = [column for column in columns if column.kind in {"number", "boolean", "category"}]
    for word in _TARGETS:
        for column in able:
            if column.name.lower() == word:
                return column.name
    return able[-1].name if able else ""
