"""Whether a chance of 80 % means that it happens in 80 % of the rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy import ndarray

__all__ = ["BINS", "Reliability", "bins", "confidence", "reliability"]

BINS = 10


@dataclass(frozen=True, slots=True)
class Reliability:
    """The reliability curve: one entry a bin that has rows.

    Attributes:
        chance: mean chance given.
        happened: share of the rows in which it happened.
        rows: in the bin.
    """

    chance: ndarray
    happened: ndarray
    rows: ndarray


def confidence(truth: ndarray, chances: ndarray) -> tuple[ndarray, ndarray]:
    """The chance to be judged and whether it happened, each float64 (rows,).

    Two classes: the chance of the second. More: the chance of the class answered, which is the largest.
    """
    given = chances.astype(np.float64)
    if given.shape[1] == 2:
        return given[:, 1], (truth == 1).astype(np.float64)
    return given.max(axis=1), (given.argmax(axis=1) == truth).astype(np.float64)


def bins(chance: ndarray) -> ndarray:
    """The bin of each chance, int64 (rows,): ten of equal width, the upper bound belonging to the bin."""
    edges = np.linspace(0, 1, BINS + 1)[1:-1]
    return np.searchsorted(edges, chance, side="left")


def reliability(truth: ndarray, chances: ndarray) -> Reliability:
    """The reliability curve of these chances (rows, classes)."""
    chance, happened = confidence(truth, chances)
    place = bins(chance)
    rows = np.bincount(place, minlength=BINS)
    used = rows > 0
    return Reliability(
        chance=np.bincount(place, weights=chance, minlength=BINS)[used] / rows[used],
        happened=np.bincount(place, weights=happened, minlength=BINS)[used] / rows[used],
        rows=rows[used],
    )
