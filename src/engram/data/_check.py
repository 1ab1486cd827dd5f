"""What is odd about data, in sentences, before anything is trained on them.

What makes training impossible is raised; what makes its result doubtful is said. A leak is only said: a column that
predicts the target alone is sometimes simply a good column.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy import ndarray

from engram.data import _target
from engram.data._leak import alone
from engram.data._table import column_of
from engram.errors import DataError
from engram.records import Dataset, Part, Task

__all__ = ["check"]

_LEAK = 0.97
_ROWS = 200_000  # of train, for what need not see them all
_FEW = 100
_RARE = 0.01
_EMPTY = 0.5
_MANY = 1000
_FAR = 10  # interquartile ranges beyond the quartiles
_IMAGE_BYTES = 2 << 30


def check(dataset: Dataset, task: Task) -> tuple[str, ...]:
    """What was noticed about the data, one sentence each, the gravest first.

    Args:
        dataset: divided, with a part ``train``.
        task: that its target sets.

    Raises:
        DataError: all training rows are of one class.
    """
    truth = _target.encode(task, column_of(dataset.parts["train"], task.target))
    if task.classifies and len(np.unique(truth)) < 2:
        raise DataError(f"all {len(truth):,} training rows are of one class; divide the data in another way")
    return (
        *_leaks(dataset, task, truth),
        *_twice(dataset),
        *_balance(task, truth),
        *_gaps(dataset),
        *_far(dataset),
        *_size(dataset),
    )


def _leaks(dataset: Dataset, task: Task, truth: ndarray) -> Iterator[str]:
    rows = _some(len(truth))
    for column in dataset.inputs:
        if column.kind in {"image", "text"}:
            continue
        share = alone(column_of(dataset.parts["train"], column.name, rows), truth[rows], len(task.labels))
        if share >= _LEAK:
            what = "avoids {:.1%} of all errors" if task.classifies else "explains {:.1%} of the variance"
            yield (
                f"column {column.name!r} alone predicts {task.target!r} ({what.format(share)}): if it is not known"
                f' before the target is, it is a leak; say {column.name} = "ignore" in [columns]'
            )


def _twice(dataset: Dataset) -> Iterator[str]:
    """Rows that are there more than once, within train and across to test."""
    names = [column.name for column in dataset.inputs]
    hashes = {name: _hashes(part, [*names, dataset.target], dataset) for name, part in dataset.parts.items()}
    train = hashes["train"]
    if len(train):
        again = len(train) - len(np.unique(train))
        if again:
            yield f"{again:,} of {len(train):,} training rows ({again / len(train):.1%}) are copies of another"
    for name in ("validation", "test"):
        known = np.isin(hashes.get(name, train[:0]), train)
        if known.any():
            share = known.mean()
            yield (
                f"{int(known.sum()):,} of {len(known):,} {name} rows ({share:.1%}) are also in train, so that its"
                " scores are too good"
            )


def _hashes(part: Part, names: list[str], dataset: Dataset) -> ndarray:
    """One number a row that is equal for equal rows, uint64 (rows,); empty where pixels would not fit in memory."""
    image = next((c for c in dataset.columns if c.kind == "image"), None)
    if image is None:
        columns = {str(i): pl.Series(column_of(part, name)) for i, name in enumerate(names)}
        return pl.DataFrame(columns).hash_rows().to_numpy()
    if 0 in image.shape or np.prod(image.shape) * len(part) > _IMAGE_BYTES:
        return np.empty(0, dtype=np.uint64)
    pixels = column_of(part, image.name)
    digests = (hashlib.blake2b(one.tobytes(), digest_size=8).digest() for one in pixels)
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def _balance(task: Task, truth: ndarray) -> Iterator[str]:
    if not task.classifies:
        return
    counts = np.bincount(truth, minlength=len(task.labels))
    rare = [
        f"{task.labels[i]!r} ({counts[i]:,})" for i in np.argsort(counts) if counts[i] < max(10, _RARE * len(truth))
    ]
    if rare:
        more = f" and {len(rare) - 5} more" if len(rare) > 5 else ""
        yield (
            f"few training rows are of class {', '.join(rare[:5])}{more} of {len(truth):,}: accuracy hardly sees them;"
            ' judge by balanced_accuracy, or say class_weights = "balanced" in [train]'
        )


def _gaps(dataset: Dataset) -> Iterator[str]:
    for column in dataset.inputs:
        share = _target.gaps(column_of(dataset.parts["train"], column.name)).mean() if column.missing else 0.0
        if share > _EMPTY:
            yield f"column {column.name!r} has no value in {share:.0%} of the training rows"
        if column.kind == "category" and column.distinct > _MANY:
            yield f"column {column.name!r} has {column.distinct:,} different values, many of which are seen hardly ever"


def _far(dataset: Dataset) -> Iterator[str]:
    part = dataset.parts["train"]
    for column in dataset.columns:
        if column.kind != "number" or (column.name != dataset.target and column not in dataset.inputs):
            continue
        values = column_of(part, column.name, _some(len(part)))
        values = values[~np.isnan(values)]
        low, high = np.quantile(values, [0.25, 0.75]) if len(values) else (0.0, 0.0)
        reach = _FAR * (high - low)
        far = values[(values < low - reach) | (values > high + reach)]
        if reach and len(far):
            count = f"{len(far):,} values" if len(far) > 1 else "a value"
            worst = far[np.abs(far - (low + high) / 2).argmax()]
            yield (
                f"column {column.name!r} has {count} far from the rest (up to {worst:g}, half of them lie from {low:g}"
                f" to {high:g}); clip them if they are errors"
            )


def _size(dataset: Dataset) -> Iterator[str]:
    rows = len(dataset.parts["train"])
    if rows < _FEW:
        yield f"{rows} training rows are very few: scores will vary from seed to seed"


def _some(rows: int) -> ndarray:
    """Numbers of at most 200,000 rows, evenly spread: int64."""
    return np.linspace(0, rows - 1, min(rows, _ROWS)).astype(np.int64)
