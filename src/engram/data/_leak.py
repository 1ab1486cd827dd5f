"""How well a single column predicts the target, which gives away an answer that slipped into the inputs.

Each value, or each of fifty quantile bins, answers with what half of the rows say of it and is judged on the other
half. Judged on its own rows, a column of identifiers would look like a perfect leak.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray

__all__ = ["alone"]

_BINS = 50


def alone(values: ndarray, truth: ndarray, classes: int = 0) -> float:
    """The share of what there is to explain that this column explains by itself.

    Args:
        values: of one column, float64 or object array of str, (rows,).
        truth: int64 classes or float amounts, (rows,).
        classes: how many there are; 0 for amounts.

    Returns:
        From 0 (no better than always the same answer) to 1 (every answer right): for classes the share of errors that
        are avoided, for amounts R² [1].
    """
    groups = _groups(values)
    halves = np.random.default_rng(0).random(len(values)) < 0.5  # every other row would follow a pattern in the rows
    scores = [_score(groups, truth, learn, classes) for learn in (halves, ~halves)]
    return float(np.clip(np.mean(scores), 0.0, 1.0))


def _groups(values: ndarray) -> ndarray:
    """Each row's group, int64 (rows,): its value, or the quantile bin it falls into; gaps are a group."""
    if values.dtype == object:
        return np.unique(values.astype(str), return_inverse=True)[1]
    different = np.unique(values[~np.isnan(values)])
    if len(different) > _BINS:
        edges = np.unique(np.nanquantile(values, np.linspace(0, 1, _BINS + 1)[1:-1]))
        different = edges
    return np.where(np.isnan(values), len(different) + 1, np.searchsorted(different, values, side="right"))


def _score(groups: ndarray, truth: ndarray, learn: ndarray, classes: int) -> float:
    size = int(groups.max()) + 1
    seen, asked = groups[learn], groups[~learn]
    if classes:
        table = np.bincount(seen * classes + truth[learn], minlength=size * classes).reshape(size, classes)
        common = int(table.sum(0).argmax())
        answer = np.where(table.sum(1) > 0, table.argmax(1), common)
        base = float((truth[~learn] != common).mean())
        wrong = float((truth[~learn] != answer[asked]).mean())
        return 1 - wrong / base if base else 0.0
    count = np.bincount(seen, minlength=size)
    mean = float(truth[learn].mean())
    sums = np.bincount(seen, weights=truth[learn], minlength=size)
    answers = np.where(count > 0, sums / np.maximum(count, 1), mean)
    spread = float(((truth[~learn] - mean) ** 2).mean())
    return 1 - float(((truth[~learn] - answers[asked]) ** 2).mean()) / spread if spread else 0.0
