"""Estimators made of others: votes, bags, stacks, calibrated ones, and one for each target.

Each is drawn from what it holds, so whatever is read by itself is read within another, a pipeline included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError, FormatError
from engram.formats._sklearn.answer import Answer, Whole, chances
from engram.formats._sklearn.deriving import FUNCTIONS
from engram.formats._sklearn.estimator import Estimator
from engram.formats._sklearn.preparing import steps
from engram.graphs.build import Builder, element_type

__all__ = ["TOGETHER", "Join"]

_WITHOUT_VALUES = {"BernoulliNB", "GaussianNB", "MLPClassifier", "MultinomialNB"}
"""Classifiers that have no decision values beside their chances."""
Join = Callable[[Builder, Estimator, str, int, Whole], Answer]
_DOUBLE = element_type("float64")


def _members(estimator: Estimator, name: str = "estimators_") -> list[Estimator]:
    found = estimator.get(name)
    if not isinstance(found, list) or not found or not all(isinstance(one, Estimator) for one in found):
        raise FormatError(f"{estimator} has no {name}; it was kept before it was fitted, or is damaged")
    return found


def _summed(builder: Builder, values: Sequence[str], weights: Sequence[float]) -> str:
    """Values, each times its weight, added."""
    scaled = [
        builder.node("Mul", value, builder.constant(np.float64(weight)))
        for value, weight in zip(values, weights, strict=True)
    ]
    return scaled[0] if len(scaled) == 1 else builder.node("Sum", *scaled)


def _weights(estimator: Estimator, count: int) -> list[float]:
    """The share of each member."""
    given = estimator.get("weights")
    kept = [True] * count
    if given is not None:  # those of members that were dropped are there, too
        named = estimator.get("estimators") or []
        kept = [one[1] != "drop" for one in named if isinstance(one, (list, tuple)) and len(one) == 2]
        given = [float(one) for one, there in zip(np.asarray(given).tolist(), kept, strict=False) if there]
    shares = np.ones(count) if given is None else np.array(given)
    if len(shares) != count:
        raise FormatError(f"{estimator} has {len(shares)} weights for {count} estimators")
    return [float(one) for one in shares / shares.sum()]


def _voted(builder: Builder, estimator: Estimator, value: str, columns: int, whole: Whole) -> Answer:
    members = [whole(builder, one, value, columns) for one in _members(estimator)]
    labels = estimator.labels()
    if estimator.demand("voting", ("soft", "hard")) == "hard":
        raise ConversionError(f"{estimator} votes hard, which has no probabilities and is not read; vote soft")
    values = [chances(builder, one) for one in members]
    return Answer(_summed(builder, values, _weights(estimator, len(values))), "probabilities", len(labels), labels)


def _averaged(builder: Builder, estimator: Estimator, value: str, columns: int, whole: Whole) -> Answer:
    members = [_number(builder, whole(builder, one, value, columns)) for one in _members(estimator)]
    return Answer(_summed(builder, members, _weights(estimator, len(members))), "value", 1)


def _number(builder: Builder, answer: Answer) -> str:
    if answer.labels:
        raise ConversionError("a regression is made of classifiers, which is not read")
    return builder.node("Cast", answer.value, to=_DOUBLE)


def _bagged(builder: Builder, estimator: Estimator, value: str, columns: int, whole: Whole) -> Answer:
    """The mean of estimators, each of which sees some of the columns."""
    features, members = estimator.get("estimators_features_"), _members(estimator)
    if not isinstance(features, list) or len(features) != len(members):
        raise FormatError(f"{estimator} has no estimators_features_ for {len(members)} estimators")
    classifies = "Classifier" in estimator.kind
    values, width = [], 1
    for one, chosen in zip(members, features, strict=True):
        places = np.asarray(chosen).astype(np.int64)
        if places.ndim != 1 or places.size == 0 or not 0 <= places.min() <= places.max() < columns:
            raise FormatError(f"{estimator} chooses columns that it was not fitted on")
        picked = builder.node("Gather", value, builder.constant(places), axis=1)
        found = whole(builder, one, picked, len(places))
        values.append(chances(builder, found) if classifies else _number(builder, found))
        width = found.width
    mean = _summed(builder, values, [1 / len(values)] * len(values))
    if not classifies:
        return Answer(mean, "value", width)
    labels = estimator.labels()
    if any(len(one.labels()) != len(labels) for one in members):
        raise ConversionError(f"{estimator} has an estimator that never saw some of the classes, which is not read")
    return Answer(mean, "probabilities", len(labels), labels)


def _boosted(builder: Builder, estimator: Estimator, value: str, columns: int, whole: Whole) -> Answer:
    """The weighted votes of estimators; the chances are the softmax of what they add up to.

    Source: Zhu et al. 2009, Multi-class AdaBoost.
    """
    if estimator.get("algorithm") == "SAMME.R":
        raise ConversionError(f"{estimator} was fitted with the algorithm 'SAMME.R', which is not read")
    members, labels = _members(estimator), estimator.labels()
    count = len(labels)
    weights = estimator.array("estimator_weights_", 1)[: len(members)].astype(np.float64)
    axis, table = builder.constant([-1], dtype="int64"), builder.constant(np.arange(count), dtype="int64")
    votes = []
    for one in members:
        found = whole(builder, one, value, columns)
        # the largest chance decides, as within the estimator itself
        place = builder.node("ArgMax", chances(builder, found), axis=1, keepdims=0)
        same = builder.node("Equal", builder.node("Unsqueeze", place, axis), table)
        own = builder.constant(np.float64(1)), builder.constant(np.float64(-1 / (count - 1)))
        votes.append(builder.node("Where", same, *own))
    summed = _summed(builder, votes, [float(one) for one in weights / weights.sum()])
    if count == 2:  # the difference of both columns, halved, is what the second has over the first
        summed = builder.node("Gather", summed, builder.constant([1], dtype="int64"), axis=1)
        return Answer(builder.node("Mul", summed, builder.constant(np.float64(2))), "logit", 1, labels)
    return Answer(builder.node("Mul", summed, builder.constant(np.float64(1 / (count - 1)))), "logits", count, labels)


def _stacked(builder: Builder, estimator: Estimator, value: str, columns: int, whole: Whole) -> Answer:
    """An estimator that is given what others answer, of two classes the chance of the second alone."""
    methods, members = estimator.get("stack_method_"), _members(estimator)
    if not isinstance(methods, list) or len(methods) != len(members):
        raise FormatError(f"{estimator} does not say what of its estimators is stacked")
    values, width = [], 0
    for one, method in zip(members, methods, strict=True):
        found = whole(builder, one, value, columns)
        if method not in {"predict_proba", "predict"} or (method == "predict" and found.labels):
            raise ConversionError(f"{estimator} stacks {str(method)[:40]!r}, which is not read")
        made, count = (chances(builder, found), len(found.labels)) if found.labels else (_number(builder, found), 1)
        if count == 2:
            made, count = builder.node("Gather", made, builder.constant([1], dtype="int64"), axis=1), 1
        values.append(made)
        width += count
    if estimator.get("passthrough"):
        values.append(value)
        width += columns
    joined = values[0] if len(values) == 1 else builder.node("Concat", *values, axis=1)
    found = whole(builder, estimator.part("final_estimator_"), joined, width)
    return Answer(found.value, found.kind, found.width, estimator.labels() if found.labels else (), found.note)


def _calibrated(builder: Builder, estimator: Estimator, value: str, columns: int, whole: Whole) -> Answer:
    """The mean of classifiers whose answers were bent to chances, each class by itself.

    Source: Platt 1999, Probabilistic outputs for support vector machines.
    """
    labels = estimator.labels()
    means = []
    for one in _members(estimator, "calibrated_classifiers_"):
        inner = one.get("estimator") or one.get("base_estimator")
        if not isinstance(inner, Estimator):
            raise FormatError(f"{estimator} holds a calibrated classifier without an estimator")
        found = whole(builder, inner, value, columns)
        raw = builder.node("Cast", found.value, to=_DOUBLE)
        last = steps(inner)[-1]
        if found.kind in {"probabilities", "probability"} or (last is not None and last.kind in _WITHOUT_VALUES):
            raw = chances(builder, found)
            if len(labels) == 2:
                raw = builder.node("Gather", raw, builder.constant([1], dtype="int64"), axis=1)
        bends = _members(one, "calibrators")
        means.append(_bent(builder, estimator, raw, bends, len(labels)))
    mean = _summed(builder, means, [1 / len(means)] * len(means))
    if len(labels) == 2:
        return Answer(mean, "probability", 1, labels)
    return Answer(mean, "probabilities", len(labels), labels)


def _bent(builder: Builder, estimator: Estimator, raw: str, bends: Sequence[Estimator], classes: int) -> str:
    if any(one.kind != "_SigmoidCalibration" for one in bends) or len(bends) != (1 if classes == 2 else classes):
        raise ConversionError(f"{estimator} is calibrated by {bends[0].kind}, but only the sigmoid is read")
    slope = builder.constant(np.array([-one.number("a_") for one in bends]))
    start = builder.constant(np.array([-one.number("b_") for one in bends]))
    value = builder.node("Sigmoid", builder.node("Add", builder.node("Mul", raw, slope), start))
    return value if classes == 2 else _normalized(builder, value)


def _normalized(builder: Builder, value: str) -> str:
    """Shares of the sum; equal ones where all are 0."""
    total = builder.node("ReduceSum", value, builder.constant([1], dtype="int64"), keepdims=1)
    return builder.node("Div", value, total)


def _each_target(builder: Builder, estimator: Estimator, value: str, columns: int, whole: Whole) -> Answer:
    found = [_number(builder, whole(builder, one, value, columns)) for one in _members(estimator)]
    return Answer(builder.node("Concat", *found, axis=1) if len(found) > 1 else found[0], "value", len(found))


def _one_against_rest(builder: Builder, estimator: Estimator, value: str, columns: int, whole: Whole) -> Answer:
    labels = estimator.labels()
    found = [chances(builder, whole(builder, one, value, columns)) for one in _members(estimator)]
    second = [builder.node("Gather", one, builder.constant([1], dtype="int64"), axis=1) for one in found]
    if len(second) == 1:
        return Answer(second[0], "probability", 1, labels)
    if len(second) != len(labels):
        raise ConversionError(f"{estimator} gives several labels at once, which is not read")
    return Answer(_normalized(builder, builder.node("Concat", *second, axis=1)), "probabilities", len(labels), labels)


def _transformed(builder: Builder, estimator: Estimator, value: str, columns: int, whole: Whole) -> Answer:
    """A regression of a target that was transformed, brought back."""
    found = whole(builder, estimator.part("regressor_"), value, columns)
    back = estimator.part("transformer_")
    drawn = _number(builder, found)
    for operator, array in _backwards(back, found.width):
        drawn = builder.node(operator, drawn, *([] if array is None else [builder.constant(array)]))
    return Answer(drawn, "value", found.width)


def _backwards(transformer: Estimator, width: int) -> Iterator[tuple[str, ndarray | None]]:
    """The operators that undo a transformer of targets."""

    def learned(name: str) -> ndarray:
        array = transformer.array(name, 1).astype(np.float64)
        if len(array) != width:
            raise FormatError(f"{transformer} has {len(array)} numbers in {name} for {width} targets")
        return array

    kind = transformer.kind
    if kind == "FunctionTransformer":
        function = transformer.get("inverse_func")
        name = getattr(function, "name", None) if function is not None else ""
        if name and name not in FUNCTIONS:
            raise ConversionError(f"{transformer} is undone by {str(name)[:40]!r}, which is not read")
        for operator, number in FUNCTIONS[name] if name else ():
            yield operator, None if number is None else np.array(number)
    elif kind in {"StandardScaler", "RobustScaler"}:
        names = ("scale_", "mean_") if kind == "StandardScaler" else ("scale_", "center_")
        used = ("with_std", "with_mean") if kind == "StandardScaler" else ("with_scaling", "with_centering")
        for operator, name, setting in zip(("Mul", "Add"), names, used, strict=True):
            if transformer.get(name) is not None and transformer.get(setting, default=True):
                yield operator, learned(name)
    elif kind == "MinMaxScaler":
        yield "Sub", learned("min_")
        yield "Div", learned("scale_")
    elif kind == "MaxAbsScaler":
        yield "Mul", learned("scale_")
    else:
        raise ConversionError(f"the target was transformed by {transformer}, which is not read")


TOGETHER: Mapping[str, Join] = {
    "AdaBoostClassifier": _boosted,
    "BaggingClassifier": _bagged,
    "BaggingRegressor": _bagged,
    "CalibratedClassifierCV": _calibrated,
    "MultiOutputRegressor": _each_target,
    "OneVsRestClassifier": _one_against_rest,
    "StackingClassifier": _stacked,
    "StackingRegressor": _stacked,
    "TransformedTargetRegressor": _transformed,
    "VotingClassifier": _voted,
    "VotingRegressor": _averaged,
}
"""Estimators by the names of their classes."""
