"""Estimators that compare a row with what they keep: neighbors, support vectors, and the spread of each class.

Distances are the sums of squared differences, not the shorter product form, which loses half the digits of small ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError, FormatError
from engram.formats._sklearn.answer import Answer, Draw
from engram.formats._sklearn.estimator import Estimator
from engram.graphs.build import Builder

__all__ = ["COMPARING"]

_MOST = 4_000_000
_NEVER_FITTED = "it has no probabilities; those here follow from its decision values and were never fitted"


def _apart(builder: Builder, value: str, kept: ndarray, *, power: int = 2) -> str:
    """The sums of differences of each row with each of those kept, to a power, (batch, kept)."""
    rows = builder.node("Unsqueeze", value, builder.constant([1], dtype="int64"))
    apart = builder.node("Sub", rows, builder.constant(kept[None]))
    sized = builder.node("Mul", apart, apart) if power == 2 else builder.node("Abs", apart)
    return builder.node("ReduceSum", sized, builder.constant([2], dtype="int64"), keepdims=0)


def _kept(estimator: Estimator, name: str, columns: int) -> ndarray:
    kept = estimator.array(name, 2).astype(np.float64)
    if kept.shape[1] != columns or not len(kept):
        raise FormatError(f"{estimator} keeps rows of {kept.shape[1]} columns, but is given {columns}")
    if kept.size > _MOST:
        raise ConversionError(f"{estimator} keeps {kept.size:,} numbers, more than the {_MOST:,} that are read")
    return kept


def _supported(builder: Builder, estimator: Estimator, value: str, columns: int) -> Answer:
    """A support vector machine: kernels with the vectors it keeps, weighed.

    Source: Chang and Lin 2011, LIBSVM: a library for support vector machines.
    """
    kept = _kept(estimator, "support_vectors_", columns)
    near = _kernel(builder, estimator, value, kept)
    weights, start = estimator.array("dual_coef_", 2), estimator.array("intercept_", 1)
    if weights.shape[1] != len(kept):
        raise FormatError(f"{estimator} has {weights.shape[1]} weights for {len(kept)} support vectors")
    if "SVC" not in estimator.kind:
        return Answer(_weighed(builder, near, weights.T, start), "value", 1)
    fitted = estimator.get("_probA")
    if isinstance(fitted, ndarray) and fitted.size:
        raise ConversionError(f"{estimator} makes its probabilities by an iteration, which is not read")
    labels = estimator.labels()
    if len(labels) == 2:
        return Answer(_weighed(builder, near, weights.T, start), "logit", 1, labels, _NEVER_FITTED)
    return _by_pairs(builder, estimator, near, labels)


def _weighed(builder: Builder, value: str, weights: ndarray, start: ndarray) -> str:
    drawn = builder.node("MatMul", value, builder.constant(np.ascontiguousarray(weights.astype(np.float64))))
    return builder.node("Add", drawn, builder.constant(start.astype(np.float64)))


def _kernel(builder: Builder, estimator: Estimator, value: str, kept: ndarray) -> str:
    kind = estimator.demand("kernel", ("rbf", "linear", "poly", "sigmoid"))
    gamma = builder.constant(np.float64(estimator.number("_gamma", 0.0)))
    if kind == "rbf":
        far = builder.node("Mul", _apart(builder, value, kept), gamma)
        return builder.node("Exp", builder.node("Neg", far))
    product = builder.node("MatMul", value, builder.constant(np.ascontiguousarray(kept.T)))
    if kind == "linear":
        return product
    moved = builder.node("Mul", product, gamma)
    moved = builder.node("Add", moved, builder.constant(np.float64(estimator.number("coef0", 0.0))))
    if kind == "sigmoid":
        return builder.node("Tanh", moved)
    return builder.node("Pow", moved, builder.constant(np.float64(estimator.number("degree", 3))))


def _by_pairs(builder: Builder, estimator: Estimator, near: str, labels: tuple[str, ...]) -> Answer:
    """Of each pair of classes one wins; a class has its wins, and by how much as a fraction below 1/2."""
    counts = estimator.array("_n_support", 1).astype(np.int64)
    weights, classes = estimator.array("dual_coef_", 2), len(labels)
    pairs = list(combinations(range(classes), 2))
    start = estimator.array("intercept_", 1)
    if len(counts) != classes or len(weights) != classes - 1 or len(start) != len(pairs):
        raise FormatError(f"{estimator} has support vectors of {len(counts)} classes, but {classes} labels")
    bounds = np.concatenate([[0], np.cumsum(counts)])
    if bounds[-1] != weights.shape[1] or (counts < 0).any():
        raise FormatError(f"{estimator} has other support vectors than it counts")
    table, signs = np.zeros((weights.shape[1], len(pairs))), np.zeros((len(pairs), classes))
    for place, (one, other) in enumerate(pairs):
        mine, theirs = slice(bounds[one], bounds[one + 1]), slice(bounds[other], bounds[other + 1])
        table[mine, place], table[theirs, place] = weights[other - 1, mine], weights[one, theirs]
        signs[place, one], signs[place, other] = 1, -1
    decided = _weighed(builder, near, table, start)
    zero, one_ = builder.constant(np.float64(0)), builder.constant(np.float64(1))
    lost = builder.node("Where", builder.node("Less", decided, zero), one_, zero)
    won = builder.node("Sub", one_, lost)
    firsts, seconds = builder.constant((signs > 0) * 1.0), builder.constant((signs < 0) * 1.0)
    votes = builder.node("Add", builder.node("MatMul", won, firsts), builder.node("MatMul", lost, seconds))
    sure = builder.node("MatMul", decided, builder.constant(signs))
    size = builder.node("Add", builder.node("Abs", sure), one_)
    share = builder.node("Div", sure, builder.node("Mul", size, builder.constant(np.float64(3))))
    return Answer(builder.node("Add", votes, share), "logits", classes, labels, _NEVER_FITTED)


def _neighbors(builder: Builder, estimator: Estimator, value: str, columns: int) -> Answer:
    kept = _kept(estimator, "_fit_X", columns)
    metric = estimator.demand("effective_metric_", ("euclidean", "manhattan", "minkowski"))
    if metric == "minkowski":
        raise ConversionError(f"{estimator} measures by a power that is neither 1 nor 2, which is not read")
    count = min(int(estimator.number("n_neighbors")), len(kept))
    estimator.demand("weights", ("uniform",))
    apart = _apart(builder, value, kept, power=1 if metric == "manhattan" else 2)
    found = builder.nodes(
        "TopK", apart, builder.constant([count], dtype="int64"), outputs=2, axis=1, largest=0, sorted=1
    )
    targets = estimator.array("_y", 1, 2)
    labels = estimator.labels() if "Classifier" in estimator.kind else ()
    if labels:
        if targets.ndim != 1 or not 0 <= targets.min() <= targets.max() < len(labels):
            raise ConversionError(f"{estimator} gives several labels at once, which is not read")
        table = np.eye(len(labels))[targets.astype(np.int64)]
    else:
        table = targets.reshape(len(targets), -1).astype(np.float64)
    if len(table) != len(kept):
        raise FormatError(f"{estimator} keeps {len(table)} answers for {len(kept)} rows")
    near = builder.node("Gather", builder.constant(table), found[1], axis=0)
    mean = builder.node("ReduceMean", near, builder.constant([1], dtype="int64"), keepdims=0)
    return Answer(mean, "probabilities" if labels else "value", table.shape[1], labels)


def _gaussian(builder: Builder, estimator: Estimator, value: str, columns: int) -> Answer:
    """The logarithm of the prior chance times the density of a normal distribution for each class and column."""
    means = _kept(estimator, "theta_", columns)
    spread = estimator.array("var_" if estimator.get("var_") is not None else "sigma_", 2).astype(np.float64)
    prior, labels = estimator.array("class_prior_", 1).astype(np.float64), estimator.labels()
    if means.shape != spread.shape or len(means) != len(prior) or len(prior) != len(labels):
        raise FormatError(f"{estimator} has means, variances and chances that do not fit together")
    rows = builder.node("Unsqueeze", value, builder.constant([1], dtype="int64"))
    apart = builder.node("Sub", rows, builder.constant(means[None]))
    ratio = builder.node("Div", builder.node("Mul", apart, apart), builder.constant(spread[None]))
    summed = builder.node("ReduceSum", ratio, builder.constant([2], dtype="int64"), keepdims=0)
    halved = builder.node("Mul", summed, builder.constant(np.float64(-0.5)))
    start = np.log(prior) - 0.5 * np.log(2 * np.pi * spread).sum(axis=1)
    return _shares(builder, builder.node("Add", halved, builder.constant(start)), labels)


def _shares(builder: Builder, value: str, labels: tuple[str, ...]) -> Answer:
    return Answer(builder.node("LogSoftmax", value, axis=-1), "logits", len(labels), labels)


def _counted(builder: Builder, estimator: Estimator, value: str, columns: int) -> Answer:
    """Counts, or yes and no, each with the logarithm of its chance in a class."""
    weights = _kept(estimator, "feature_log_prob_", columns)
    start, labels = estimator.array("class_log_prior_", 1).astype(np.float64), estimator.labels()
    if not len(weights) == len(start) == len(labels):
        raise FormatError(f"{estimator} has chances of {len(weights)} classes for {len(labels)} labels")
    if estimator.kind == "BernoulliNB":
        if estimator.get("binarize") is not None:
            bound = builder.constant(np.float64(estimator.number("binarize")))
            value = builder.node("Cast", builder.node("Greater", value, bound), to=11)
        rest = np.log(1 - np.exp(weights))
        weights, start = weights - rest, start + rest.sum(axis=1)
    return _shares(builder, _weighed(builder, value, weights.T, start), labels)


COMPARING: Mapping[str, Draw] = {
    **dict.fromkeys(("BernoulliNB", "MultinomialNB"), _counted),
    **dict.fromkeys(("KNeighborsClassifier", "KNeighborsRegressor"), _neighbors),
    **dict.fromkeys(("NuSVC", "NuSVR", "SVC", "SVR"), _supported),
    "GaussianNB": _gaussian,
}
"""Estimators by the names of their classes."""
