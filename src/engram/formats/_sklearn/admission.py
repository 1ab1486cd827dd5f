"""What a raw column may hold: whether gaps, which categories, and about which numbers.

scikit-learn refuses what a step was not made for, so a signature has to say it, and what is asked in a proof must keep
to it. It is told from the steps that a column passes until one of them settles it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy import ndarray

from engram.formats._sklearn.encoding import ENCODERS, is_gap
from engram.formats._sklearn.estimator import Estimator
from engram.formats._sklearn.preparing import parts, steps

__all__ = ["Admitted", "admitted"]

_SEVERAL = {
    "FeatureUnion": "transformer_list",
    "StackingClassifier": "estimators_",
    "StackingRegressor": "estimators_",
    "TransformedTargetRegressor": "regressor_",
    "VotingClassifier": "estimators_",
    "VotingRegressor": "estimators_",
}
_PASSING = frozenset({
    "FunctionTransformer", "MaxAbsScaler", "MinMaxScaler", "PowerTransformer", "QuantileTransformer", "RobustScaler",
    "StandardScaler", "VarianceThreshold",
})  # fmt: skip
"""Steps that let gaps through."""
_BEST = {"gini", "entropy", "log_loss", "squared_error", "friedman_mse", "poisson", "mse"}
_TREES = {
    **dict.fromkeys(("DecisionTreeClassifier", "DecisionTreeRegressor"), (1, 3)),
    **dict.fromkeys(("RandomForestClassifier", "RandomForestRegressor"), (1, 4)),
    **dict.fromkeys(
        ("ExtraTreeClassifier", "ExtraTreeRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor"), (1, 6)
    ),
}
"""The release from which on trees take gaps."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """What a column may hold.

    Attributes:
        gaps: whether values may be missing.
        gap: what a missing word is called: ``nan`` or ``none``.
        known: categories, most of them words.
        closed: whether no others are taken.
        positive: whether all numbers must be above 0.
        mean, std: of the numbers in training; NaN where nothing tells.
    """

    gaps: bool = False
    gap: str = "nan"
    known: tuple[Any, ...] = ()
    closed: bool = False
    positive: bool = False
    mean: float = np.nan
    std: float = np.nan

    def and_also(self, other: Admitted) -> Admitted:
        """What a column may hold that two steps are given."""
        one = self if self.known or not other.known else other
        told = self if np.isfinite(self.mean) else other
        return replace(
            one,
            gaps=self.gaps and other.gaps,
            closed=self.closed or other.closed,
            positive=self.positive or other.positive,
            mean=told.mean,
            std=told.std,
        )

    def statistics(self) -> Mapping[str, Any]:
        """What probes are drawn from, as of ``Model.statistics``."""
        found: dict[str, Any] = {}
        if self.known:
            found["values"] = [[one, 0] for one in self.known]
        if self.closed:
            found["closed"] = True
        if self.positive:
            found["positive"] = True
        if np.isfinite(self.mean) and np.isfinite(self.std):
            found |= {"mean": self.mean, "std": self.std}
        return found


def admitted(chain: Sequence[Estimator | None], count: int, *, after: bool = False) -> list[Admitted]:
    """What each of some columns may hold.

    Args:
        chain: the steps that they pass, the first of which is given them all.
        count: how many columns there are.
        after: whether what follows the last step takes gaps.
    """
    if not chain:
        return [Admitted(gaps=after)] * count
    first, rest = chain[0], chain[1:]
    if first is None:
        return admitted(rest, count, after=after)
    known = _SETTLING.get(first.kind)
    if known is not None:
        return known(first, count, _takes_gaps(rest, after=after))
    if first.kind == "SimpleImputer":
        return _filled(first, admitted(rest, count, after=after))
    if first.kind in _PASSING:
        after_it = _scaled(first, admitted(rest, count, after=after))
        return [replace(one, positive=_wants_positive(first)) for one in after_it]
    return [Admitted(gaps=_takes_gaps(chain[:1], after=after), positive=_wants_positive(first))] * count


def _wants_positive(estimator: Estimator) -> bool:
    function = estimator.get("func") if estimator.kind == "FunctionTransformer" else None
    named = getattr(function, "name", "") in {"log", "log1p", "sqrt"}
    return named or estimator.kind == "MultinomialNB" or estimator.get("method") == "box-cox"


def _side_by_side(estimator: Estimator, count: int, follows: bool) -> list[Admitted]:
    found: dict[int, Admitted] = {}
    for step, places in parts(estimator, count):
        inner = admitted(steps(step) if step is not None else [], len(places), after=follows)
        for place, one in zip(places, inner, strict=True):
            found[place] = found[place].and_also(one) if place in found else one
    return [found.get(place, Admitted(gaps=True)) for place in range(count)]


def _all_of(estimator: Estimator, count: int, follows: bool) -> list[Admitted]:
    found: list[Admitted] | None = None
    held = estimator.get(_SEVERAL[estimator.kind])
    for one in held if isinstance(held, list) else [held]:
        step = one[-1] if isinstance(one, (list, tuple)) and one else one
        if isinstance(step, Estimator):
            inner = admitted(steps(step), count, after=follows)
            found = inner if found is None else [a.and_also(b) for a, b in zip(found, inner, strict=True)]
    return found or [Admitted(gaps=follows)] * count


def _takes_gaps(chain: Sequence[Estimator | None], *, after: bool) -> bool:
    for one in chain:
        if one is None or one.kind in _PASSING:
            continue
        if one.kind == "SimpleImputer":
            return is_gap(one.get("missing_values", np.nan))
        if one.kind in {"HistGradientBoostingClassifier", "HistGradientBoostingRegressor"}:
            return True
        if one.kind in _SEVERAL or one.kind == "ColumnTransformer":
            return False
        return one.kind in _TREES and _grown_for_gaps(one)
    return after


def _grown_for_gaps(estimator: Estimator) -> bool:
    release = tuple(int(part) for part in str(estimator.get("_sklearn_version")).split(".")[:2] if part.isdigit())
    plain = estimator.get("criterion") in _BEST and estimator.get("monotonic_cst") is None
    return plain and (release or (0, 0)) >= _TREES[estimator.kind]


def _filled(estimator: Estimator, after: Sequence[Admitted]) -> list[Admitted]:
    """Columns whose gaps are filled; where what follows knows no other categories, the filling must be one."""
    gap = estimator.get("missing_values", np.nan)
    fills = estimator.get("statistics_")
    told = fills.tolist() if isinstance(fills, ndarray) and fills.shape == (len(after),) else [None] * len(after)
    return [
        replace(one, gaps=is_gap(gap) and (not one.closed or fill in one.known), gap="none" if gap is None else "nan")
        for one, fill in zip(after, told, strict=True)
    ]


def _encoded(estimator: Estimator, count: int, follows: bool) -> list[Admitted]:
    found = estimator.get("categories_")
    lists = [one.tolist() if isinstance(one, ndarray) else [] for one in found] if isinstance(found, list) else []
    if len(lists) != count:
        return [Admitted()] * count
    ordinal = estimator.kind == "OrdinalEncoder"
    closed = estimator.get("handle_unknown") == "error"
    names = (estimator.get("unknown_value"), estimator.get("encoded_missing_value", np.nan))
    made = []
    for values in lists:
        gaps = [one for one in values if is_gap(one)]
        code = names[1] if gaps else names[0]
        takes = (bool(gaps) or not closed) and (follows or not ordinal or not is_gap(code))
        known = tuple(one for one in values if not is_gap(one))
        made.append(Admitted(takes, "none" if None in gaps else "nan", known, closed))
    return made


def _scaled(estimator: Estimator, after: Sequence[Admitted]) -> list[Admitted]:
    means, spreads = _centers(estimator)
    if means is None or spreads is None or not len(means) == len(spreads) == len(after):
        return list(after)
    return [
        replace(one, mean=float(mean), std=float(spread))
        for one, mean, spread in zip(after, means, spreads, strict=True)
    ]


def _centers(estimator: Estimator) -> tuple[ndarray | None, ndarray | None]:
    """About what the numbers lay, and how far around it."""

    def learned(name: str) -> ndarray | None:
        found = estimator.get(name)
        return found if isinstance(found, ndarray) and found.ndim == 1 and found.dtype.kind in "fiu" else None

    low, high = learned("data_min_"), learned("data_max_")
    if low is not None and high is not None and low.shape == high.shape:
        return (low + high) / 2, (high - low) / 4
    if estimator.kind == "RobustScaler":
        return learned("center_"), learned("scale_")
    return learned("mean_"), learned("scale_")


_SETTLING: Mapping[str, Callable[[Estimator, int, bool], list[Admitted]]] = {
    "ColumnTransformer": _side_by_side,
    **dict.fromkeys(_SEVERAL, _all_of),
    **dict.fromkeys(ENCODERS, _encoded),
}
"""Steps behind which a column is another; they are told whether what follows takes gaps."""
