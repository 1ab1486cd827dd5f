"""Mean and spread of columns with gaps, also of values so large that their squares overflow.

numpy's own functions are right up to about 1e150. Beyond, values are halved often enough first: dividing by a power of
two loses nothing.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray

__all__ = ["columns", "mean", "quantile", "standard_deviation"]

_SAFE_EXPONENT = 500  # squares of values below 2**500 can be summed over any number of rows


def columns(values: ndarray) -> list[ndarray]:
    """The values that are present of each column of (rows, columns)."""
    return [column[~np.isnan(column)] for column in values.T]


def mean(values: ndarray) -> float:
    """The mean of values without gaps, (rows,); 0 if there are none."""
    if not len(values):
        return 0.0
    unit = _unit(values)
    return float(np.mean(values / unit)) * unit


def standard_deviation(values: ndarray) -> float:
    """The standard deviation of the population of values without gaps, (rows,); 0 if there are none."""
    if not len(values):
        return 0.0
    unit = _unit(values)
    return float(np.std(values / unit)) * unit


def quantile(values: ndarray, share: float) -> float:
    """The value with this share of the values below it, linear between two rows; 0 if there are none."""
    if not len(values):
        return 0.0
    unit = _unit(values)
    return float(np.quantile(values / unit, share)) * unit


def _unit(values: ndarray) -> float:
    """A power of two by which values are divided so that their squares do not overflow; 1 for all but monsters."""
    _, exponent = np.frexp(np.max(np.abs(values)))
    return float(2.0 ** max(0, int(exponent) - _SAFE_EXPONENT))
