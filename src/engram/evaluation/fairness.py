"""Rates by group for columns that somebody names, and the largest gap between their groups.

Three rates, because no one of them is fairness: who is judged rightly, who is selected, and who of those that should be
is. Bounds of the largest gap are corrected for all pairs of groups, as the two furthest apart were picked by looking.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
from numpy import ndarray

from engram.evaluation.answers import Answers
from engram.evaluation.slices import SMALLEST, slices
from engram.evaluation.weak import wilson
from engram.records import Gap

__all__ = ["gaps", "newcombe", "rates"]

_LEVEL = 0.05
_RATES = ("accuracy", "selection_rate", "true_positive_rate")


def rates(columns: Mapping[str, ndarray], answers: Answers, *, binary: bool = True) -> dict[str, dict[str, float]]:
    """Group (``COLUMN=VALUE``) → ``rows``, and each rate with its number of rows and the bounds of its 95 % interval.

    Groups of fewer than 30 rows are left out. Selected is who is answered the second of two classes; with more classes
    there is accuracy alone, and for numbers nothing.

    Args:
        columns: column → values, (rows,), as ``slices`` takes them.
        answers: of the same rows.
        binary: whether there are two classes.
    """
    if answers.labels is None or not columns:
        return {}
    result = {}
    for group in slices(columns, tuple(columns)):
        own = answers.take(group.rows)
        result[group.name] = {"rows": float(len(own)), **_rates(own, binary)}
    return result


def gaps(found: Mapping[str, Mapping[str, float]]) -> tuple[Gap, ...]:
    """For each column and rate the two groups furthest apart, among those with 30 rows or more of the rate."""
    groups: dict[str, list[str]] = {}
    for name in found:
        groups.setdefault(name.partition("=")[0], []).append(name)
    made = []
    for (column, names), rate in itertools.product(groups.items(), _RATES):
        fit = [name for name in names if found[name].get(f"{rate}.rows", 0) >= SMALLEST]
        if len(fit) > 1:
            made.append(_gap(column, rate, {name: found[name] for name in fit}))
    return tuple(made)


def newcombe(first: tuple[float, int], second: tuple[float, int], level: float = _LEVEL) -> tuple[float, float]:
    """The interval of the difference of two shares, each given as (of how many it is so, rows).

    Source: Newcombe 1998, Interval estimation for the difference between independent proportions, method 10.
    """
    a, b = first[0] / first[1], second[0] / second[1]
    (low_a, high_a), (low_b, high_b) = wilson(*first, level), wilson(*second, level)
    return a - b - math.hypot(a - low_a, high_b - b), a - b + math.hypot(high_a - a, b - low_b)


def _rates(own: Answers, binary: bool) -> dict[str, float]:
    assert own.labels is not None
    counted = {"accuracy": own.labels == own.truth}
    if binary:
        counted |= {"selection_rate": own.labels == 1, "true_positive_rate": own.labels[own.truth == 1] == 1}
    made: dict[str, float] = {}
    for name, hits in counted.items():
        low, high = wilson(float(np.sum(hits)), len(hits)) if len(hits) else (math.nan, math.nan)
        share = float(np.mean(hits)) if len(hits) else math.nan
        made |= {name: share, f"{name}.low": low, f"{name}.high": high, f"{name}.rows": float(len(hits))}
    return made


def _gap(column: str, rate: str, found: Mapping[str, Mapping[str, float]]) -> Gap:
    ordered = sorted(found, key=lambda name: -found[name][rate])
    most, least = ordered[0], ordered[-1]
    counts = [(found[n][rate] * found[n][f"{rate}.rows"], int(found[n][f"{rate}.rows"])) for n in (most, least)]
    low, high = newcombe(counts[0], counts[1], _LEVEL / math.comb(len(found), 2))
    difference = found[most][rate] - found[least][rate]
    return Gap(column, rate, most.partition("=")[2], least.partition("=")[2], difference, low, high)
