"""Areas under the ROC and the precision-recall curve, for many weighted samples of the same rows at once.

The rows are sorted once. Rows with the same chance form one step of the curve, however the sort happened to order
them, so ties cannot be gamed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy import ndarray

__all__ = ["average_precision", "over_classes", "roc_area", "steps"]


def over_classes(
    area: Callable[[ndarray, ndarray, ndarray], ndarray], truth: ndarray, chances: ndarray, counts: ndarray
) -> ndarray:
    """An area for the second of two classes, or the mean over more classes, one against the rest, (samples,).

    Classes without a single row, or with nothing but rows, have no curve and are left out of the mean; NaN if that
    leaves none.
    """
    if chances.shape[1] == 2:
        return area(truth == 1, chances[:, 1], counts)
    areas = np.stack([area(truth == label, chances[:, label], counts) for label in range(chances.shape[1])])
    defined = ~np.isnan(areas)
    totals = np.where(defined, areas, 0.0).sum(axis=0)
    mean: ndarray = np.divide(totals, defined.sum(axis=0), out=np.full(len(totals), np.nan), where=defined.any(axis=0))
    return mean


def roc_area(positive: ndarray, chance: ndarray, counts: ndarray) -> ndarray:
    """The chance that a positive row is ranked above a negative one, ties counting half, (samples,).

    NaN where a sample has only positive or only negative rows.
    """
    found, false = steps(positive, chance, counts)
    total, others = found[:, -1], false[:, -1]
    middle = (found[:, 1:] + found[:, :-1]) / 2
    area = (middle * np.diff(false, axis=1)).sum(axis=1)
    return _over(area, total * others)


def average_precision(positive: ndarray, chance: ndarray, counts: ndarray) -> ndarray:
    """The mean of the precision over the steps of recall, (samples,); NaN where a sample has no positive row."""
    found, false = steps(positive, chance, counts)
    said = found + false
    precision = np.divide(found, said, out=np.zeros_like(found), where=said > 0)
    area = (np.diff(found, axis=1) * precision[:, 1:]).sum(axis=1)
    return _over(area, found[:, -1])


def steps(positive: ndarray, chance: ndarray, counts: ndarray) -> tuple[ndarray, ndarray]:
    """True and false positives at every threshold, from the strictest to none, each (samples, thresholds + 1).

    Args:
        positive: whether a row is of the class, bool (rows,).
        chance: of being of the class, (rows,); one NaN makes everything NaN.
        counts: how often each row is in each sample, (samples, rows).
    """
    if np.isnan(chance).any() or not len(chance):
        nothing = np.full((len(counts), 2), np.nan)
        return nothing, nothing
    order = np.argsort(-chance, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(chance[order])), len(chance) - 1)
    sorted_counts = counts[:, order]
    everything = _from_zero(np.cumsum(sorted_counts, axis=1)[:, ends])
    found = _from_zero(np.cumsum(np.where(positive[order], sorted_counts, 0.0), axis=1)[:, ends])
    return found, everything - found


def _from_zero(cumulative: ndarray) -> ndarray:
    return np.pad(cumulative, ((0, 0), (1, 0)))


def _over(area: ndarray, whole: ndarray) -> ndarray:
    share: ndarray = np.divide(area, whole, out=np.full(len(area), np.nan), where=whole > 0)
    return share
