"""How clean the top of the ranking is: average precision, the area under the precision-recall curve.

Guessing scores the share of the class. Two classes: of the second. More: each against the rest, plain mean; a class
without rows has no curve and is left out of it.
"""

from __future__ import annotations

from numpy import ndarray

from engram.evaluation.metrics._once import once
from engram.evaluation.metrics._ranking import average_precision, over_classes

__all__ = ["BEST", "NEEDS", "TASKS", "TITLE", "resample", "score"]

TITLE = "PR AUC"
BEST = "max"
NEEDS = "probabilities"
TASKS = ("binary", "multiclass")


def score(truth: ndarray, prediction: ndarray) -> float:
    """The mean precision over the steps of recall [1].

    Args:
        truth: class index, int64 (rows,).
        prediction: float (rows, classes).

    Returns:
        0 to 1; NaN if no class has a curve.
    """
    return float(resample(truth, prediction, once(truth))[0])


def resample(truth: ndarray, prediction: ndarray, counts: ndarray) -> ndarray:
    """The score of every sample, (samples,); ``counts`` (samples, rows) says how often each row is in each."""
    return over_classes(average_precision, truth, prediction, counts)
