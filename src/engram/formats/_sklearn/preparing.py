"""What stands in front of an estimator: scaling, filling, encoding, choosing, and putting such steps together.

Every function takes the builder, the estimator and the columns it is given, and returns the columns it makes. Numbers
are float64 throughout, as in scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError, FormatError
from engram.formats._sklearn import deriving
from engram.formats._sklearn.columns import Columns
from engram.formats._sklearn.encoding import ENCODERS, is_of_words
from engram.formats._sklearn.estimator import Estimator
from engram.graphs.build import Builder

__all__ = ["PREPARE", "drawing", "parts", "prepared", "steps", "texts"]

Prepare = Callable[[Builder, Estimator, Columns], Columns]


def prepared(builder: Builder, estimator: Estimator, columns: Columns) -> Columns:
    """The columns that a step makes of those it is given.

    Raises:
        ConversionError: there is no graph for the step.
        FormatError: it is damaged.
    """
    known = drawing(estimator)
    builder.scope = estimator.where or estimator.kind
    return known(builder, estimator, columns)


def drawing(estimator: Estimator) -> Prepare:
    """How a step is drawn.

    Raises:
        ConversionError: there is no graph for it.
    """
    known = PREPARE.get(estimator.kind)
    if known is None:
        there = ", ".join(sorted(PREPARE))
        raise ConversionError(f"{estimator} is no step of scikit-learn that is read; there are {there}")
    return known


def steps(estimator: Estimator) -> list[Estimator | None]:
    """The steps of a pipeline in order, pipelines within it opened; None for one that lets all through.

    Raises:
        FormatError: it is damaged.
    """
    if estimator.kind != "Pipeline":
        return [estimator]
    found = estimator.get("steps")
    if not isinstance(found, list) or not all(isinstance(one, (list, tuple)) and len(one) == 2 for one in found):
        raise FormatError(f"{estimator} has no list of steps")
    made: list[Estimator | None] = []
    for name, step in found:
        if step is None or step == "passthrough":
            made.append(None)
            continue
        if not isinstance(step, Estimator):
            raise ConversionError(f"step {str(name)[:40]!r} of {estimator} is no estimator that is read")
        made += steps(Estimator(step.kind, step.state, "/".join(filter(None, (estimator.where, str(name))))))
    return made


def texts(estimator: Estimator | None, count: int) -> tuple[bool, ...]:
    """Which of the columns that a step is given hold words, by what reads them first."""
    if estimator is None:
        return (False,) * count
    if estimator.kind == "ColumnTransformer":
        held = [False] * count
        for step, places in parts(estimator, count):
            if step is not None:
                first = texts(next(iter(steps(step)), None), len(places))
                held = [was or (at in places and first[places.index(at)]) for at, was in enumerate(held)]
        return tuple(held)
    return is_of_words(estimator, count)


def parts(estimator: Estimator, count: int) -> Iterator[tuple[Estimator | None, list[int]]]:
    """The steps that stand side by side, and the columns of each; those that let nothing through are left out.

    Raises:
        ConversionError: one of them is no estimator.
        FormatError: it is damaged.
    """
    found = estimator.get("transformers_")
    if not isinstance(found, list):
        raise FormatError(f"{estimator} has no transformers_; it was kept before it was fitted, or is damaged")
    for one in found:
        if not isinstance(one, (list, tuple)) or len(one) != 3:
            raise FormatError(f"{estimator} has a transformer that is no name, step and columns")
        name, step, columns = one
        places = _places(estimator, columns, count)
        if step == "drop" or not places:
            continue
        if isinstance(step, Estimator):
            where = "/".join(filter(None, (estimator.where, str(name))))
            yield Estimator(step.kind, step.state, where), places
        elif step == "passthrough":
            yield None, places
        else:
            raise ConversionError(f"the transformer {str(name)[:40]!r} of {estimator} is none that is read")


def _places(estimator: Estimator, columns: Any, count: int) -> list[int]:  # noqa: ANN401 - as scikit-learn lets one say
    """Columns named by names, numbers, one of these, a range or yes and no."""
    names = list(estimator.names())
    if isinstance(columns, Estimator) and columns.kind == "_RemainderColsList":  # the rest, in 1.5 and later
        columns = columns.get("data")
    if isinstance(columns, (str, int, np.integer)):
        columns = [columns]
    if isinstance(columns, slice):
        columns = list(range(count))[columns] if not isinstance(columns.start, str) else []
    if isinstance(columns, ndarray):
        columns = columns.tolist()
    if not isinstance(columns, (list, tuple)):
        raise ConversionError(f"{estimator} chooses columns by a {type(columns).__name__}, which is not read")
    if columns and all(isinstance(one, bool) for one in columns):
        return [place for place, chosen in enumerate(columns) if chosen]
    try:
        return [names.index(one) if isinstance(one, str) else range(count)[int(one)] for one in columns]
    except (ValueError, TypeError, IndexError) as wrong:
        raise FormatError(f"{estimator} chooses columns that it was not fitted on: {wrong}") from wrong


def _side_by_side(builder: Builder, estimator: Estimator, columns: Columns) -> Columns:
    estimator.demand("transformer_weights", (None,))
    made = []
    for step, places in parts(estimator, columns.count):
        chosen = columns.chosen(builder, places)
        for inner in steps(step) if step is not None else [None]:
            chosen = prepared(builder, inner, chosen) if inner is not None else chosen
        made.append(chosen)
    return _joined(builder, estimator, made)


def _union(builder: Builder, estimator: Estimator, columns: Columns) -> Columns:
    estimator.demand("transformer_weights", (None,))
    made = []
    for name, step in estimator.get("transformer_list") or ():
        if isinstance(step, Estimator):
            inner = columns
            for one in steps(Estimator(step.kind, step.state, f"{estimator.where}/{name}")):
                inner = prepared(builder, one, inner) if one is not None else inner
            made.append(inner)
        elif step == "passthrough":
            made.append(columns)
    return _joined(builder, estimator, made)


def _joined(builder: Builder, estimator: Estimator, made: Sequence[Columns]) -> Columns:
    if not made:
        raise FormatError(f"{estimator} lets no column through")
    wholes = [one.numbers(builder, estimator) for one in made]
    whole = wholes[0] if len(wholes) == 1 else builder.node("Concat", *wholes, axis=1)
    return Columns(sum(one.count for one in made), whole=whole)


def _moved(subtract: tuple[str, str], divide: tuple[str, str]) -> Prepare:
    """Less one learned number a column, then divided by another.

    Args:
        subtract: name of the numbers, and of the setting without which they are kept and not used.
        divide: as ``subtract``.
    """

    def prepare(builder: Builder, estimator: Estimator, columns: Columns) -> Columns:
        value = columns.numbers(builder, estimator)
        for operator, (name, used) in (("Sub", subtract), ("Div", divide)):
            if estimator.get(name) is not None and estimator.get(used, default=True):
                array = _fitting(estimator, name, columns.count).astype(np.float64)
                value = builder.node(operator, value, builder.constant(array, f"{builder.scope}.{name}"))
        return Columns(columns.count, whole=value)

    return prepare


def _fitting(estimator: Estimator, name: str, count: int) -> ndarray:
    array = estimator.array(name, 1)
    if len(array) != count:
        raise FormatError(f"{estimator} has {len(array)} numbers in {name} for {count} columns")
    return array


def _min_max(builder: Builder, estimator: Estimator, columns: Columns) -> Columns:
    value = columns.numbers(builder, estimator)
    for operator, name in (("Mul", "scale_"), ("Add", "min_")):
        array = _fitting(estimator, name, columns.count).astype(np.float64)
        value = builder.node(operator, value, builder.constant(array, f"{builder.scope}.{name}"))
    if estimator.get("clip"):
        low, high = estimator.get("feature_range") or (0, 1)
        value = builder.node("Clip", value, builder.constant(np.float64(low)), builder.constant(np.float64(high)))
    return Columns(columns.count, whole=value)


def _filled(builder: Builder, estimator: Estimator, columns: Columns) -> Columns:
    """Gaps become a learned value, and columns may follow that tell where they were."""
    made = _without_gaps(builder, estimator, columns)
    told = estimator.get("indicator_")
    if not estimator.get("add_indicator") or not isinstance(told, Estimator) or not told.array("features_", 1).size:
        return made
    flags = deriving.missing(builder, Estimator(told.kind, told.state, estimator.where), columns)
    if made.whole:
        whole = builder.node("Concat", made.whole, flags.whole, axis=1)
        return Columns(made.count + flags.count, whole=whole)
    parts = tuple(flags.column(builder, place) for place in range(flags.count))
    texts = made.texts + (False,) * flags.count
    return Columns(made.count + flags.count, parts=made.parts + parts, texts=texts)


def _without_gaps(builder: Builder, estimator: Estimator, columns: Columns) -> Columns:
    """Gaps filled; columns without any value in training were dropped."""
    found = estimator.get("statistics_")
    if not isinstance(found, ndarray) or found.shape != (columns.count,):
        raise FormatError(f"{estimator} has no statistics_ for {columns.count} columns")
    if any(columns.text(place) for place in range(columns.count)):
        parts = [_worded(builder, columns.column(builder, at), str(found[at])) for at in range(columns.count)]
        return Columns(columns.count, parts=tuple(parts), texts=(True,) * columns.count)
    fill = estimator.array("statistics_").astype(np.float64)
    gap = estimator.get("missing_values", np.nan)
    value = columns.numbers(builder, estimator)
    is_gap = isinstance(gap, float) and np.isnan(gap)
    missing = builder.node("IsNaN", value) if is_gap else _equals(builder, estimator, value)
    value = builder.node("Where", missing, builder.constant(fill, f"{builder.scope}.statistics_"), value)
    kept = np.flatnonzero(~np.isnan(fill))
    whole = Columns(columns.count, whole=value)
    return whole if len(kept) == columns.count else whole.chosen(builder, kept.tolist())


def _equals(builder: Builder, estimator: Estimator, value: str) -> str:
    return builder.node("Equal", value, builder.constant(np.float64(estimator.number("missing_values"))))


def _worded(builder: Builder, column: str, fill: str) -> str:
    """A gap among words is the empty word here."""
    empty = builder.constant([""])
    return builder.node("Where", builder.node("Equal", column, empty), builder.constant([fill]), column)


def _normalized(builder: Builder, estimator: Estimator, columns: Columns) -> Columns:
    value = columns.numbers(builder, estimator)
    kind = {"l1": "ReduceL1", "l2": "ReduceL2", "max": "ReduceMax"}[estimator.demand("norm", ("l2", "l1", "max"))]
    size = builder.node("Abs", value) if kind == "ReduceMax" else value
    length = builder.node(kind, size, builder.constant([1], dtype="int64"), keepdims=1)
    zero = builder.node("Equal", length, builder.constant(np.float64(0)))
    length = builder.node("Where", zero, builder.constant(np.float64(1)), length)
    return Columns(columns.count, whole=builder.node("Div", value, length))


def _turned(builder: Builder, estimator: Estimator, columns: Columns) -> Columns:
    """Principal components: less the mean, times the components, whitened where asked."""
    components, mean = estimator.array("components_", 2).astype(np.float64), estimator.get("mean_")
    if components.shape[1] != columns.count:
        raise FormatError(f"{estimator} has components of {components.shape[1]} columns, but is given {columns.count}")
    value = columns.numbers(builder, estimator)
    if mean is not None:
        learned = _fitting(estimator, "mean_", columns.count).astype(np.float64)
        value = builder.node("Sub", value, builder.constant(learned, f"{builder.scope}.mean_"))
    turned = builder.node("Transpose", builder.constant(components, f"{builder.scope}.components_"), perm=[1, 0])
    value = builder.node("MatMul", value, turned)
    if estimator.get("whiten"):
        spread = np.sqrt(_fitting(estimator, "explained_variance_", len(components))).astype(np.float64)
        value = builder.node("Div", value, builder.constant(spread))
    return Columns(len(components), whole=value)


def _binary(builder: Builder, estimator: Estimator, columns: Columns) -> Columns:
    bound = builder.constant(np.float64(estimator.number("threshold", 0.0)))
    above = builder.node("Greater", columns.numbers(builder, estimator), bound)
    return Columns(columns.count, whole=builder.node("Cast", above, to=11))


def _selected(builder: Builder, estimator: Estimator, columns: Columns) -> Columns:
    """Columns that vary enough."""
    variances, bound = _fitting(estimator, "variances_", columns.count), estimator.number("threshold", 0.0)
    return columns.chosen(builder, np.flatnonzero(variances > bound).tolist())


def _bent(builder: Builder, estimator: Estimator, columns: Columns) -> Columns:
    made = deriving.bent(builder, estimator, columns)
    scaler = estimator.get("_scaler")
    if estimator.get("standardize", default=True) and isinstance(scaler, Estimator):
        return _moved(("mean_", ""), ("scale_", ""))(builder, scaler, made)
    return made


PREPARE: Mapping[str, Prepare] = {
    "Binarizer": _binary,
    "ColumnTransformer": _side_by_side,
    "FeatureUnion": _union,
    "FunctionTransformer": deriving.called,
    "KBinsDiscretizer": deriving.binned,
    "MaxAbsScaler": _moved(("", ""), ("scale_", "")),
    "MinMaxScaler": _min_max,
    "MissingIndicator": deriving.missing,
    "Normalizer": _normalized,
    "PCA": _turned,
    "PolynomialFeatures": deriving.multiplied,
    "PowerTransformer": _bent,
    "RobustScaler": _moved(("center_", "with_centering"), ("scale_", "with_scaling")),
    "SelectKBest": deriving.best,
    "SimpleImputer": _filled,
    "StandardScaler": _moved(("mean_", "with_mean"), ("scale_", "with_std")),
    "TruncatedSVD": _turned,
    "VarianceThreshold": _selected,
    **ENCODERS,
}
