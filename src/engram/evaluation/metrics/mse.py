"""The mean squared error, in the square of the target's unit.

Large errors dominate. ``rmse`` says the same in the target's own unit.
"""

from __future__ import annotations

from numpy import ndarray

from engram.evaluation.metrics._errors import errors
from engram.evaluation.metrics._once import mean, once

__all__ = ["BEST", "NEEDS", "TASKS", "TITLE", "resample", "score"]

TITLE = "MSE"
BEST = "min"
NEEDS = "values"
TASKS = ("regression",)


def score(truth: ndarray, prediction: ndarray) -> float:
    """Mean squared error [square of the target's unit].

    Args:
        truth: float (rows,), in the unit of the target.
        prediction: float (rows,), in the same unit.

    Returns:
        0 and up; NaN without rows.
    """
    return float(resample(truth, prediction, once(truth))[0])


def resample(truth: ndarray, prediction: ndarray, counts: ndarray) -> ndarray:
    """The score of every sample, (samples,); ``counts`` (samples, rows) says how often each row is in each."""
    return mean(errors(truth, prediction) ** 2, counts)
