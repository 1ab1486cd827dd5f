"""How far the chances given are from what happens: the expected calibration error.

Rows are put into ten bins of equal width by the chance given, and the gap between mean chance and what happened is
averaged over rows. Two classes: of the chance of the second. More: of the chance of the class answered. It is a
measure of honesty, not of skill: always answering the share of each class scores 0.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from engram.evaluation.calibration import BINS, bins, confidence
from engram.evaluation.metrics._once import once, per_row

__all__ = ["BEST", "NEEDS", "TASKS", "TITLE", "resample", "score"]

TITLE = "Calibration error"
BEST = "min"
NEEDS = "probabilities"
TASKS = ("binary", "multiclass")


def score(truth: ndarray, prediction: ndarray) -> float:
    """Expected calibration error over ten bins [1].

    Args:
        truth: class index, int64 (rows,).
        prediction: float (rows, classes).

    Returns:
        0 to 1; NaN without rows.

    Source: Guo et al. 2017, On calibration of modern neural networks.
    """
    return float(resample(truth, prediction, once(truth))[0])


def resample(truth: ndarray, prediction: ndarray, counts: ndarray) -> ndarray:
    """The score of every sample, (samples,); ``counts`` (samples, rows) says how often each row is in each."""
    chance, happened = confidence(truth, prediction)
    inside = np.arange(BINS) == bins(chance)[:, None]
    gaps = np.abs(counts @ (inside * (happened - chance)[:, None]))
    return per_row(gaps.sum(axis=1), counts)
