"""How well rows of a class are ranked above the others: the area under the ROC curve.

0.5 is guessing. Two classes: of the second. More: each against the rest, plain mean; a class that has no rows, or
nothing but rows, has no curve and is left out of it.
"""

from __future__ import annotations

from numpy import ndarray

from engram.evaluation.metrics._once import once
from engram.evaluation.metrics._ranking import over_classes, roc_area

__all__ = ["BEST", "NEEDS", "TASKS", "TITLE", "resample", "score"]

TITLE = "ROC AUC"
BEST = "max"
NEEDS = "probabilities"
TASKS = ("binary", "multiclass")


def score(truth: ndarray, prediction: ndarray) -> float:
    """The chance that a row of the class is ranked above one that is not [1].

    Args:
        truth: class index, int64 (rows,).
        prediction: float (rows, classes).

    Returns:
        0 to 1; NaN if no class has a curve.

    Source: Fawcett 2006, An introduction to ROC analysis.
    """
    return float(resample(truth, prediction, once(truth))[0])


def resample(truth: ndarray, prediction: ndarray, counts: ndarray) -> ndarray:
    """The score of every sample, (samples,); ``counts`` (samples, rows) says how often each row is in each."""
    return over_classes(roc_area, truth, prediction, counts)
