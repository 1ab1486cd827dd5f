"""The mean surprise at the true class: minus the logarithm of the chance it was given.

Being sure and wrong costs most. Chances are kept away from 0 and 1 by the resolution of their own type, as in
scikit-learn, so that one wrong certainty is not infinite.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from engram.evaluation.metrics._once import mean, once

__all__ = ["BEST", "NEEDS", "TASKS", "TITLE", "resample", "score"]

TITLE = "Log loss"
BEST = "min"
NEEDS = "probabilities"
TASKS = ("binary", "multiclass")


def score(truth: ndarray, prediction: ndarray) -> float:
    """Mean cross-entropy [nat].

    Args:
        truth: class index, int64 (rows,).
        prediction: float (rows, classes).

    Returns:
        0 and up; NaN without rows.
    """
    return float(resample(truth, prediction, once(truth))[0])


def resample(truth: ndarray, prediction: ndarray, counts: ndarray) -> ndarray:
    """The score of every sample, (samples,); ``counts`` (samples, rows) says how often each row is in each."""
    chance = prediction[np.arange(len(truth)), truth]
    smallest = np.finfo(chance.dtype).eps
    return mean(-np.log(np.clip(chance, smallest, 1 - smallest).astype(np.float64)), counts)
