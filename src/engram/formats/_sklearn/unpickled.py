"""What a pickle of an estimator may name, and the estimator that its records tell of.

Classes of scikit-learn are kept as records, wherever in scikit-learn they lived in the release that wrote the file:
names and values, of which nothing is ever called. One that has no graph is refused where it takes part in an answer.
What is named beside them (random generators, losses, scores) is read past and dropped, because no answer depends on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy import ndarray

from engram.errors import FormatError
from engram.formats._pickle import ARRAYS, CONTAINERS, KEPT, OBJECTS, Allowed, Inert, Reference, Unfinished, Word
from engram.formats._sklearn.answering import KINDS
from engram.formats._sklearn.deriving import FUNCTIONS
from engram.formats._sklearn.estimator import Estimator
from engram.formats._sklearn.preparing import PREPARE

__all__ = ["ALLOWED", "CLASSES", "estimator"]

_PACKAGE = "sklearn"
_CLASS, _WORD = re.compile(r"_?[A-Z][A-Za-z0-9_]*"), re.compile(r"[a-z][a-z0-9_]*")
_SHARED, _FEW = 10, 10_000
"""How often parts may be shared: a few that share each other would grow to any number once they are drawn."""
_SCORING = ("sklearn.metrics.", "sklearn.feature_selection.")
_SEARCHES = frozenset({"GridSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV", "RandomizedSearchCV"})
_COMPILED: Final = "__pyx_unpickle_"
_COMPILED_LOSSES: Final = "_loss"
"""What releases from 1.5 on call the module of their compiled losses, which is not where it lies."""

CLASSES: Final = frozenset({
    *KINDS, *PREPARE, "Pipeline", "Tree", "TreePredictor", "DummyClassifier", "DummyRegressor", "LabelBinarizer",
    "LabelEncoder", "AdamOptimizer", "SGDOptimizer", "_BinMapper", "_RemainderColsList", "BaseEstimator",
    "PriorProbabilityEstimator", "MeanEstimator", "QuantileEstimator", "LogOddsEstimator", "ScaledLogOddsEstimator",
    "ZeroEstimator", "_ConstantPredictor",
    # losses and links, which only training asks
    "AbsoluteError", "BinaryCrossEntropy", "BinomialDeviance", "CategoricalCrossEntropy", "CyAbsoluteError",
    "CyExponentialLoss", "CyHalfBinomialLoss", "CyHalfGammaLoss", "CyHalfMultinomialLoss", "CyHalfPoissonLoss",
    "CyHalfSquaredError", "CyHalfTweedieLoss", "CyHuberLoss", "CyPinballLoss", "EpsilonInsensitive",
    "ExponentialLoss", "HalfBinomialLoss", "HalfGammaLoss", "HalfLogitLink", "HalfMultinomialLoss",
    "HalfPoissonLoss", "HalfSquaredError", "Hinge", "Huber", "HuberLoss", "IdentityLink", "Interval", "LeastSquares",
    "LeastSquaresError", "LeastAbsoluteError", "Log", "LogLink", "LogitLink", "ModifiedHuber", "MultinomialDeviance",
    "MultinomialLogit", "PinballLoss", "SquaredEpsilonInsensitive", "SquaredHinge", "SquaredLoss",
})  # fmt: skip
"""Classes of scikit-learn that are kept as records."""


def estimator(found: Any, where: str) -> Estimator:  # noqa: ANN401 - what a pickle held
    """The estimator in what a pickle held.

    Raises:
        FormatError: it held something else.
    """
    known = _Made()
    made = known.value(found)
    if not isinstance(made, Estimator):
        kind = type(found).__name__
        raise FormatError(f"{where} holds a {kind} and no estimator of scikit-learn; keep the estimator itself")
    count, distinct = known.parts(made), len(known)
    if count > _SHARED * distinct + _FEW:
        raise FormatError(f"{where} has {count:,} parts once written out, but only {distinct:,} of them differ")
    return made


class _Made:
    """Estimators in the making; what is shared in the file is made once."""

    def __init__(self) -> None:
        self._known: dict[int, Any] = {}
        self._counts: dict[int, int] = {}

    def __len__(self) -> int:
        """How many values there are, each counted once."""
        return len(self._known)

    def parts(self, made: Any) -> int:  # noqa: ANN401 - any value
        """How many estimators there are, one that is shared counted wherever it stands."""
        inner: Iterable[Any] = ()
        if isinstance(made, Estimator):
            inner = made.state.values()
        elif type(made) in {list, tuple}:
            inner = made
        elif isinstance(made, ndarray) and made.dtype.kind == "O":
            inner = made.reshape(-1).tolist()
        else:
            return 0
        if id(made) not in self._counts:
            self._counts[id(made)] = sum(map(self.parts, inner)) + isinstance(made, Estimator)
        return self._counts[id(made)]

    def value(self, found: Any) -> Any:  # noqa: ANN401 - any value
        """A value, its records turned into estimators."""
        if id(found) in self._known:
            return self._known[id(found)]
        made = found
        if isinstance(found, Inert):
            made = self._estimator(found)
        elif isinstance(found, ndarray) and found.dtype.kind == "O":
            made = np.empty(found.shape, object)
            made.reshape(-1)[:] = [self.value(one) for one in found.reshape(-1).tolist()]
        elif type(found) in {list, tuple}:
            made = type(found)(self.value(one) for one in found)
        self._known[id(found)] = made
        return made

    def _estimator(self, found: Inert) -> Estimator:
        """An object by its attributes; a search is what it found best."""
        state = dict(_state(found))
        if found.name in _SEARCHES and "best_estimator_" in state:
            best = self.value(state["best_estimator_"])
            if isinstance(best, Estimator):
                return best
        return Estimator(found.name, {name: self.value(one) for name, one in state.items()})


def _state(found: Inert) -> Iterator[tuple[str, Any]]:
    """The attributes of a record: a dictionary, or a pair of one and of those in slots."""
    parts = found.state if isinstance(found.state, tuple) else (found.state,)
    for part in parts:
        if isinstance(part, dict):
            yield from ((name, one) for name, one in part.items() if isinstance(name, str))


def _type(written: object, align: object = False, copy: object = True) -> object:
    """A type of numpy; here one of objects is known, too, because classes and categories are kept in such arrays."""
    if written in {"O", "O8", "O4"}:
        return Unfinished(lambda _state, _stream: np.dtype(object))
    return _numeric("dtype")(written, align, copy)


def _numeric(name: str) -> Callable[..., Any]:
    found = next(one for (_, known), one in ARRAYS.items() if known == name and callable(one))
    assert callable(found)
    return found


def _array(kind: object, shape: object, written: object) -> object:
    """An array; one of objects comes with a list of values, each read by the rules of the pickle around it."""
    plain = _numeric("_reconstruct")(kind, shape, written)
    assert isinstance(plain, Unfinished)

    def finish(state: Any, stream: Any) -> Any:  # noqa: ANN401 - of a stranger's file
        if type(state) is tuple and len(state) == 5 and state[2] == np.dtype(object):
            return _of_objects(state[1], state[4], fortran=bool(state[3]))
        return plain.finish(state, stream)

    return Unfinished(finish)


def _of_objects(shape: Any, values: Any, *, fortran: bool) -> ndarray:  # noqa: ANN401 - of a stranger's file
    sound = type(shape) is tuple and all(type(length) is int and length >= 0 for length in shape)
    if not sound or type(values) is not list or len(values) != int(np.prod(shape, dtype=object)):
        raise FormatError("an array of objects does not hold as many as its shape says")
    made = np.empty(len(values), object)
    made[:] = values
    return made.reshape(shape, order="F" if fortran else "C")


def _slice(start: object = None, stop: object = None, step: object = None) -> slice:
    if not all(one is None or type(one) in {int, str} for one in (start, stop, step)):
        raise FormatError("a range is made of numbers or names")
    return slice(start, stop, step)


def _index(_kind: object, said: object) -> object:
    """The names of the columns of a table, as releases before 1.0 kept them; nothing where they are numbers."""
    return said.get("data") if isinstance(said, dict) else None


def _drop(*given: object) -> object:  # noqa: ARG001 - whatever it is made of is not looked at
    """A random generator or its like, of which nothing is read, whether it is given a state or not."""
    return Inert("numpy.random", "generator")


class _Allowed(dict[tuple[str, str], Allowed]):
    """The table, in which the classes stand under every module of scikit-learn."""

    def __missing__(self, key: tuple[str, str]) -> Allowed:
        module, name = key
        if module in {_PACKAGE, _COMPILED_LOSSES} or module.startswith(f"{_PACKAGE}."):
            if _CLASS.fullmatch(name):
                return KEPT
            if name.startswith(_COMPILED) and name.removeprefix(_COMPILED) in CLASSES:
                return _drop
            if name == "newObj":  # how trees of neighbors are made, which keep the rows a second time
                return _drop
            if module.startswith(_SCORING) and _WORD.fullmatch(name):  # by which a search or a selection chose
                return Word(Reference(module, name))
        raise KeyError(key)

    def get(self, key: tuple[str, str], default: Any = None) -> Any:  # noqa: ANN401 - as of a dictionary
        """The entry of a name; the default where it is not allowed."""
        try:
            return self[key]
        except KeyError:
            return default


def _table() -> Iterator[tuple[tuple[str, str], Allowed]]:
    for key, entry in {**CONTAINERS, **OBJECTS, **ARRAYS}.items():
        special: dict[str, Allowed] = {"dtype": _type, "_reconstruct": _array}
        yield key, special.get(key[1], entry) if key[0].startswith("numpy") else entry
    for name in ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool_", "str_", "bool"):
        yield ("numpy", name), Word(Reference("numpy", name))
    for name in FUNCTIONS:
        yield ("numpy", name), Word(Reference("numpy", name))
    for module in ("numpy.ma.core", "numpy.ma"):
        yield (module, "_mareconstruct"), _drop
        yield (module, "MaskedArray"), Word(Reference(module, "MaskedArray"))
    for module in ("builtins", "__builtin__"):
        yield (module, "slice"), _slice
    for module in ("numpy.random._pickle", "numpy.random"):
        for name in ("__randomstate_ctor", "__generator_ctor", "__bit_generator_ctor"):
            yield (module, name), _drop
    for module in ("pandas.core.indexes.base", "pandas.indexes.base", "pandas.core.index"):
        yield (module, "_new_Index"), _index
        yield (module, "Index"), Word(Reference(module, "Index"))
    for module in ("pandas.core.indexes.range", "pandas.indexes.range"):
        yield (module, "RangeIndex"), Word(Reference(module, "RangeIndex"))
    for module, name in (("_mt19937", "MT19937"), ("_pcg64", "PCG64"), ("mtrand", "RandomState")):
        yield (f"numpy.random.{module}", name), Word(Reference(f"numpy.random.{module}", name))
    for name in ("SeedSequence", "__pyx_unpickle_SeedSequence"):
        yield ("numpy.random.bit_generator", name), _drop


ALLOWED: Final[Mapping[tuple[str, str], Allowed]] = _Allowed(_table())
"""What a pickle of an estimator may name."""
