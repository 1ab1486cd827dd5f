"""Estimators made of trees: one, the mean of many, and sums that were grown one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError, FormatError
from engram.formats._sklearn import trees
from engram.formats._sklearn.answer import Answer, Draw
from engram.formats._sklearn.estimator import Estimator
from engram.formats._sklearn.trees import Tree
from engram.graphs.build import Builder, element_type

__all__ = ["GROWN"]

_SINGLE = element_type("float32")


def _tree(builder: Builder, estimator: Estimator, value: str, columns: int) -> Answer:
    tree = trees.of_tree(estimator.part("tree_"), columns)
    return _of_trees(builder, estimator, value, [tree])


def _forest(builder: Builder, estimator: Estimator, value: str, columns: int) -> Answer:
    return _of_trees(builder, estimator, value, [trees.of_tree(one, columns) for one in _members(estimator)])


def _members(estimator: Estimator) -> list[Estimator]:
    found = estimator.get("estimators_")
    members = found.ravel().tolist() if isinstance(found, ndarray) else found
    if not isinstance(members, list) or not members or not all(isinstance(one, Estimator) for one in members):
        raise FormatError(f"{estimator} has no estimators_; it was kept before it was fitted, or is damaged")
    return [one.part("tree_") for one in members]


def _of_trees(builder: Builder, estimator: Estimator, value: str, grown: Sequence[Tree]) -> Answer:
    """The mean of what trees answer; shares of classes where they classify, which older releases kept as counts."""
    width = grown[0].values.shape[1]
    labels = estimator.labels() if "Classifier" in estimator.kind else ()
    if any(tree.values.shape[1] != width for tree in grown) or (labels and len(labels) != width):
        raise FormatError(f"{estimator} has trees that answer with other numbers of columns")
    scaled = [(_shared(tree, len(grown), shares=bool(labels)), 0) for tree in grown]
    drawn = trees.ensemble(builder, builder.node("Cast", value, to=_SINGLE), scaled, width, double=False)
    if not labels:
        return Answer(drawn, "value", width)
    return Answer(drawn, "probabilities", width, labels)


def _shared(tree: Tree, count: int, *, shares: bool) -> Tree:
    values = tree.values.astype(np.float64)
    if shares:
        total = values.sum(axis=1, keepdims=True)
        values = values / np.where(total == 0, 1, total)
    return Tree(tree.left, tree.right, tree.feature, tree.threshold, tree.missing_left, values / count)


def _boosted(builder: Builder, estimator: Estimator, value: str, columns: int) -> Answer:
    """A start, and a share of what each tree adds."""
    grid = estimator.get("estimators_")
    if not isinstance(grid, ndarray) or grid.ndim != 2:
        raise FormatError(f"{estimator} has no grid of estimators_; it was kept before it was fitted, or is damaged")
    members, width = _members(estimator), grid.shape[1]
    rate = estimator.number("learning_rate")
    grown = [(_times(trees.of_tree(one, columns), rate), place % width) for place, one in enumerate(members)]
    drawn = trees.ensemble(builder, builder.node("Cast", value, to=_SINGLE), grown, width, double=False)
    drawn = builder.node("Add", drawn, builder.constant(_start(estimator, width), "start"))
    return _risen(builder, estimator, drawn, width)


def _times(tree: Tree, rate: float) -> Tree:
    values = tree.values.astype(np.float64) * rate
    return Tree(tree.left, tree.right, tree.feature, tree.threshold, tree.missing_left, values)


def _start(estimator: Estimator, width: int) -> ndarray:
    """Where boosting began, in the space of its raw answers."""
    begun = estimator.get("init_")
    if begun == "zero":
        return np.zeros(width)
    if not isinstance(begun, Estimator):
        raise ConversionError(f"{estimator} began with an estimator of its own, which is not read")
    if begun.kind == "DummyRegressor":
        return begun.array("constant_").reshape(-1).astype(np.float64)
    if begun.kind != "DummyClassifier":
        raise ConversionError(f"{estimator} began with {begun}, which is not read")
    smallest = np.finfo(np.float32).eps
    shares = np.clip(begun.array("class_prior_", 1).astype(np.float64), smallest, 1 - smallest)
    if width == 1:
        loss = estimator.demand("loss", ("log_loss", "deviance", "exponential"))
        log_odds = np.log(shares[1] / (1 - shares[1]))
        return np.array([log_odds / 2 if loss == "exponential" else log_odds])
    logits: ndarray = np.log(shares) - np.log(shares).mean()
    return logits


def _risen(builder: Builder, estimator: Estimator, drawn: str, width: int) -> Answer:
    if "Regressor" in estimator.kind:
        estimator.demand("loss", ("squared_error", "absolute_error", "huber", "quantile", "ls", "lad"))
        return Answer(drawn, "value", width)
    if width == 1 and estimator.get("loss") == "exponential":
        drawn = builder.node("Add", drawn, drawn)  # its trees add up to half the log odds
    return Answer(drawn, "logit" if width == 1 else "logits", width, estimator.labels())


_DIRECT = ("squared_error", "absolute_error", "quantile", "least_squares", "least_absolute_deviation")
"""Losses, by their names of today and before 1.0, whose sum of trees is the answer itself."""


def _histogram(builder: Builder, estimator: Estimator, value: str, columns: int) -> Answer:
    rows = estimator.get("_predictors")
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == len(rows[0]) for row in rows):
        raise FormatError(f"{estimator} has no _predictors; it was kept before it was fitted, or is damaged")
    estimator.demand("_preprocessor", (None,))
    width = len(rows[0]) if rows else 1
    grown = []
    for row in rows:
        for place, one in enumerate(row):
            if not isinstance(one, Estimator):
                raise FormatError(f"{estimator} has a predictor that is none")
            grown.append((trees.of_histogram(one, columns), place))
    drawn = trees.ensemble(builder, value, grown, width, double=True)
    start = estimator.array("_baseline_prediction").reshape(-1).astype(np.float64)
    drawn = builder.node("Add", drawn, builder.constant(start, "start"))
    if "Regressor" in estimator.kind:
        if estimator.demand("loss", (*_DIRECT, "poisson", "gamma")) in {"poisson", "gamma"}:
            drawn = builder.node("Exp", drawn)
        return Answer(drawn, "value", width)
    return Answer(drawn, "logit" if width == 1 else "logits", width, estimator.labels())


GROWN: Mapping[str, Draw] = {
    **dict.fromkeys(
        ("DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor"), _tree
    ),
    **dict.fromkeys(
        ("ExtraTreesClassifier", "ExtraTreesRegressor", "RandomForestClassifier", "RandomForestRegressor"), _forest
    ),
    **dict.fromkeys(("GradientBoostingClassifier", "GradientBoostingRegressor"), _boosted),
    **dict.fromkeys(("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"), _histogram),
}  # fmt: skip
"""Estimators by the names of their classes."""
