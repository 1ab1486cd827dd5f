"""Dividing rows into train, validation and test, by numbers of rows and never by copies.

A class of which there is one row stays in train: a test that asks for what could not be learned measures nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from engram.data._types import listed
from engram.errors import DataError

__all__ = ["Shares", "by_names", "by_time", "random", "stratified"]

_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "holdout"), "test"),
}


@dataclass(frozen=True, slots=True)
class Shares:
    """How many rows to hold out: `test` of all rows, then `validation` of the rest; 0 where none are wanted."""

    test: float
    validation: float

    def counts(self, rows: int) -> tuple[int, int]:
        """Rows of test and of validation.

        Raises:
            DataError: fewer than two rows would be left to train on.
        """
        test = max(1, round(rows * self.test)) if self.test else 0
        rest = rows - test
        validation = max(1, round(rest * self.validation)) if self.validation else 0
        if rest - validation < 2:
            raise DataError(
                f"{rows} rows are too few to hold out {test} for the test and {validation} for validation and train on"
                " at least 2; add rows or lower test and validation in [data]"
            )
        return test, validation


def random(rows: int, shares: Shares, generator: np.random.Generator) -> dict[str, ndarray]:
    """Parts drawn at random: name → numbers of rows, int64, in their own order."""
    test, validation = shares.counts(rows)
    return _cut(generator.permutation(rows), test, validation)


def stratified(classes: ndarray, shares: Shares, generator: np.random.Generator) -> dict[str, ndarray]:
    """Parts in which every class (int64 (rows,)) has the share it has in the whole, as far as whole rows allow."""
    test, validation = shares.counts(len(classes))
    counts = np.bincount(classes)
    tested = _quota(counts, test, generator)
    watched = _quota(counts - tested, validation, generator)
    parts: dict[str, list[ndarray]] = {"test": [], "validation": [], "train": []}
    for one in np.flatnonzero(counts):
        rows = generator.permutation(np.flatnonzero(classes == one))
        first, second = tested[one], tested[one] + watched[one]
        parts["test"].append(rows[:first])
        parts["validation"].append(rows[first:second])
        parts["train"].append(rows[second:])
    return _named({name: np.concatenate(pieces) for name, pieces in parts.items()})


def by_time(times: ndarray, shares: Shares, ahead: float = 0.0) -> dict[str, ndarray]:
    """Parts by time: the latest rows are the test, the latest of the rest validation.

    Args:
        times: float64 (rows,).
        shares: to hold out.
        ahead: rows that are in time less than this before the next part are left out [unit of `times`]; what they tell
            was not known when the first row of it was asked.

    Raises:
        DataError: a row has no time, or too few are left to train on.
    """
    if np.isnan(times).any():
        without = listed((np.flatnonzero(np.isnan(times)) + 1).tolist())
        raise DataError(f"the split by time needs a time in every row and {without} have none; leave them out")
    test, validation = shares.counts(len(times))
    return _apart(_cut(np.argsort(-times, kind="stable"), test, validation), times, ahead)


def _apart(parts: dict[str, ndarray], times: ndarray, ahead: float) -> dict[str, ndarray]:
    if not ahead:
        return parts
    left, limit = dict(parts), np.inf
    for name in ("test", "validation", "train"):
        if name in parts:
            left[name] = parts[name][times[parts[name]] <= limit]
            limit = min(limit, times[parts[name]].min() - ahead)
    if min(len(left["train"]), *map(len, left.values())) < 1:
        raise DataError("no row is left to train on that ends before the test begins; add rows, or lower horizon")
    return left


def by_names(words: ndarray, name: str) -> dict[str, ndarray]:
    """Parts by what a column (object array of str, (rows,)) says of each row.

    Raises:
        DataError: a value names no part, or no row is in train.
    """
    lower = np.array([_WORDS.get(word.strip().lower(), "") for word in words], dtype=object)
    strange = lower == ""
    if strange.any():
        raise DataError(
            f"column {name!r} divides the rows and has the value {words[strange][0]!r}"
            f" ({listed((np.flatnonzero(strange) + 1).tolist())}); its values must be train, validation or test"
        )
    parts = {part: np.flatnonzero(lower == part) for part in ("train", "validation", "test")}
    if len(parts["train"]) < 2:
        raise DataError(f"column {name!r} puts {len(parts['train'])} rows into train; at least 2 are needed")
    return {part: rows for part, rows in parts.items() if len(rows)}


def _cut(order: ndarray, test: int, validation: int) -> dict[str, ndarray]:
    both = test + validation
    return _named({"test": order[:test], "validation": order[test:both], "train": order[both:]})


def _named(parts: Mapping[str, ndarray]) -> dict[str, ndarray]:
    return {name: np.sort(parts[name]) for name in ("train", "validation", "test") if len(parts[name])}


def _quota(counts: ndarray, wanted: int, generator: np.random.Generator) -> ndarray:
    """How many rows of each class to hold out, by largest remainder, leaving one of each; int64 (classes,)."""
    most = np.maximum(counts - 1, 0)
    exact = counts * (wanted / max(counts.sum(), 1))
    quota: ndarray = np.minimum(np.floor(exact).astype(np.int64), most)
    order = np.lexsort((generator.random(len(counts)), quota - exact))
    while quota.sum() < wanted and (quota < most).any():
        for one in order:
            if quota.sum() < wanted and quota[one] < most[one]:
                quota[one] += 1
    return quota
