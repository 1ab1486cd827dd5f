"""The share of each class that is found, averaged over the classes.

Guessing scores one over the number of classes, however rare a class is. Classes absent from the truth are left out.
"""

from __future__ import annotations

from numpy import ndarray

from engram.evaluation.metrics._once import once
from engram.evaluation.metrics._tally import tally

__all__ = ["BEST", "NEEDS", "TASKS", "TITLE", "resample", "score"]

TITLE = "Balanced accuracy"
BEST = "max"
NEEDS = "labels"
TASKS = ("binary", "multiclass")


def score(truth: ndarray, prediction: ndarray) -> float:
    """The mean recall over the classes present in the truth [1].

    Args:
        truth: class index, int64 (rows,).
        prediction: class index, int64 (rows,).

    Returns:
        0 to 1; NaN without rows.

    Source: Brodersen et al. 2010, The balanced accuracy and its posterior distribution.
    """
    return float(resample(truth, prediction, once(truth))[0])


def resample(truth: ndarray, prediction: ndarray, counts: ndarray) -> ndarray:
    """The score of every sample, (samples,); ``counts`` (samples, rows) says how often each row is in each."""
    return tally(truth, prediction, counts).balanced()
