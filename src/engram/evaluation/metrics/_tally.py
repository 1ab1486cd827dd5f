"""Right, true and predicted rows a class: all that accuracy, precision, recall and F1 look at.

Undefined ratios (a class that is never predicted has no precision) count as 0, as scikit-learn does by default.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy import ndarray

__all__ = ["Tally", "tally"]


@dataclass(frozen=True, slots=True)
class Tally:
    """Rows a class in every sample, each (samples, classes).

    Attributes:
        right: of the class and predicted so.
        true: of the class.
        predicted: said to be of the class.
    """

    right: ndarray
    true: ndarray
    predicted: ndarray

    @property
    def precision(self) -> ndarray:
        """The share of rows said to be of a class that are, (samples, classes)."""
        return _ratio(self.right, self.predicted)

    @property
    def recall(self) -> ndarray:
        """The share of rows of a class that are found, (samples, classes)."""
        return _ratio(self.right, self.true)

    @property
    def f1(self) -> ndarray:
        """The harmonic mean of precision and recall, (samples, classes)."""
        return _ratio(2 * self.right, self.true + self.predicted)

    def macro(self, shares: ndarray) -> ndarray:
        """The plain mean over the classes that are present or predicted, (samples,)."""
        seen = (self.true + self.predicted) > 0
        return _undefined(np.where(seen, shares, 0.0).sum(axis=1), seen.sum(axis=1))

    def weighted(self, shares: ndarray) -> ndarray:
        """The mean over classes, each as heavy as it has rows, (samples,)."""
        return _undefined((shares * self.true).sum(axis=1), self.true.sum(axis=1))

    def balanced(self) -> ndarray:
        """The mean recall over the classes that are present, (samples,)."""
        present = self.true > 0
        return _undefined(np.where(present, self.recall, 0.0).sum(axis=1), present.sum(axis=1))


def tally(truth: ndarray, prediction: ndarray, counts: ndarray) -> Tally:
    """Count right, true and predicted rows a class.

    Args:
        truth: class index, int64 (rows,).
        prediction: class index, int64 (rows,).
        counts: how often each row is in each sample, (samples, rows).
    """
    classes = int(max(truth.max(initial=1), prediction.max(initial=1))) + 1
    hit = truth == prediction
    return Tally(
        right=_sums(truth[hit], counts[:, hit], classes),
        true=_sums(truth, counts, classes),
        predicted=_sums(prediction, counts, classes),
    )


def _sums(index: ndarray, counts: ndarray, classes: int) -> ndarray:
    sums = np.zeros((len(counts), classes))
    for sample, weights in enumerate(counts):
        sums[sample] = np.bincount(index, weights=weights, minlength=classes)
    return sums


def _ratio(part: ndarray, whole: ndarray) -> ndarray:
    ratio: ndarray = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return ratio


def _undefined(part: ndarray, whole: ndarray) -> ndarray:
    ratio: ndarray = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return ratio
