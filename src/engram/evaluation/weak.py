"""Where a network is worst, found without being told where to look.

Every value of every column, numbers cut at their quartiles, and every pair of these is looked at. So many looks find
something in pure chance, and therefore the chance allowed to one look is 5 % divided by the number of looks
(Bonferroni), for the test as for the interval: what is listed holds for all looks at once. A pair is listed only where
it is also worse than the rest of each of its two parts, so that one bad value is not told again with each other column.

Wrong answers are counted by Fisher's exact test, which needs no large groups; errors of numbers are compared by rank,
because the few largest of them would decide a mean.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy import ndarray

from engram.evaluation.answers import Answers
from engram.evaluation.slices import SMALLEST, coded
from engram.records import Weak

__all__ = ["hypergeometric", "rank_sum", "weakest", "wilson"]

_LEVEL = 0.05
_MOST = 8
_COLUMNS = 40


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows that have a value, or two."""

    name: str
    rows: ndarray
    parents: tuple[ndarray, ...] = ()


def weakest(columns: Mapping[str, ndarray], answers: Answers, most: int = _MOST) -> tuple[Weak, ...]:
    """The parts of the rows where answers are worse than elsewhere, the least likely by chance first.

    Args:
        columns: column → values, (rows,): text with ``""`` for a gap, or float64 with NaN for a gap; others are
            passed over, as are all columns beyond forty.
        answers: truth and prediction of the same rows.
        most: parts at most.
    """
    errors = answers.errors()
    if len(errors) <= SMALLEST or not np.isfinite(errors).all() or errors.std() == 0:
        return ()
    looks, parts = _worse(columns, errors)
    ranks = None if answers.labels is not None else _ranks(errors)
    found = []
    for part in parts:
        p = _chance_of_all(errors, ranks, part, _LEVEL / looks)
        if p < _LEVEL / looks:
            own = errors[part.rows]
            low, high = _bounds(own, answers.labels is not None, _LEVEL / looks)
            found.append(Weak(part.name, len(own), float(own.mean()), low, high, float(errors.mean()), p, looks))
    return tuple(sorted(found, key=lambda weak: (weak.p, weak.name))[:most])


def hypergeometric(wrong: int, drawn: int, all_wrong: int, total: int) -> float:
    """The chance of ``wrong`` or more among ``drawn`` rows, if ``all_wrong`` of ``total`` were spread at random."""

    def choose(n: int, k: int) -> float:
        return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

    whole, p = choose(total, drawn), 0.0
    for k in range(max(wrong, drawn - (total - all_wrong), 0), min(drawn, all_wrong) + 1):
        term = math.exp(choose(all_wrong, k) + choose(total - all_wrong, drawn - k) - whole)
        p += term
        if k > drawn * all_wrong / total and term < p * 1e-17:
            break  # beyond the most likely number terms only fall
    return min(p, 1.0)


def rank_sum(ranks: ndarray, rows: ndarray) -> float:
    """The chance that these rows rank as high, or higher, if ranks were spread at random (normal approximation).

    Args:
        ranks: of all rows, ties sharing their mean, (rows,).
        rows: numbers of those in question.

    Source: Mann and Whitney 1947, On a test of whether one of two random variables is stochastically larger.
    """
    total, drawn = len(ranks), len(rows)
    spread = math.sqrt(drawn * (total - drawn) / total * float(ranks.var(ddof=1)))
    if spread == 0:
        return 1.0
    return 0.5 * math.erfc((float(ranks[rows].sum()) - drawn * (total + 1) / 2) / spread / math.sqrt(2))


def wilson(right: float, rows: int, level: float = _LEVEL) -> tuple[float, float]:
    """The interval of a share, ``right`` of ``rows``, that is true but for a chance of ``level``.

    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    z = NormalDist().inv_cdf(1 - level / 2)
    share, wide = right / rows, z * z / rows
    middle = (share + wide / 2) / (1 + wide)
    half = z * math.sqrt(share * (1 - share) / rows + wide / (4 * rows)) / (1 + wide)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _worse(columns: Mapping[str, ndarray], errors: ndarray) -> tuple[int, list[_Part]]:
    """How many parts were looked at, and those of them whose mean error is above that of all rows."""
    divided = {name: coded(values) for name, values in itertools.islice(columns.items(), _COLUMNS)}
    looks, made, single = 0, [], {}
    for name, (codes, labels) in divided.items():
        seen, worse = _cells(codes, len(labels), errors)
        looks += seen
        single[name] = [np.flatnonzero(codes == i) for i in range(len(labels))]
        made += [_Part(f"{name}={labels[i]}", single[name][i]) for i in worse]
    for (one, (a, first)), (other, (b, second)) in itertools.combinations(divided.items(), 2):
        both = np.where((a < 0) | (b < 0), -1, a * len(second) + b)
        seen, worse = _cells(both, len(first) * len(second), errors)
        looks += seen
        for cell in worse:
            i, j = divmod(cell, len(second))
            parents = (single[one][i], single[other][j])
            made.append(_Part(f"{one}={first[i]}, {other}={second[j]}", np.flatnonzero(both == cell), parents))
    return looks, made


def _cells(codes: ndarray, width: int, errors: ndarray) -> tuple[int, list[int]]:
    """How many of the codes have 30 rows or more and not all, and which of them have a mean error above the average."""
    used = codes >= 0
    rows = np.bincount(codes[used], minlength=width)
    sums = np.bincount(codes[used], weights=errors[used], minlength=width)
    judged = (rows >= SMALLEST) & (rows < len(codes))
    return int(judged.sum()), [int(i) for i in np.flatnonzero(judged & (sums > rows * errors.mean()))]


def _chance_of_all(errors: ndarray, ranks: ndarray | None, part: _Part, enough: float) -> float:
    """The largest chance, among all rows and among those of each parent; the rest is not asked once one is enough."""
    p = 0.0
    for within in (None, *part.parents):
        p = max(p, _chance(errors, ranks, part.rows, within))
        if p >= enough:
            break
    return p


def _chance(errors: ndarray, ranks: ndarray | None, rows: ndarray, within: ndarray | None) -> float:
    """That these rows are as bad as they are, by chance alone, among all rows or those of a part that holds them."""
    around = errors if within is None else errors[within]
    if len(around) == len(rows):
        return 1.0  # the pair is the part itself, which is listed without the other column
    if ranks is None:
        return hypergeometric(int(errors[rows].sum()), len(rows), int(around.sum()), len(around))
    if within is None:
        return rank_sum(ranks, rows)
    return rank_sum(_ranks(around), np.flatnonzero(np.isin(within, rows, assume_unique=True)))


def _ranks(values: ndarray) -> ndarray:
    """Ranks from 1, ties sharing their mean, (rows,)."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    shared: ndarray = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return shared


def _bounds(errors: ndarray, shares: bool, level: float) -> tuple[float, float]:
    if shares:
        return wilson(float(errors.sum()), len(errors), level)
    mean = float(errors.mean())
    half = NormalDist().inv_cdf(1 - level / 2) * float(errors.std(ddof=1)) / math.sqrt(len(errors))
    return max(mean - half, 0.0), mean + half
