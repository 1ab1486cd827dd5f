"""Areas under the ROC and the precision-recall curve, for many weighted samples of the same rows at once.

The rows are sorted once for all samples, and both areas are sums over the rows of the class only, which are few where
there are many classes. Rows with the same chance form one step of the curve, however the sort happened to order them,
so ties cannot be gamed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

__all__ = ["average_precision", "curve", "over_classes", "roc_area"]


@dataclass(frozen=True, slots=True)
class _Steps:
    """The steps of the curve that find rows of the class, from the strictest threshold down, (steps, samples) each.

    Attributes:
        gained: rows of the class that the step finds.
        found: rows of the class found up to and with the step.
        before, after: rows of any class above the step, and up to and with it.
        rows: in the sample, (samples,).
    """

    gained: ndarray
    found: ndarray
    before: ndarray
    after: ndarray
    rows: ndarray


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
    return _over(totals, defined.sum(axis=0)) if not np.isnan(chances).any() else np.full(len(counts), np.nan)


def roc_area(positive: ndarray, chance: ndarray, counts: ndarray) -> ndarray:
    """The chance that a positive row is ranked above a negative one, ties counting half, (samples,).

    Args:
        positive: whether a row is of the class, bool (rows,).
        chance: of being of the class, (rows,); one NaN makes the area NaN.
        counts: how often each row is in each sample, (samples, rows).

    Returns:
        NaN where a sample has only positive or only negative rows.
    """
    if not _ranks(positive, chance):
        return np.full(len(counts), np.nan)
    steps = _steps(positive, chance, counts)
    others = steps.rows - steps.found[-1]
    above = (steps.before - steps.found + steps.gained + steps.after - steps.found) / 2
    area = (steps.gained * (others - above)).sum(axis=0)
    return _over(area, steps.found[-1] * others)


def average_precision(positive: ndarray, chance: ndarray, counts: ndarray) -> ndarray:
    """The mean of the precision over the steps of recall, (samples,); arguments as for ``roc_area``.

    Returns:
        NaN where a sample has no positive row.
    """
    if not _ranks(positive, chance):
        return np.full(len(counts), np.nan)
    steps = _steps(positive, chance, counts)
    precision = np.divide(steps.found, steps.after, out=np.zeros_like(steps.found), where=steps.after > 0)
    return _over((steps.gained * precision).sum(axis=0), steps.found[-1])


def curve(positive: ndarray, chance: ndarray) -> tuple[ndarray, ndarray]:
    """True and false positives at every threshold, from the strictest to none, each (thresholds + 1,)."""
    order = np.argsort(-chance, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(chance[order])), len(chance) - 1)
    found = np.cumsum(positive[order])[ends]
    return np.append(0, found), np.append(0, ends + 1 - found)


def _steps(positive: ndarray, chance: ndarray, counts: ndarray) -> _Steps:
    order = np.argsort(-chance, kind="stable")
    # One row of memory for each row of data, so that all samples of it are summed at once.
    weights = np.ascontiguousarray(counts.T)[order]
    total = np.cumsum(weights, axis=0)
    starts = np.append(0, np.flatnonzero(np.diff(chance[order])) + 1)
    ends = np.append(starts[1:], len(chance))
    places = np.flatnonzero(positive[order])
    groups, first = np.unique(np.searchsorted(ends, places, side="right"), return_index=True)
    gained = np.add.reduceat(weights[places], first, axis=0)
    above = starts[groups]
    return _Steps(
        gained=gained,
        found=np.cumsum(gained, axis=0),
        before=np.where((above > 0)[:, None], total[above - 1], 0.0),
        after=total[ends[groups] - 1],
        rows=total[-1],
    )


def _ranks(positive: ndarray, chance: ndarray) -> bool:
    """Whether there is a row to be found and every chance is a number."""
    return bool(positive.any()) and not bool(np.isnan(chance).any())


def _over(part: ndarray, whole: ndarray) -> ndarray:
    share: ndarray = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return share
