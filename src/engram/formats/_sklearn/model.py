"""A whole estimator or pipeline as a model: preparing in one graph, answering in the other.

Where a pipeline was fitted on named columns, these are the raw inputs; where it was fitted on an array, the array is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy import ndarray

from engram.errors import FormatError
from engram.formats._sklearn.admission import Admitted, admitted
from engram.formats._sklearn.answering import answered, draw
from engram.formats._sklearn.columns import Columns
from engram.formats._sklearn.estimator import Estimator
from engram.formats._sklearn.preparing import drawing, prepared, steps, texts
from engram.graphs.build import Builder, element_type
from engram.graphs.weights import detach
from engram.records import Model, Signature, TensorSpec

__all__ = ["counted", "held", "model"]

_FEATURES, _ANSWER, _ARRAY = "features", "answer", "X"
_MOST = 100_000
_WORDS = 512
_COUNTS = ("n_features_in_", "n_features_", "_n_features")
"""Where the number of columns stands: for all estimators from 0.24 on, before that for trees and for columns."""


def model(estimator: Estimator) -> Model:
    """The model that an estimator is.

    Raises:
        ConversionError: a part of it has no graph.
        FormatError: it is damaged, or was never fitted.
    """
    found = steps(estimator)
    last = next((one for one in reversed(found) if one is not None), None)
    if last is None:
        raise FormatError(f"{estimator} is a pipeline without an estimator")
    before = [one for one in found[: _place(found, last)] if one is not None]
    _read_at_all(before, last)
    raw, features, preprocessing = _before(estimator, before, found[0])
    holds = held(estimator)
    raw, statistics = _told(raw, holds)
    network = Builder([features], name="network")
    answer = answered(network, last, _FEATURES, int(features.shape[1]))
    kind = "float64" if _width(last) == np.float64 else "float32"
    network.node("Cast", answer.value, name=_ANSWER, to=element_type(kind))
    output = TensorSpec(_ANSWER, kind, ("batch", answer.width))
    graph, weights = detach(onnx.ModelProto.FromString(network.finish([output])))
    said = TensorSpec(_ANSWER, kind, ("batch", answer.width), kind=answer.kind)
    source = {"framework": "scikit-learn", "estimator": described(estimator)}
    if answer.note:
        source["note"] = answer.note
    return Model(graph, weights, Signature(raw, (said,)), preprocessing, answer.labels, source, statistics)


def _read_at_all(before: Sequence[Estimator], last: Estimator) -> None:
    """Refuse what has no graph by its name, before anything else is found to be missing in it."""
    for one in before:
        drawing(one)
    draw(last)


def _place(found: list[Estimator | None], last: Estimator) -> int:
    return next(place for place, one in enumerate(found) if one is last)


def _before(
    estimator: Estimator, before: list[Estimator], first: Estimator | None
) -> tuple[tuple[TensorSpec, ...], TensorSpec, bytes]:
    """Raw inputs, the tensor that the network is given, and the graph between them; none where they are the same."""
    count, names = counted(estimator)
    if not names and not before:
        spec = TensorSpec(_FEATURES, "float64", ("batch", count))
        return (spec,), spec, b""
    held = texts(first, count) if before else (False,) * count
    raw = _named(names, held) if names else (TensorSpec(_ARRAY, "float64", ("batch", count)),)
    if not names and any(held):
        raise FormatError(f"{estimator} was fitted on an array of words, whose columns have no names; name them")
    plain = [TensorSpec(spec.name, spec.dtype, spec.shape) for spec in raw]
    builder = Builder(plain, name="preprocessing")
    parts = tuple(spec.name for spec in plain) if names else ()
    columns = Columns(count, whole="" if names else _ARRAY, parts=parts, texts=held if names else ())
    for step in before:
        columns = prepared(builder, step, columns)
    builder.scope = ""
    builder.node("Identity", columns.numbers(builder, estimator), name=_FEATURES)
    features = TensorSpec(_FEATURES, "float64", ("batch", columns.count))
    return raw, features, builder.finish([features])


def held(estimator: Estimator) -> list[Admitted]:
    """What each column may hold that it was fitted on."""
    count, _ = counted(estimator)
    return admitted(steps(estimator), count)


def _told(
    raw: tuple[TensorSpec, ...], holds: Sequence[Admitted]
) -> tuple[tuple[TensorSpec, ...], dict[str, Mapping[str, Any]]]:
    """The raw inputs with what they may hold, and what is known of the values in them."""
    if len(raw) == 1 and len(raw[0].shape) == 2:
        (spec,) = raw
        columns = {"mean": [one.mean for one in holds], "std": [one.std for one in holds]}
        known = np.isfinite(list(columns.values())).all()
        gaps = all(one.gaps for one in holds)
        found = {**(columns if known else {}), **({"positive": True} if any(one.positive for one in holds) else {})}
        return (replace(spec, gaps=True if gaps else None),), {spec.name: found} if found else {}
    specs = tuple(replace(spec, gaps=one.gaps) for spec, one in zip(raw, holds, strict=True))
    told = {spec.name: one.statistics() for spec, one in zip(raw, holds, strict=True)}
    return specs, {name: one for name, one in told.items() if one}


def _named(names: tuple[str, ...], held: tuple[bool, ...]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name, "string" if words else "float64", ("batch",), kind="category" if words else "number")
        for name, words in zip(names, held, strict=True)
    )


def counted(estimator: Estimator) -> tuple[int, tuple[str, ...]]:
    """How many columns it was fitted on, and their names where they had some.

    Raises:
        FormatError: it does not say, or two have one name.
    """
    for one in _entries(estimator):
        names, count = one.names(), next((one.get(name) for name in _COUNTS if one.get(name) is not None), None)
        if names and len(set(names)) != len(names):
            raise FormatError(f"{one} was fitted on columns of which two have one name")
        if names:
            return len(names), names
        if isinstance(count, (int, np.integer)) and 0 < count <= _MOST:
            return int(count), ()
        if learned := _learned(one):
            return int(learned[0].shape[-1]), ()
    raise FormatError(f"{estimator} does not say how many columns it was fitted on; it was perhaps never fitted")


def _entries(estimator: Estimator) -> Iterator[Estimator]:
    """What sees the columns as they come in: the whole, its first step, and what stands in that side by side."""
    yield estimator
    first = next((one for one in steps(estimator) if one is not None), None)
    if first is not None and first is not estimator:
        yield first
    for name in ("transformer_list", "estimators_", "regressor_"):
        held = first.get(name) if first is not None else None
        for one in held if isinstance(held, list) else [held]:
            inner = one[1] if isinstance(one, (list, tuple)) and len(one) == 2 else one
            if isinstance(inner, Estimator):
                yield from _entries(inner)


def _learned(estimator: Estimator) -> list[ndarray]:
    """Numbers by which an estimator of an old release tells its columns."""
    found = [estimator.get(name) for name in ("coef_", "mean_", "scale_", "statistics_")]
    coefs = estimator.get("coefs_")
    first = [coefs[0].T] if isinstance(coefs, list) and coefs and isinstance(coefs[0], ndarray) else []
    return [one for one in [*found, *first] if isinstance(one, ndarray) and one.ndim]


def _width(last: Estimator) -> np.dtype[Any]:
    """The type an estimator answers in: that of its own numbers."""
    coefs = last.get("coefs_")
    learned = coefs[0] if isinstance(coefs, (list, tuple)) and coefs else last.get("coef_")
    single = isinstance(learned, ndarray) and learned.dtype == np.float32
    return np.dtype(np.float32 if single else np.float64)


def described(estimator: Estimator, depth: int = 0) -> dict[str, Any]:
    """The settings of an estimator as plain JSON: what its user chose, without what it learned."""
    settings: dict[str, Any] = {}
    for name, value in estimator.state.items():
        if name.endswith("_") and not name.startswith("_sklearn"):
            continue
        settings[name] = _plain(value, depth)
    return {"kind": estimator.kind, "settings": {name: value for name, value in settings.items() if value is not ...}}


def _plain(value: Any, depth: int) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, (np.bool_, np.number)):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value[:_WORDS] if isinstance(value, str) else value
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    if isinstance(value, Estimator):
        return described(value, depth + 1) if depth < 20 else value.kind
    if isinstance(value, (list, tuple)) and len(value) <= _WORDS and depth < 20:
        return [one for one in (_plain(inner, depth + 1) for inner in value) if one is not ...]
    return ...
