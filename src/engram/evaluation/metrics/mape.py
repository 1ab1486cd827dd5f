"""The mean absolute error as a share of the true value.

Meaningless where true values come near 0: the share is then divided by the resolution of float64, as in
scikit-learn, and astronomically large. A report leaves it out when a true value is 0.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from engram.evaluation.metrics._errors import errors
from engram.evaluation.metrics._once import mean, once

__all__ = ["BEST", "NEEDS", "TASKS", "TITLE", "resample", "score"]

TITLE = "MAPE"
BEST = "min"
NEEDS = "values"
TASKS = ("regression",)


def score(truth: ndarray, prediction: ndarray) -> float:
    """Mean absolute error relative to the truth [1].

    Args:
        truth: float (rows,), in the unit of the target.
        prediction: float (rows,), in the same unit.

    Returns:
        0 and up, 0.1 being 10 %; NaN without rows.
    """
    return float(resample(truth, prediction, once(truth))[0])


def resample(truth: ndarray, prediction: ndarray, counts: ndarray) -> ndarray:
    """The score of every sample, (samples,); ``counts`` (samples, rows) says how often each row is in each."""
    size = np.maximum(np.abs(truth.astype(np.float64)), np.finfo(np.float64).eps)
    return mean(np.abs(errors(truth, prediction)) / size, counts)
