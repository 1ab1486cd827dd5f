"""Asking the real scikit-learn, in a worker: the objects are put together from inert records, never unpickled.

An object of a class that scikit-learn itself lists is made without its constructor and given its attributes; trees are
made from arrays that were checked before. Only the release that wrote a file understands its attributes, so another one
is not asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from numpy import ndarray
from sklearn import (
    calibration,
    compose,
    decomposition,
    discriminant_analysis,
    dummy,
    ensemble,
    feature_selection,
    impute,
    linear_model,
    multiclass,
    multioutput,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    svm,
    tree,
)
from sklearn._loss import loss as losses
from sklearn.ensemble._hist_gradient_boosting.binning import _BinMapper
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.tree._tree import Tree

from engram.errors import FormatError, MissingLibrary
from engram.formats._pickle import Reference
from engram.formats._sklearn.deriving import FUNCTIONS
from engram.formats._sklearn.estimator import Estimator, label
from engram.formats._sklearn.inert import inert
from engram.records import Limits

__all__ = ["answers"]

_MODULES = (
    calibration, compose, decomposition, discriminant_analysis, dummy, ensemble, feature_selection, impute,
    linear_model, multiclass, multioutput, naive_bayes, neighbors, neural_network, pipeline, preprocessing, svm, tree,
)  # fmt: skip
_TYPES = frozenset({"bool_", "float16", "float32", "float64", "int16", "int32", "int64", "int8", "str_", "uint8"})
_LOSSES: Mapping[str, Mapping[str, Any]] = {
    "AbsoluteError": {},
    "ExponentialLoss": {},
    "HalfBinomialLoss": {},
    "HalfGammaLoss": {},
    "HalfMultinomialLoss": {"n_classes": 3},
    "HalfPoissonLoss": {},
    "HalfSquaredError": {},
    "HalfTweedieLoss": {"power": 1.5},
    "HalfTweedieLossIdentity": {"power": 0.0},
    "PinballLoss": {"quantile": 0.5},
}
"""Losses, of which answering asks only the link, with what they cannot be made without."""
_DECIDED = frozenset({
    "GradientBoostingClassifier", "HistGradientBoostingClassifier", "LinearSVC", "LogisticRegression",
    "LinearDiscriminantAnalysis", "LogisticRegressionCV", "NuSVC", "Perceptron", "RidgeClassifier", "RidgeClassifierCV",
    "SGDClassifier", "SVC",
})  # fmt: skip
"""Classifiers whose decision values the graph gives."""


def answers(said: dict[str, Any], arrays: dict[str, ndarray]) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """What the estimator in a file answers.

    Args:
        said: ``path`` of the file; ``kind`` of the answer, as of a ``TensorSpec``; ``columns`` in order where it was
            fitted on named ones, each with what a missing word is called there.
        arrays: inputs by name.

    Raises:
        MissingLibrary: it was written by another release of scikit-learn.
        FormatError: it cannot be put together.
    """
    found = inert(Path(said["path"]), Limits())
    written = str(found.get("_sklearn_version", ""))
    if written.split(".")[:2] != sklearn.__version__.split(".")[:2]:
        raise MissingLibrary(
            f"it was written by scikit-learn {written or 'of an unknown release'}, and {sklearn.__version__} is "
            "installed, which would not understand it"
        )
    estimator = _Built().value(found)
    columns = said["columns"]
    table: Any = _table(arrays, columns) if columns else next(iter(arrays.values()))
    return {}, _answered(estimator, table, str(said["kind"]))


def _answered(estimator: Any, table: Any, kind: str) -> dict[str, ndarray]:  # noqa: ANN401 - scikit-learn has no types
    """What its user is told, and the numbers that the graph gives where scikit-learn shows them."""
    rows = len(table)
    told = np.asarray(estimator.predict(table))
    if kind == "value":
        return {"answer": np.asarray(told, dtype=np.float64).reshape(rows, -1)}
    found = {"label": np.array([label(one) for one in told.tolist()], dtype=object)}
    if hasattr(estimator, "predict_proba"):
        found["probabilities"] = np.asarray(estimator.predict_proba(table), dtype=np.float64)
    raw = found.get("probabilities") if kind == "probabilities" else _raw(estimator, table)
    return found if raw is None else {**found, "answer": raw}


def _raw(estimator: Any, table: Any) -> ndarray | None:  # noqa: ANN401 - scikit-learn has no types
    """The answer before chances are made of it, as the graph gives it; None where it is no number of scikit-learn's."""
    last, given = estimator, table
    if hasattr(estimator, "steps"):
        last = estimator.steps[-1][1]
        given = estimator[:-1].transform(table) if len(estimator.steps) > 1 else table
    rows = len(table)
    if hasattr(last, "_joint_log_likelihood"):
        return np.asarray(last.predict_log_proba(given), dtype=np.float64)
    if hasattr(last, "_forward_pass_fast"):
        activation, last.out_activation_ = last.out_activation_, "identity"
        found = np.asarray(last._forward_pass_fast(given)).reshape(rows, -1)  # noqa: SLF001 - no other way to logits
        last.out_activation_ = activation
        return found
    if not hasattr(last, "decision_function") or type(last).__name__ not in _DECIDED:
        return None
    found = np.asarray(last.decision_function(given), dtype=np.float64).reshape(rows, -1)
    each = getattr(last, "solver", "") == "liblinear" or getattr(last, "loss", "") in {"log_loss", "log"}
    linear = hasattr(last, "coef_")
    return -np.logaddexp(0, -found) if each and linear and found.shape[1] > 1 else found


def _table(arrays: Mapping[str, ndarray], columns: Mapping[str, str]) -> Any:  # noqa: ANN401 - a data frame
    import pandas as pd

    return pd.DataFrame({name: _with_gaps(arrays[name], gap) for name, gap in columns.items()})


def _with_gaps(array: ndarray, gap: str) -> ndarray:
    """The empty word is a gap, by the name that the estimator has for one."""
    if array.dtype.kind != "O":
        return array
    missing = None if gap == "none" else np.nan
    return np.array([missing if one == "" else one for one in array.tolist()], dtype=object)


class _Built:
    """Living objects, made from records."""

    def __init__(self) -> None:
        found = {name: one for module in _MODULES for name, one in vars(module).items()}
        self._classes: dict[str, Any] = {name: one for name, one in found.items() if isinstance(one, type)}
        self._classes |= {one.__name__: one for one in (TreePredictor, _BinMapper)}
        self._known: dict[int, Any] = {}

    def value(self, found: Any) -> Any:  # noqa: ANN401 - any value
        """A value with living objects in it."""
        if id(found) not in self._known:
            self._known[id(found)] = (found, self._made(found))
        return self._known[id(found)][1]

    def _made(self, found: Any) -> Any:  # noqa: ANN401 - any value
        if isinstance(found, Estimator):
            return self._object(found)
        if isinstance(found, Reference):
            known = found.module == "numpy" and (found.name in FUNCTIONS or found.name in _TYPES)
            return getattr(np, found.name) if known else None
        if type(found) in {list, tuple}:
            return type(found)(self.value(one) for one in found)
        if isinstance(found, ndarray):
            if found.dtype.kind != "O":
                return np.array(found)
            made = np.empty(found.shape, object)
            made.reshape(-1)[:] = [self.value(one) for one in found.reshape(-1).tolist()]
            return made
        return found

    def _object(self, found: Estimator) -> Any:  # noqa: ANN401 - any object
        if found.kind == "Tree":
            return self._tree(found)
        if found.kind in _LOSSES:
            given = {name: found.get(name, default) for name, default in _LOSSES[found.kind].items()}
            return getattr(losses, found.kind)(**given)
        kind = self._classes.get(found.kind)
        if kind is None:
            return None
        made = kind.__new__(kind)
        vars(made).update({name: self.value(one) for name, one in found.state.items()})
        if hasattr(made, "_fit_method"):  # the tree of neighbors was not kept; without it all rows are compared
            made._fit_method, made._tree = "brute", None  # noqa: SLF001
        if getattr(made, "decision_function_shape", "ovr") != "ovr":
            made.decision_function_shape = "ovr"
        return made

    def _tree(self, found: Estimator) -> Any:  # noqa: ANN401 - a tree of scikit-learn
        nodes, values = np.array(found.get("nodes")), np.array(found.get("values"))
        classes = np.array([values.shape[2]], dtype=np.intp)
        columns = int(nodes["feature"].max(initial=0)) + 1
        made = Tree(columns, classes, 1)
        state = {"max_depth": int(found.get("max_depth", 1)), "node_count": len(nodes)}
        try:
            made.__setstate__({**state, "nodes": nodes, "values": values})
        except ValueError as wrong:
            raise FormatError(f"scikit-learn does not take a tree of the file: {wrong}") from wrong
        return made
