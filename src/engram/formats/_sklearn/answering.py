"""The estimator at the end of a pipeline: networks and linear models here, and where all others are drawn.

Every function draws from a value of columns, float64 (batch, columns), and says what its answer means. Numbers keep
their names and the type they have in the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError, FormatError
from engram.formats._sklearn.answer import Answer, Draw
from engram.formats._sklearn.columns import Columns
from engram.formats._sklearn.comparing import COMPARING
from engram.formats._sklearn.estimator import Estimator
from engram.formats._sklearn.growing import GROWN
from engram.formats._sklearn.preparing import prepared, steps
from engram.formats._sklearn.together import TOGETHER
from engram.graphs.build import Builder, element_type

__all__ = ["KINDS", "answered", "draw", "whole"]

_ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid", "identity": ""}
_DOUBLE, _SINGLE = element_type("float64"), element_type("float32")


_HAIR = 1e-6
_GUESSED = "it has no probabilities; those here follow from its decision values and were never fitted"


def answered(builder: Builder, estimator: Estimator, value: str, columns: int) -> Answer:
    """Draw an estimator.

    Args:
        builder: of the graph.
        estimator: the last step.
        value: its columns, float64 (batch, columns).
        columns: how many there are.

    Raises:
        ConversionError: there is no graph for it.
        FormatError: it is damaged, or was fitted on other columns.
    """
    known = draw(estimator)
    wanted = estimator.get("n_features_in_")
    if wanted is not None and wanted != columns:
        raise FormatError(f"{estimator} was fitted on {wanted} columns, but is given {columns}")
    return known(builder, estimator, value, columns)


def draw(estimator: Estimator) -> Draw:
    """How an estimator is drawn.

    Raises:
        ConversionError: there is no graph for it.
    """
    joined, known = TOGETHER.get(estimator.kind), KINDS.get(estimator.kind)
    if joined is not None:
        return lambda builder, one, value, columns: joined(builder, one, value, columns, whole)
    if known is None:
        there = ", ".join(sorted({*KINDS, *TOGETHER}))
        raise ConversionError(f"{estimator} is no estimator of scikit-learn that is read; there are {there}")
    return known


def whole(builder: Builder, estimator: Estimator, value: str, columns: int) -> Answer:
    """Draw an estimator within another, with the steps before it where it is a pipeline.

    Args:
        builder: of the graph.
        estimator: or a pipeline.
        value: its columns, float64 (batch, columns).
        columns: how many there are.

    Raises:
        ConversionError: as ``answered``.
        FormatError: as ``answered``.
    """
    found = [one for one in steps(estimator) if one is not None]
    if not found:
        raise FormatError(f"{estimator} is a pipeline without an estimator")
    given, scope = Columns(columns, whole=value), builder.scope
    for step in found[:-1]:
        given = prepared(builder, step, given)
    builder.scope = scope
    return answered(builder, found[-1], given.numbers(builder, estimator), given.count)


def _network(builder: Builder, estimator: Estimator, value: str, columns: int) -> Answer:
    weights, biases = estimator.arrays("coefs_", 2), estimator.arrays("intercepts_", 1)
    hidden = _ACTIVATIONS[estimator.demand("activation", tuple(_ACTIVATIONS))]
    _fit_together(estimator, weights, biases, columns)
    value = _typed(builder, value, weights[0])
    for place, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        names = (builder.constant(weight, f"coefs_.{place}"), builder.constant(bias, f"intercepts_.{place}"))
        value = builder.node("Gemm", value, *names)
        if place < len(weights) - 1 and hidden:
            value = builder.node(hidden, value)
    width = len(biases[-1])
    out = estimator.demand("out_activation_", ("identity", "logistic", "softmax", "exp"))
    if estimator.kind == "MLPRegressor":
        return Answer(builder.node("Exp", value) if out == "exp" else value, "value", width)
    if out == "softmax":
        return Answer(value, "logits", width, estimator.labels())
    labels = estimator.labels()
    if width != 1 or len(labels) != 2:
        raise ConversionError(f"{estimator} gives several labels at once, which is not read")
    return Answer(value, "logit", 1, labels)


def _fit_together(estimator: Estimator, weights: Sequence[ndarray], biases: Sequence[ndarray], columns: int) -> None:
    width = columns
    if len(weights) != len(biases):
        raise FormatError(f"{estimator} has {len(weights)} coefs_ and {len(biases)} intercepts_")
    for weight, bias in zip(weights, biases, strict=True):
        if weight.shape != (width, len(bias)):
            raise FormatError(f"{estimator} has layers that do not fit together: {list(weight.shape)} after {width}")
        width = len(bias)


def _typed(builder: Builder, value: str, like: ndarray) -> str:
    return builder.node("Cast", value, to=_SINGLE) if like.dtype == np.float32 else value


def _line(builder: Builder, estimator: Estimator, value: str, columns: int) -> tuple[str, int]:
    """A product with ``coef_`` and the sum with ``intercept_``; the value and its width."""
    weight = np.atleast_2d(estimator.array("coef_", 1, 2))
    if weight.shape[1] != columns:
        raise FormatError(f"{estimator} has coef_ of {weight.shape[1]} columns, but is given {columns}")
    bias = np.broadcast_to(np.atleast_1d(estimator.array("intercept_", 0, 1)), (len(weight),)).astype(weight.dtype)
    names = (builder.constant(weight, "coef_"), builder.constant(np.ascontiguousarray(bias), "intercept_"))
    return builder.node("Gemm", _typed(builder, value, weight), *names, transB=1), len(weight)


def _linear(builder: Builder, estimator: Estimator, value: str, columns: int) -> Answer:
    drawn, width = _line(builder, estimator, value, columns)
    return Answer(drawn, "value", width)


def _raised(builder: Builder, estimator: Estimator, value: str, columns: int) -> Answer:
    """A linear model of the logarithm, or of the target itself where that can be below 0."""
    drawn, width = _line(builder, estimator, value, columns)
    power, link = estimator.number("power", 1.0), estimator.get("link", "auto")
    direct = estimator.kind == "TweedieRegressor" and (link == "identity" or (link == "auto" and power <= 0))
    return Answer(drawn if direct else builder.node("Exp", drawn), "value", width)


def _logistic(builder: Builder, estimator: Estimator, value: str, columns: int) -> Answer:
    drawn, width = _line(builder, estimator, value, columns)
    labels = estimator.labels()
    if width == 1:
        # said to be multinomial, two classes were told apart by a softmax over the value and its negative
        twice = estimator.get("multi_class") == "multinomial"
        return Answer(builder.node("Add", drawn, drawn) if twice else drawn, "logit", 1, labels)
    # before 0.22 what nobody chose was kept as "warn", and meant these
    one_by_one = estimator.get("multi_class") in {"ovr", "warn"} or estimator.get("solver") in {"liblinear", "warn"}
    if one_by_one:
        return Answer(_each_by_itself(builder, drawn), "logits", width, labels)
    return Answer(drawn, "logits", width, labels)


def _descended(builder: Builder, estimator: Estimator, value: str, columns: int) -> Answer:
    """A linear classifier by its decision values; only some losses make them chances."""
    drawn, width = _line(builder, estimator, value, columns)
    labels = estimator.labels()
    if estimator.get("loss") == "modified_huber":
        return _clipped(builder, drawn, labels)
    chances = estimator.get("loss") in {"log_loss", "log"}
    note = "" if chances else _GUESSED
    if width == 1:
        return Answer(drawn, "logit", 1, labels, note)
    if chances:
        return Answer(_each_by_itself(builder, drawn), "logits", width, labels)
    return Answer(drawn, "logits", width, labels, note)


def _clipped(builder: Builder, value: str, labels: tuple[str, ...]) -> Answer:
    """Decision values of the modified Huber loss, which are chances once they are cut off.

    Several classes may be cut off alike, and scikit-learn then answers with the one of the largest decision value: so a
    millionth of it stays in the logits.

    Source: Zhang 2002, Transforming classifier scores into accurate multiclass probability estimates.
    """
    value = builder.node("Cast", value, to=_DOUBLE)
    one, half = builder.constant(np.float64(1)), builder.constant(np.float64(0.5))
    clipped = builder.node("Clip", value, builder.constant(np.float64(-1)), one)
    chances = builder.node("Mul", builder.node("Add", clipped, one), half)
    if len(labels) == 2:
        return Answer(chances, "probability", 1, labels)
    axis = builder.constant([1], dtype="int64")
    largest = builder.node("ReduceMax", chances, axis, keepdims=1)
    none = builder.node("LessOrEqual", largest, builder.constant(np.float64(0)))
    share = builder.node("Div", chances, builder.node("Where", none, one, largest))
    share = builder.node("Where", none, one, share)
    logits = builder.node("Log", builder.node("Max", share, builder.constant(np.float64(1e-30))))
    size = builder.node("Add", builder.node("Abs", value), one)
    hair = builder.node("Mul", builder.node("Div", value, size), builder.constant(np.float64(_HAIR)))
    return Answer(builder.node("Add", logits, hair), "logits", len(labels), labels)


def _each_by_itself(builder: Builder, value: str) -> str:
    """Logits of one class against all others each: the share of a class is its own chance over the sum of all.

    That is the softmax over ``log(sigmoid(value))``, which tells large values apart where the chances are all 1.
    """
    below = builder.node("Neg", value)
    far = builder.node("Less", below, builder.constant(np.float64(-20)))
    zero, one = builder.constant(np.float64(0)), builder.constant(np.float64(1))
    small = builder.node("Exp", builder.node("Neg", builder.node("Abs", below)))
    rest = builder.node("Log", builder.node("Add", small, one))
    near = builder.node("Add", builder.node("Max", below, zero), rest)
    return builder.node("Neg", builder.node("Where", far, builder.node("Exp", below), near))


KINDS: Mapping[str, Draw] = {
    **dict.fromkeys(("MLPClassifier", "MLPRegressor"), _network),
    **dict.fromkeys(
        ("ARDRegression", "BayesianRidge", "ElasticNet", "ElasticNetCV", "HuberRegressor", "Lars", "Lasso", "LassoCV",
         "LassoLars", "LassoLarsCV", "LinearRegression", "LinearSVR", "MultiTaskElasticNet", "MultiTaskLasso",
         "OrthogonalMatchingPursuit", "QuantileRegressor", "Ridge", "RidgeCV", "SGDRegressor"),
        _linear,
    ),
    **dict.fromkeys(("LogisticRegression", "LogisticRegressionCV"), _logistic),
    **dict.fromkeys(("LinearSVC", "Perceptron", "RidgeClassifier", "RidgeClassifierCV", "SGDClassifier"), _descended),
    **dict.fromkeys(("GammaRegressor", "PoissonRegressor", "TweedieRegressor"), _raised),
    "LinearDiscriminantAnalysis": _logistic,
    **COMPARING,
    **GROWN,
}  # fmt: skip
"""Estimators by the names of their classes."""
