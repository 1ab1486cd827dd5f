"""The mean absolute error, in the target's own unit.

Every unit of error counts the same, so a few wild rows matter less than in ``rmse``.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from engram.evaluation.metrics._errors import errors
from engram.evaluation.metrics._once import mean, once

__all__ = ["BEST", "NEEDS", "TASKS", "TITLE", "resample", "score"]

TITLE = "MAE"
BEST = "min"
NEEDS = "values"
TASKS = ("regression",)


def score(truth: ndarray, prediction: ndarray) -> float:
    """Mean absolute error [the target's unit].

    Args:
        truth: float (rows,), in the unit of the target.
        prediction: float (rows,), in the same unit.

    Returns:
        0 and up; NaN without rows.
    """
    return float(resample(truth, prediction, once(truth))[0])


def resample(truth: ndarray, prediction: ndarray, counts: ndarray) -> ndarray:
    """The score of every sample, (samples,); ``counts`` (samples, rows) says how often each row is in each."""
    return mean(np.abs(errors(truth, prediction)), counts)
