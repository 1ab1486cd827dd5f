"""The mean squared distance between the chances given and what happened.

Two classes: of the chance of the second, 0 to 1. More: summed over the classes, 0 to 2. Both as in scikit-learn.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from engram.evaluation.metrics._once import mean, once

__all__ = ["BEST", "NEEDS", "TASKS", "TITLE", "resample", "score"]

TITLE = "Brier score"
BEST = "min"
NEEDS = "probabilities"
TASKS = ("binary", "multiclass")


def score(truth: ndarray, prediction: ndarray) -> float:
    """Mean squared error of the chances [1].

    Args:
        truth: class index, int64 (rows,).
        prediction: float (rows, classes).

    Returns:
        0 to 1, or 0 to 2 for more than two classes; NaN without rows.

    Source: Brier 1950, Verification of forecasts expressed in terms of probability.
    """
    return float(resample(truth, prediction, once(truth))[0])


def resample(truth: ndarray, prediction: ndarray, counts: ndarray) -> ndarray:
    """The score of every sample, (samples,); ``counts`` (samples, rows) says how often each row is in each."""
    chances = prediction.astype(np.float64)
    if chances.shape[1] == 2:
        return mean((chances[:, 1] - truth) ** 2, counts)
    happened = np.arange(chances.shape[1]) == truth[:, None]
    return mean(((chances - happened) ** 2).sum(axis=1), counts)
