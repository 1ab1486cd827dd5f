"""Why a network answers as it does: which columns it needs, what one row's values did, how the answer follows a column.

All of it asks the network itself with other values in its raw columns, and looks into no weights: so it is true of any
network, with its preprocessing, and of the file that is served. Values are exchanged between real rows; where columns
hang together this makes rows that do not exist, and then importance is shared among them by chance of the draw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from engram.evaluation.answers import Answers
from engram.evaluation.examples import words
from engram.evaluation.intervals import mean_interval
from engram.records import Importance

__all__ = ["Columns", "Dependence", "Effect", "dependence", "importances", "shapley"]

Columns = Mapping[str, ndarray]
_FEWEST = 3
_POINTS = 9
_TEXTS = 12


@dataclass(frozen=True, slots=True)
class Effect:
    """What one value of a row did to the answer.

    Attributes:
        column: whose value it is.
        value: in words.
        effect: its Shapley value, in the unit of the answer; all of a row add up to answer minus average answer.
        low, high: bounds of the 95 % interval of the sampling.
    """

    column: str
    value: str
    effect: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Dependence:
    """The mean answer where a column has one value in all rows.

    Attributes:
        column: that was set.
        values: in words; numbers in their order, texts the most frequent ones.
        answers: the mean answer with each value.
    """

    column: str
    values: tuple[str, ...]
    answers: tuple[float, ...]


def importances(
    ask: Callable[[Columns], Answers], columns: Columns, *, repeats: int = 5, seed: int = 0
) -> tuple[Importance, ...]:
    """How much worse the answers are when a column's values change places between rows, the worst first.

    Args:
        ask: columns of the same rows to their answers.
        columns: column → raw values, (rows, ...).
        repeats: orders tried for each column.
        seed: of the orders.

    Source: Breiman 2001, Random forests; intervals by the central limit over rows.
    """
    generator = np.random.default_rng(seed)
    before = ask(columns).errors()
    made = []
    for name, values in columns.items():
        orders = [generator.permutation(len(values)) for _ in range(repeats)]
        gained = [ask({**columns, name: values[order]}).errors() - before for order in orders]
        made.append(Importance(name, *mean_interval(np.mean(gained, axis=0))))
    return tuple(sorted(made, key=lambda each: -each.gain))


def shapley(
    ask: Callable[[Columns], ndarray], row: Columns, background: Columns, *, draws: int = 200, seed: int = 0
) -> tuple[Effect, ...]:
    """What each value of a row did to the answer, the largest effect first.

    In a random order of columns, the row's values are put into a row of the background one after the other; the effect
    of a value is how much the answer moves, on average over orders. Each order is also taken backwards.

    Args:
        ask: columns to one number a row, float (rows,).
        row: column → its value, (1, ...).
        background: column → values of other rows, (rows, ...), rows of which are taken in turn.
        draws: orders, each with a row of the background; rounded up to pairs.
        seed: of the orders.

    Source: Štrumbelj and Kononenko 2014, Explaining prediction models and individual predictions with feature
    contributions; Mitchell et al. 2022, Sampling permutations for Shapley value estimation (pairs of orders).
    """
    generator, names = np.random.default_rng(seed), list(row)
    pairs, rows = (draws + 1) // 2, len(next(iter(background.values())))
    order = np.array([generator.permutation(len(names)) for _ in range(pairs)])
    order = np.stack([order, order[:, ::-1]], axis=1).reshape(2 * pairs, len(names))
    start = np.repeat(np.arange(pairs) % rows, 2)
    place = np.argsort(order, axis=1)
    step = np.arange(len(names) + 1)
    asked = {}
    for i, name in enumerate(names):
        own = (place[:, i, None] < step).reshape(-1)  # whether the row's own value is in already
        values = background[name][np.repeat(start, len(step))]
        values[own] = row[name][0]
        asked[name] = values
    moves = np.diff(np.asarray(ask(asked), dtype=np.float64).reshape(2 * pairs, len(step)), axis=1)
    effects = np.take_along_axis(moves, place, axis=1).reshape(pairs, 2, len(names)).mean(axis=1)
    made = []
    for i, name in enumerate(names):
        made.append(Effect(name, words(row[name][0]), *mean_interval(effects[:, i])))
    return tuple(sorted(made, key=lambda each: -abs(each.effect)))


def dependence(ask: Callable[[Columns], ndarray], columns: Columns, chosen: Sequence[str]) -> tuple[Dependence, ...]:
    """How the mean answer follows a column, for each of the chosen ones.

    Args:
        ask: columns to one number a row, float (rows,).
        columns: column → raw values, (rows,).
        chosen: columns to follow.

    Source: Friedman 2001, Greedy function approximation: a gradient boosting machine, section 8.2.
    """
    made = []
    for name in chosen:
        grid = _grid(columns[name])
        means = [
            float(np.mean(ask({**columns, name: np.repeat(grid[i : i + 1], len(columns[name]))})))
            for i in range(len(grid))
        ]
        made.append(Dependence(name, tuple(words(value) for value in grid), tuple(means)))
    return tuple(made)


def _grid(values: ndarray) -> ndarray:
    """Values to be set: the deciles of numbers, or all where there are few; the most frequent texts."""
    if values.dtype.kind in "fiub":
        finite = values[np.isfinite(values.astype(np.float64))]
        distinct = np.unique(finite)
        if len(distinct) <= _POINTS:
            return distinct
        shares = np.linspace(0.1, 0.9, _POINTS)
        found = np.unique(np.quantile(finite, shares, method="nearest"))
        if len(found) >= _FEWEST:
            return found
        return np.union1d(found, np.quantile(distinct, shares, method="nearest"))
    names, counts = np.unique(values.astype(str), return_counts=True)
    kept = np.sort(np.argsort(-counts, kind="stable")[:_TEXTS])
    return np.array(names[kept].tolist(), dtype=object)
