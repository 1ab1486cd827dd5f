"""Of the rows of a class, the share that are found; the plain mean over the classes.

Rare classes weigh as much as common ones. A class never seen and never predicted is left out, and a ratio that is
undefined counts as 0, both as in scikit-learn.
"""

from __future__ import annotations

from numpy import ndarray

from engram.evaluation.metrics._once import once
from engram.evaluation.metrics._tally import tally

__all__ = ["BEST", "NEEDS", "TASKS", "TITLE", "resample", "score"]

TITLE = "Recall, macro"
BEST = "max"
NEEDS = "labels"
TASKS = ("binary", "multiclass")


def score(truth: ndarray, prediction: ndarray) -> float:
    """Recall, averaged over classes [1].

    Args:
        truth: class index, int64 (rows,).
        prediction: class index, int64 (rows,).

    Returns:
        0 to 1; NaN without rows.
    """
    return float(resample(truth, prediction, once(truth))[0])


def resample(truth: ndarray, prediction: ndarray, counts: ndarray) -> ndarray:
    """The score of every sample, (samples,); ``counts`` (samples, rows) says how often each row is in each."""
    counted = tally(truth, prediction, counts)
    return counted.macro(counted.recall)
