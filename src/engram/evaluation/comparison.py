"""Whether one network is better than another on the same rows, said in words.

The two are compared row by row and not interval by interval: intervals of two networks may overlap although one of
them is right wherever the other is. Accuracy is decided by McNemar's test, which is exact for few rows and asks
nothing of chance; every other metric by the bootstrap of its difference, both networks on the same samples. Where
neither is shown to be better, the rows that would be needed are said, so that nobody takes "not shown" for "equal".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from types import ModuleType

import numpy as np
from numpy import ndarray

from engram.evaluation.answers import Answers
from engram.evaluation.intervals import resampled
from engram.evaluation.measure import title
from engram.evaluation.verdict import number

__all__ = ["Comparison", "Difference", "Disagreement", "compared", "disagreement"]

SAMPLES = 1000
_LEVEL = 0.05
_POWER = 0.8
_FEWEST = 30
_EXACT = 1000


@dataclass(frozen=True, slots=True)
class Disagreement:
    """The rows that only one of two classifiers has right, and McNemar's test of them.

    Attributes:
        first: rows that only the first has right.
        second: rows that only the second has right.
        p: chance of so uneven a division, or a more uneven one, if both were equally good.
        exact: whether ``p`` is the binomial one, and not its normal approximation.
    """

    first: int
    second: int
    p: float
    exact: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of two networks on the same rows.

    Attributes:
        metric: as on its shelf.
        first, second: score of each.
        low, high: bounds of ``second - first``, by the paired bootstrap.
        verdict: of the second: ``better``, ``worse``, ``the same`` (not one sample differs) or ``cannot tell``.
        needed: rows by which a difference as large as this one would be found four times of five; 0 where the verdict
            stands, or where nothing differs and no number of rows is known to be enough.
    """

    metric: str
    first: float
    second: float
    low: float
    high: float
    verdict: str
    needed: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """A network against the first one.

    Attributes:
        first, second: references.
        verdict: one sentence on the deciding metric.
        differences: every metric that both have, the deciding one first.
        disagreement: of classifiers; None for numbers.
        level: chance of a wrong "better" or "worse" on the deciding metric.
    """

    first: str
    second: str
    verdict: str
    differences: tuple[Difference, ...]
    disagreement: Disagreement | None
    level: float


def compared(
    names: tuple[str, str],
    answers: tuple[Answers, Answers],
    metrics: Mapping[str, ModuleType],
    *,
    looks: int = 1,
    seed: int = 0,
) -> Comparison:
    """How the second network does against the first.

    Args:
        names: what the two are called.
        answers: of each, for the same rows in the same order.
        metrics: those that both have, the deciding one first.
        looks: comparisons that are made beside this one and with it; the level is divided by it (Bonferroni).
        seed: of the bootstrap samples.
    """
    level = _LEVEL / looks
    found = disagreement(*answers)
    differences = _differences(answers, metrics, level, seed)
    if found is not None:
        differences = [_tested(d, found, len(answers[0]), level) if d.metric == "accuracy" else d for d in differences]
    sentence = _sentence(names, differences[0], found, len(answers[0]))
    return Comparison(*names, sentence, tuple(differences), found, level)


def disagreement(first: Answers, second: Answers) -> Disagreement | None:
    """Where only one of two classifiers is right; None for regression.

    Source: McNemar 1947, Note on the sampling error of the difference between correlated proportions; the exact form
    as in Agresti 2013, Categorical data analysis, ch. 11.1; beyond 1,000 such rows the one with Edwards' correction.
    """
    if first.labels is None or second.labels is None:
        return None
    right = first.labels == first.truth, second.labels == second.truth
    only = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    return Disagreement(*only, _mcnemar(*only), sum(only) <= _EXACT)


def _mcnemar(first: int, second: int) -> float:
    total, fewer = first + second, min(first, second)
    if total <= _EXACT:
        return min(1.0, float(2 * sum(math.comb(total, i) for i in range(fewer + 1)) / 2**total))
    return math.erfc(max(abs(first - second) - 1, 0) / math.sqrt(2 * total))


def _differences(
    answers: tuple[Answers, Answers], metrics: Mapping[str, ModuleType], level: float, seed: int
) -> list[Difference]:
    drawn = [resampled(list(metrics.values()), own, samples=SAMPLES, seed=seed) for own in answers]
    made = []
    for (name, metric), before, after in zip(metrics.items(), *drawn, strict=True):
        first, second = (float(metric.score(own.truth, own.wanted(metric.NEEDS))) for own in answers)
        made.append(_judged(name, metric.BEST, (first, second), after - before, rows=len(answers[0]), level=level))
    return made


def _judged(
    name: str, best: str, scores: tuple[float, float], drawn: ndarray, *, rows: int, level: float
) -> Difference:
    first, second = scores
    moved, defined = second - first, drawn[np.isfinite(drawn)]
    if not math.isfinite(moved) or not len(defined):
        return Difference(name, first, second, math.nan, math.nan, "cannot tell")
    low, high = (float(bound) for bound in np.quantile(defined, (level / 2, 1 - level / 2)))
    low, high = min(low, moved), max(high, moved)
    if not defined.any() and moved == 0:
        return Difference(name, first, second, low, high, "the same")
    if (low > 0 or high < 0) and rows >= _FEWEST:
        return Difference(name, first, second, low, high, "better" if (moved > 0) == (best == "max") else "worse")
    needed = _needed(float(defined.std()) * math.sqrt(rows), moved, level)
    return Difference(name, first, second, low, high, "cannot tell", max(needed, _FEWEST) if needed else 0)


def _needed(spread: float, moved: float, level: float) -> int:
    """Rows for a difference whose spread is ``spread / sqrt(rows)``, by the normal approximation."""
    quantile = NormalDist().inv_cdf
    return math.ceil(((quantile(1 - level / 2) + quantile(_POWER)) * spread / moved) ** 2) if moved else 0


def _tested(difference: Difference, found: Disagreement, rows: int, level: float) -> Difference:
    """Accuracy with McNemar's verdict in place of the bootstrap's."""
    moved, apart = found.second - found.first, found.first + found.second
    verdict, needed = "better" if moved > 0 else "worse", 0
    if apart == 0:
        verdict = "the same"
    elif found.p >= level:
        verdict, needed = "cannot tell", _needed(math.sqrt(apart / rows), moved / rows, level) if moved else 0
    return Difference(
        difference.metric, difference.first, difference.second, difference.low, difference.high, verdict, needed
    )


def _sentence(names: tuple[str, str], decided: Difference, found: Disagreement | None, rows: int) -> str:
    first, second = names
    name = decided.metric
    scores = f"{title(name)} {number(decided.second, name)} against {number(decided.first, name)} on {rows:,} rows"
    tail = ""
    if found is not None and name == "accuracy":
        tail = f"; {found.second:,} rows only it has right, {found.first:,} only the other, McNemar p = {found.p:.2g}"
    if decided.verdict == "the same":
        return f"{second} does the same as {first}: {scores}{tail}"
    if decided.verdict != "cannot tell":
        return f"{second} is {decided.verdict} than {first}: {scores}{tail}"
    more = f"about {decided.needed:,} rows would be needed" if decided.needed else "no difference is seen"
    if not math.isfinite(decided.second - decided.first):
        more = "the score is undefined on these rows"
    return f"cannot tell whether {second} is better than {first}: {scores}{tail}; {more}"
