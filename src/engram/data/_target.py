"""The target decides what is learned: its values make the task, and its words make the labels.

Whole numbers are the one hard case. They are labels where they look like codes, a few of them counting up from 0 or 1
without a hole; any others are amounts, and the user's word in ``[columns]`` goes before both.
"""

from __future__ import annotations

from itertools import repeat

import numpy as np
from numpy import ndarray

from engram.data._table import column_of
from engram.data._types import listed
from engram.errors import DataError, UsageError
from engram.records import Dataset, Task

__all__ = ["encode", "find", "gaps", "renames", "texts"]

_CODES = 10
_MOST_CLASSES = 1000


def find(dataset: Dataset, said: str = "") -> Task:
    """The task that the target column sets.

    Args:
        dataset: with `target` named; its part ``all`` or ``train`` is looked at.
        said: the kind that the user says the target has; empty where nothing is said.

    Raises:
        DataError: the target has no values, one value, or a value of its own in nearly every row.
        UsageError: it is a date or an image, or was said to be something that cannot be predicted.
    """
    name = dataset.target
    kind = said or dataset.column(name).kind
    if kind in {"date", "image"} or said in {"text", "ignore"}:
        raise UsageError(
            f"target {name!r} is of kind {kind!r} and cannot be predicted; name a column of numbers or categories",
            place="data.target",
        )
    values = column_of(dataset.parts.get("all") or dataset.parts["train"], name)
    present = values[~gaps(values)]
    if not len(present):
        raise DataError(f"target {name!r} has no value in any of {len(values):,} rows; name another column")
    if values.dtype == object:
        return _classes(name, texts(present), "its values are words")
    return _of_numbers(name, present, said)


def encode(task: Task, values: ndarray) -> ndarray:
    """The target as a network learns it.

    Args:
        task: from ``find``.
        values: of the target column, as ``Part.take`` gives them, (rows,).

    Returns:
        int64 positions in ``task.labels`` (rows,), or float32 amounts (rows,).

    Raises:
        DataError: a label that was not there when the task was found, or a gap; with the rows.
    """
    if not task.classifies:
        if values.dtype == object:
            raise DataError(
                f"target {task.target!r} has words such as {str(values[0])!r} where numbers are needed; correct it"
            )
        amounts = np.asarray(values, dtype=np.float64)
        if not np.isfinite(amounts).all():
            rows = listed((np.flatnonzero(~np.isfinite(amounts)) + 1).tolist())
            raise DataError(f"target {task.target!r} has no finite value in {rows}; leave these rows out")
        return amounts.astype(np.float32)
    places = {label: i for i, label in enumerate(task.labels)}
    written = texts(values)
    found = np.fromiter(map(places.get, written, repeat(-1)), dtype=np.int64, count=len(written))
    if (found < 0).any():
        bad = np.flatnonzero(found < 0)
        known = ", ".join(task.labels[:10]) + (", …" if len(task.labels) > 10 else "")
        raise DataError(
            f"target {task.target!r} has the value {written[bad[0]]!r} ({listed((bad + 1).tolist())}), which is none of"
            f" the labels ({known}); correct these rows or leave them out"
        )
    return found


def renames(words: ndarray, labels: tuple[str, ...]) -> dict[str, str]:
    """Label as written → the known label it means: ``"<=50K."`` of an official test file is ``"<=50K"``."""
    strange = {str(word) for word in texts(words)} - {"", *labels}
    return {word: word.rstrip(" .") for word in sorted(strange) if word.rstrip(" .") in labels}


def gaps(values: ndarray) -> ndarray:
    """Where a column has no value: bool (rows,)."""
    missing: ndarray = values == "" if values.dtype == object else np.isnan(values)
    return missing


def texts(values: ndarray) -> ndarray:
    """The values as labels are written: object array of str; whole numbers without a point."""
    if values.dtype == object:
        return values
    numbers, places = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True)
    words: ndarray = np.array([_text(number) for number in numbers], dtype=object)[places]
    return words


def _text(number: float) -> str:
    return "" if np.isnan(number) else str(int(number)) if float(number).is_integer() else repr(float(number))


def _of_numbers(name: str, present: ndarray, said: str) -> Task:
    different = np.unique(present)
    if len(different) == 1:
        raise DataError(_constant(name, _text(different[0]), len(present)))
    if said in {"category", "boolean"}:
        return _classes(name, texts(present), "it was said in [columns]")
    whole = bool((different == np.floor(different)).all())
    if said == "number":
        return Task("regression", name, (), "it was said in [columns]")
    if not whole:
        return Task("regression", name, (), f"{name} has numbers with decimals")
    if len(different) == 2:
        return _classes(name, texts(present), "it has two different numbers")
    codes = different[0] in (0, 1) and (np.diff(different) == 1).all()
    if codes and len(different) <= _CODES:
        return _classes(
            name, texts(present), f"its numbers are codes from {_text(different[0])} to {_text(different[-1])}"
        )
    return Task("regression", name, (), f"{name} has {len(different):,} different whole numbers")


def _classes(name: str, words: ndarray, reason: str) -> Task:
    labels = _sorted({str(word) for word in words})
    if len(labels) == 1:
        raise DataError(_constant(name, labels[0], len(words)))
    if len(labels) > _MOST_CLASSES or len(labels) > max(20, len(words) / 2):
        raise DataError(
            f"target {name!r} has {len(labels):,} different values in {len(words):,} rows, too many to be classes (at"
            f" most {_MOST_CLASSES:,}, and half the rows); name another column"
        )
    kind = "binary" if len(labels) == 2 else "multiclass"
    return Task(kind, name, labels, f"{reason}, {len(labels)} classes")


def _constant(name: str, value: str, rows: int) -> str:
    return (
        f"target {name!r} has the one value {value!r} in all {rows:,} rows, so there is nothing to learn; name another"
        " column or add rows of another class"
    )


def _sorted(labels: set[str]) -> tuple[str, ...]:
    try:
        return tuple(sorted(labels, key=lambda label: (float(label), label)))
    except ValueError:
        return tuple(sorted(labels))
