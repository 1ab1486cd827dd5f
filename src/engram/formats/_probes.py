"""Rows to ask two models, the same for the same seed.

They are drawn from what training saw and not at random alone, because a fault in an encoder shows only on a value that
the encoder knows; and they hold what training never saw, because gaps and unknown categories are where two programs
part. The last rows are rows of the training data as they were, where the model remembers some.

All that decides the rows is in a ``Question``, so that they can be asked again where the model is not at hand.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import FormatError
from engram.formats._vocabulary import vocabulary
from engram.records import Model, Signature, TensorSpec

__all__ = ["Question", "affordable", "drawn", "probes", "question"]

_UNSEEN = ("never seen before", "naïve 東京 🙂", " ")
_FREE_AXIS = 8
_SIDE = 32
_CENTURY = (0.0, 2_000_000_000.0)
_LARGEST = 1e100
_ABOVE_ZERO = 1e-3
_USUAL_VALUES = 2**26
_MOST_VALUES = 2**28
_REMEMBERED = ("min", "max", "mean", "std", "examples", "values", "closed", "positive", "height", "width")


@dataclass(frozen=True, slots=True)
class Question:
    """All that decides the probe rows.

    Attributes:
        signature: of the model.
        rows: at least 1.
        seed: the same seed gives the same rows, whatever the order of the inputs.
        statistics: what training saw of each raw input.
        vocabulary: input of tokens → how many there are; none is asked beyond.
    """

    signature: Signature
    rows: int = 64
    seed: int = 0
    statistics: Mapping[str, Any] = field(default_factory=dict)
    vocabulary: Mapping[str, int] = field(default_factory=dict)

    @property
    def real(self) -> int:
        """How many of the rows training saw: at most a quarter, and none where a column is not remembered."""
        kept = [self._examples(spec) for spec in self.signature.inputs]
        return min((len(column) for column in kept), default=0) if all(kept) else 0

    def _examples(self, spec: TensorSpec) -> list[Any]:
        plain = len(spec.shape) == 1 and spec.kind != "tensor"
        return _list(_seen(self.statistics, spec.name), "examples")[: self.rows // 4] if plain else []


def question(model: Model, rows: int = 64, seed: int = 0) -> Question:
    """What a model is to be asked.

    Args:
        model: its signature, statistics and graph are looked at, nothing of it is run.
        rows: at least 1.
        seed: any.
    """
    names = [spec.name for spec in model.signature.inputs]
    seen = {name: dict(_seen(model.statistics, name)) for name in names if _seen(model.statistics, name)}
    used = {name: {key: found[key] for key in _REMEMBERED if key in found} for name, found in seen.items()}
    sizes = vocabulary(model.graph) if model.graph and not model.preprocessing else {}
    return Question(model.signature, rows, seed, used, {name: sizes[name] for name in names if name in sizes})


def affordable(signature: Signature, rows: int) -> int:
    """As many of the rows as make up some hundred megabytes, at least one."""
    width = sum(math.prod(_shape(spec, 1, {})) for spec in signature.inputs)
    return min(rows, max(_USUAL_VALUES // max(width, 1), 1))


def probes(model: Model, rows: int = 64, seed: int = 0) -> dict[str, ndarray]:
    """Raw inputs for a model, one array an input, rows first; see ``drawn``."""
    return drawn(question(model, rows, seed))


def drawn(asked: Question) -> dict[str, ndarray]:
    """Raw inputs, one array an input, rows first.

    Rows of zeros, of extremes and, where there is preprocessing, of gaps and unknown words come first; the rest is
    drawn from the examples, ranges and values that training saw, or normally distributed where nothing is known; rows
    that training saw come last.

    Raises:
        FormatError: the inputs are so large that asking would take gigabytes.
    """
    axes: dict[str, int] = {}
    inputs = asked.signature.inputs
    together = inputs[0].shape[:1] if inputs else ()
    total = sum(math.prod(_shape(spec, _rows(spec, together, asked.rows), {})) for spec in inputs)
    if total > _MOST_VALUES:
        raise FormatError(f"the model takes {total:,} numbers at once, but at most {_MOST_VALUES:,} are asked")
    made = {}
    for spec in inputs:
        generator, rows = _generator(asked.seed, spec.name), _rows(spec, together, asked.rows)
        size = asked.vocabulary.get(spec.name, 0)
        seen = _seen(asked.statistics, spec.name)
        made[spec.name] = (
            _tokens(spec, generator, rows, axes, size) if size else _column(spec, seen, generator, rows, axes)
        )
    return _with_real(asked, made)


def _with_real(asked: Question, made: dict[str, ndarray]) -> dict[str, ndarray]:
    """The last rows replaced by rows that training saw; those before them stay as they were drawn."""
    count = asked.real
    for spec in asked.signature.inputs if count else ():
        column = made[spec.name]
        values = _list(_seen(asked.statistics, spec.name), "examples")[:count]
        if column.dtype == object:
            column[-count:] = [str(value) for value in values]
        else:
            gap = np.nan if column.dtype.kind == "f" else 0
            column[-count:] = [value if _usable(value) else gap for value in values]
    return made


def _rows(spec: TensorSpec, together: tuple[int | str, ...], rows: int) -> int:
    """The rows wanted, but for an input whose first axis is fixed and not that of the first input."""
    first = spec.shape[0] if spec.shape else rows
    return first if spec.shape[:1] != together and isinstance(first, int) else rows


def _generator(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, *hashlib.sha256(name.encode()).digest()[:8]])


def _seen(statistics: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = statistics.get(name)
    return found if isinstance(found, Mapping) else {}


def _column(
    spec: TensorSpec, seen: Mapping[str, Any], generator: np.random.Generator, rows: int, axes: dict[str, int]
) -> ndarray:
    if spec.kind == "image":
        return _images(spec, seen, generator, rows)
    if spec.dtype == "string":
        return _words(spec, seen, generator, rows)
    if spec.kind in {"number", "boolean", "date"} and len(spec.shape) == 1:
        return _numbers(spec, seen, generator, rows)
    return _tensor(spec, seen, generator, rows, axes)


def _numbers(spec: TensorSpec, seen: Mapping[str, Any], generator: np.random.Generator, rows: int) -> ndarray:
    if seen.get("closed") is True:
        return _known_numbers(spec, seen, generator, rows)
    low, high = _range(spec, seen)
    mean, spread = _number(seen, "mean", (low + high) / 2), _number(seen, "std", (high - low) / 4)
    drawn = generator.normal(mean, max(spread, 1e-6), rows).clip(low, high)
    examples = [float(one) for one in _list(seen, "examples") if _usable(one)]
    if examples:
        drawn[::2] = generator.choice(examples, len(drawn[::2]))
    if spec.kind == "boolean":
        drawn = (generator.random(rows) < 0.5).astype(np.float64)
    elif spec.kind == "date":
        drawn = np.round(drawn)
    edges = [0.0, low, high, np.nan, low - spread, high + spread]
    if spec.kind == "boolean":
        edges = [0.0, 1.0, np.nan]
    if not spec.takes_gaps:
        edges = [edge for edge in edges if not math.isnan(edge)]
    if seen.get("positive") is True:
        drawn, edges = np.abs(drawn) + _ABOVE_ZERO, [edge for edge in edges if not edge <= 0]
    return _with_edges(drawn, edges).astype(spec.dtype)


def _known_numbers(spec: TensorSpec, seen: Mapping[str, Any], generator: np.random.Generator, rows: int) -> ndarray:
    """Numbers that stand for classes, where the model refuses all others."""
    pairs = [pair for pair in _list(seen, "values") if isinstance(pair, Sequence) and pair]
    known = [float(pair[0]) for pair in pairs if _usable(pair[0])] or [0.0]
    drawn = np.array([known[place % len(known)] for place in range(rows)])
    generator.shuffle(drawn)
    return _with_edges(drawn, [np.nan] if spec.takes_gaps else []).astype(spec.dtype)


def _range(spec: TensorSpec, seen: Mapping[str, Any]) -> tuple[float, float]:
    usual = _CENTURY if spec.kind == "date" else (-3.0, 3.0)
    if _usable(seen.get("mean")) and _usable(seen.get("std")):
        mean, spread = _number(seen, "mean", 0.0), _number(seen, "std", 0.0)
        usual = (mean - 3 * spread, mean + 3 * spread)
    low, high = _number(seen, "min", usual[0]), _number(seen, "max", usual[1])
    return (low, high) if low < high else (low, low + 1.0)


def _words(spec: TensorSpec, seen: Mapping[str, Any], generator: np.random.Generator, rows: int) -> ndarray:
    pairs = [pair for pair in _list(seen, "values") if isinstance(pair, Sequence) and pair]
    known = [str(pair[0]) for pair in pairs] + [str(one) for one in _list(seen, "examples")]
    known = list(dict.fromkeys(known)) or ["a", "b", "some words"]
    # every known word once before any comes twice: a wrong entry of a table shows on one word alone
    order = [known[place] for place in generator.permutation(len(known))]
    edges = ["", *_UNSEEN] if spec.kind in {"category", "text"} else []
    if seen.get("closed") is True:
        edges = edges[:1]
    if not spec.takes_gaps:
        edges = edges[1:]
    shape = (rows, *(axis if isinstance(axis, int) else 1 for axis in spec.shape[1:]))
    count = int(np.prod(shape))
    drawn = np.empty(count, dtype=object)
    drawn[:] = [order[place % len(order)] for place in range(count)]
    return _with_edges(drawn, edges).reshape(shape) if len(shape) == 1 else drawn.reshape(shape)


def _images(spec: TensorSpec, seen: Mapping[str, Any], generator: np.random.Generator, rows: int) -> ndarray:
    sides = [_side(axis, seen, key) for axis, key in zip(spec.shape[1:3], ("height", "width"), strict=True)]
    channels = spec.shape[3] if isinstance(spec.shape[3], int) else 3
    mean, spread = _number(seen, "mean", 127.0), _number(seen, "std", 60.0)
    scale = 255.0 if 0 < mean <= 1 else 1.0
    coarse = generator.normal(mean * scale, spread * scale, (rows, *(-(-side // 4) for side in sides), channels))
    smooth = coarse.repeat(4, axis=1).repeat(4, axis=2)[:, : sides[0], : sides[1]]
    drawn = (smooth + generator.normal(0, 10, smooth.shape)).round().clip(0, 255)
    return _with_edges(drawn, [0, 255]).astype(np.uint8)


def _side(axis: int | str, seen: Mapping[str, Any], key: str) -> int:
    if isinstance(axis, int):
        return axis
    sizes = seen.get(key)
    if isinstance(sizes, Sequence) and len(sizes) == 2 and all(isinstance(size, (int, float)) for size in sizes):
        return max(1, min(256, int(sum(sizes) / 2)))
    return _SIDE


def _shape(spec: TensorSpec, rows: int, axes: dict[str, int]) -> tuple[int, ...]:
    free = _SIDE if len(spec.shape) == 4 else _FREE_AXIS
    lengths = (axis if isinstance(axis, int) else axes.setdefault(axis, free) for axis in spec.shape[1:])
    return (rows, *lengths) if spec.shape else ()


def _tokens(spec: TensorSpec, generator: np.random.Generator, rows: int, axes: dict[str, int], size: int) -> ndarray:
    """Numbers of words, of which the first and the last are edges; some networks take them as floats."""
    shape = _shape(spec, rows, axes)
    drawn = generator.integers(0, max(size, 1), shape)
    return (_with_edges(drawn, [0, max(size - 1, 0)]) if shape else drawn).astype(spec.dtype)


def _tensor(
    spec: TensorSpec, seen: Mapping[str, Any], generator: np.random.Generator, rows: int, axes: dict[str, int]
) -> ndarray:
    shape = _shape(spec, rows, axes)
    if spec.dtype == "bool":
        return generator.random(shape) < 0.5
    if "int" in spec.dtype:
        return generator.integers(0, 2, shape).astype(spec.dtype)
    drawn = generator.normal(0.0, 1.0, shape)
    filled = _with_edges(drawn, [0.0, 1.0, -3.0, 3.0]) if spec.shape else drawn
    filled = _spread(spec, seen, filled)
    if spec.gaps and spec.shape:
        filled[rows // 2 :: 2][generator.random(filled[rows // 2 :: 2].shape) < 0.3] = np.nan
    if spec.dtype == "bfloat16":
        import ml_dtypes  # a dependency of onnx

        return filled.astype(ml_dtypes.bfloat16)
    return filled.astype(spec.dtype)


def _spread(spec: TensorSpec, seen: Mapping[str, Any], drawn: ndarray) -> ndarray:
    """Columns of an array about the mean of each, where these are remembered, and around 0 where not."""
    mean, spread = _list(seen, "mean"), _list(seen, "std")
    width = drawn.shape[1] if len(spec.shape) == 2 and drawn.ndim == 2 else 0
    if seen.get("positive") is True:
        drawn = np.abs(drawn) + _ABOVE_ZERO
    if not width or {len(mean), len(spread)} != {width} or not all(map(_usable, [*mean, *spread])):
        return drawn
    return np.asarray(drawn * np.array(spread, np.float64) + np.array(mean, np.float64))


def _with_edges(drawn: ndarray, edges: Sequence[Any]) -> ndarray:
    """The first rows replaced by edge cases, but never more than half of them."""
    for row, edge in enumerate(edges[: len(drawn) // 2]):
        drawn[row] = edge
    return drawn


def _number(seen: Mapping[str, Any], key: str, default: float) -> float:
    value = seen.get(key, default)
    return float(value) if _usable(value) else default


def _list(seen: Mapping[str, Any], key: str) -> list[Any]:
    """What is remembered as several; a stranger's statistics may hold anything there."""
    found = seen.get(key)
    return list(found) if isinstance(found, (list, tuple)) else []


def _usable(value: Any) -> bool:  # noqa: ANN401 - of a stranger's file
    """Whether it is a number of a size that can be drawn around; compared as it is, because ``10**400`` is no float."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST
