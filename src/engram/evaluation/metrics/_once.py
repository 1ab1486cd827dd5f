"""The sample that holds every row once, and the mean over weighted samples.

Every metric here is written for many weighted samples at a time, because a bootstrap of 200 samples is then a few
matrix products instead of 200 passes; the metric itself is the special case of one sample.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray

__all__ = ["mean", "once", "per_row"]


def once(truth: ndarray) -> ndarray:
    """Counts of the sample that holds every row once, (1, rows)."""
    return np.ones((1, len(truth)))


def mean(values: ndarray, counts: ndarray) -> ndarray:
    """The mean of values (rows,) in every sample of counts (samples, rows); NaN for a sample without rows."""
    with np.errstate(invalid="ignore"):  # an infinite error of a row that is not in the sample makes NaN, as it should
        return per_row(counts @ np.asarray(values, dtype=np.float64), counts)


def per_row(sums: ndarray, counts: ndarray) -> ndarray:
    """Sums (samples,) divided by the rows of their samples; NaN for a sample without rows."""
    rows = counts.sum(axis=1)
    shares: ndarray = np.divide(sums, rows, out=np.full(len(sums), np.nan), where=rows > 0)
    return shares
