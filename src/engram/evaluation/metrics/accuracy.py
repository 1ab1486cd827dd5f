"""The share of rows that are right.

Misleading where one class is rare: always answering the common class already scores its share.
"""

from __future__ import annotations

from numpy import ndarray

from engram.evaluation.metrics._once import mean, once

__all__ = ["BEST", "NEEDS", "TASKS", "TITLE", "resample", "score"]

TITLE = "Accuracy"
BEST = "max"
NEEDS = "labels"
TASKS = ("binary", "multiclass")


def score(truth: ndarray, prediction: ndarray) -> float:
    """The share of rows that are right [1].

    Args:
        truth: class index, int64 (rows,).
        prediction: class index, int64 (rows,).

    Returns:
        0 to 1; NaN without rows.
    """
    return float(resample(truth, prediction, once(truth))[0])


def resample(truth: ndarray, prediction: ndarray, counts: ndarray) -> ndarray:
    """The score of every sample, (samples,); ``counts`` (samples, rows) says how often each row is in each."""
    return mean(truth == prediction, counts)
