"""Of the rows of the second of two classes, the share that are found.

The second class is the one whose chance the network gives. For more classes there are ``recall_macro`` and
``recall_weighted``. A ratio that is undefined counts as 0, as in scikit-learn.
"""

from __future__ import annotations

from numpy import ndarray

from engram.evaluation.metrics._once import once
from engram.evaluation.metrics._tally import tally

__all__ = ["BEST", "NEEDS", "TASKS", "TITLE", "resample", "score"]

TITLE = "Recall"
BEST = "max"
NEEDS = "labels"
TASKS = ("binary",)


def score(truth: ndarray, prediction: ndarray) -> float:
    """Recall of class 1 [1].

    Args:
        truth: class index, int64 (rows,).
        prediction: class index, int64 (rows,).

    Returns:
        0 to 1.
    """
    return float(resample(truth, prediction, once(truth))[0])


def resample(truth: ndarray, prediction: ndarray, counts: ndarray) -> ndarray:
    """The score of every sample, (samples,); ``counts`` (samples, rows) says how often each row is in each."""
    return tally(truth, prediction, counts).recall[:, 1]
