"""The share of the target's variance that is explained.

0 is no better than always answering the mean, and below 0 is worse. A constant target has no variance: then a
perfect answer is 1 and any other 0, as in scikit-learn.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from engram.evaluation.metrics._errors import errors
from engram.evaluation.metrics._once import mean, once

__all__ = ["BEST", "NEEDS", "TASKS", "TITLE", "resample", "score"]

TITLE = "R²"
BEST = "max"
NEEDS = "values"
TASKS = ("regression",)


def score(truth: ndarray, prediction: ndarray) -> float:
    """Coefficient of determination [1].

    Args:
        truth: float (rows,), in the unit of the target.
        prediction: float (rows,), in the same unit.

    Returns:
        At most 1; NaN for fewer than two rows.
    """
    return float(resample(truth, prediction, once(truth))[0])


def resample(truth: ndarray, prediction: ndarray, counts: ndarray) -> ndarray:
    """The score of every sample, (samples,); ``counts`` (samples, rows) says how often each row is in each."""
    shifted = truth.astype(np.float64) - truth.mean(dtype=np.float64)
    unexplained = mean(errors(truth, prediction) ** 2, counts)
    variance = mean(shifted**2, counts) - mean(shifted, counts) ** 2
    # Resampling one row over and over leaves rounding, not variance.
    constant = variance <= np.finfo(np.float64).eps * (shifted**2).max(initial=0.0)
    share = 1 - np.divide(unexplained, variance, out=np.zeros_like(variance), where=~constant)
    return np.where(constant & (unexplained > 0), 0.0, np.where(counts.sum(axis=1) < 2, np.nan, share))
