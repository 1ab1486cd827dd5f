"""The data plane: what every protocol door asks, and the only place of the server that knows models.

It knows no protocol: it takes rows or arrays and gives records back, and refuses with the errors of ``engram.errors``.
Its methods block while the network computes; doors call them from a thread, so that the event loop never waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy import ndarray

from engram.errors import ShapeError, UnknownName, UsageError, VersionNotFound
from engram.plugins import nearest
from engram.records import Model, Prediction, TensorSpec
from engram.runtime import _rows
from engram.serving.limits import RequestLimits

__all__ = ["Answer", "DataPlane", "Predictor", "Served"]

_EXACT = 2**53


class Predictor(Protocol):
    """A model opened by a runtime; any number of threads may ask at once."""

    classes: tuple[str, ...]

    def predict(self, inputs: Mapping[str, ndarray]) -> Prediction:
        """What the model answers for raw columns, one array an input of the signature."""
        ...


@dataclass(frozen=True, slots=True)
class Served:
    """A model that answers requests.

    Attributes:
        name: of the network, as in a request's path.
        version: its number as text (``3``); empty where it was never kept.
        model: its signature, labels and statistics describe it to clients.
        session: the model opened by a runtime.
    """

    name: str
    version: str
    model: Model
    session: Predictor

    @property
    def reference(self) -> str:
        """What a user types for exactly this version."""
        return f"{self.name}:{self.version}" if self.version else self.name

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The raw columns it takes."""
        return self.model.signature.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What it answers: ``label`` and ``probabilities``, or ``value``, then further outputs of the network."""
        own = self.model.signature.outputs
        answer: tuple[TensorSpec, ...] = ()
        if self.session.classes:
            chances = TensorSpec("probabilities", "float32", ("batch", len(self.session.classes)), kind="probabilities")
            answer = (TensorSpec("label", "string", ("batch",), kind="category"), chances)
        elif own[0].kind == "value":
            answer = (TensorSpec("value", "float32", _value_shape(own[0]), own[0].unit, "value"),)
        taken = {spec.name for spec in answer}
        return (*answer, *(spec for spec in own[len(answer) > 0 :] if spec.name not in taken))


@dataclass(frozen=True, slots=True)
class Answer:
    """A prediction and the version that made it."""

    served: Served
    prediction: Prediction

    def tensor(self, name: str) -> ndarray:
        """One of the version's outputs as an array, rows first."""
        made = {
            "label": self.prediction.labels,
            "probabilities": self.prediction.probabilities,
            "value": self.prediction.values,
        }
        array = made.get(name)
        return self.prediction.outputs[name] if array is None else array


class DataPlane:
    """The models that are served, found by name and version."""

    def __init__(self, served: Sequence[Served], limits: RequestLimits | None = None) -> None:
        """Serve these models; where one name has several versions, the first given is the one meant by the name alone.

        Raises:
            UsageError: nothing to serve, or one version twice.
        """
        if not served:
            raise UsageError("there is no model to serve; name at least one")
        references = [each.reference for each in served]
        for reference in references:
            if references.count(reference) > 1:
                raise UsageError(f"{reference} is given twice; name each version once")
        self._served = tuple(served)
        self.limits = limits or RequestLimits()

    def names(self) -> list[str]:
        """The names of all models, in the order given, each once."""
        return list(dict.fromkeys(each.name for each in self._served))

    def versions(self, name: str) -> list[str]:
        """The versions of one model, the one meant by the name alone first; without those that have no number."""
        return [each.version for each in self._served if each.name == name and each.version]

    def metadata(self, name: str = "", version: str = "") -> Served:
        """The model that a request means; without a name the first, without a version the first of that name.

        Raises:
            VersionNotFound: none is served under this name or version; the message gives the nearest.
        """
        found = [each for each in self._served if not name or each.name == name]
        if not found:
            raise VersionNotFound(f"model {name[:80]!r} is not served; {nearest(name, self.names())}")
        for each in found:
            if not version or each.version == version:
                return each
        known = ", ".join(self.versions(name or found[0].name)) or "one without a number"
        raise VersionNotFound(f"version {version[:80]!r} of {found[0].name!r} is not served; there is {known}")

    def predict(self, name: str, rows: Any, version: str = "") -> Answer:  # noqa: ANN401 - as `decode` takes them
        """What a model answers for raw rows.

        Args:
            name: of the model; empty for the first.
            rows: a list of dictionaries, one a row, values by column.
            version: empty for the first of that name.

        Raises:
            VersionNotFound: no such model is served.
            ShapeError: there are no rows or too many, or one of them does not fit the signature.
        """
        served = self.metadata(name, version)
        self._check_rows(len(rows))
        return Answer(served, served.session.predict(_rows.decode(rows, served.inputs)))

    def infer(
        self, name: str, version: str, inputs: Mapping[str, ndarray], outputs: Sequence[str] = ()
    ) -> tuple[Answer, tuple[TensorSpec, ...]]:
        """What a model answers for arrays, and the outputs that were asked for.

        Args:
            name: of the model.
            version: empty for the first of that name.
            inputs: one array an input, rows first. A column of numbers may come in any number type, a column of
                truth values also as bool; text as object arrays of str; everything else in the signature's type.
            outputs: names of outputs; empty for all.

        Raises:
            VersionNotFound: no such model is served.
            UnknownName: an output does not exist.
            ShapeError: an input is missing or unknown or does not fit the signature.
        """
        served = self.metadata(name, version)
        known = {spec.name: spec for spec in served.outputs}
        for wanted in outputs:
            if wanted not in known:
                raise UnknownName(f"model {served.name!r} has no output {wanted[:80]!r}; {nearest(wanted, known)}")
        specs = {spec.name: spec for spec in served.inputs}
        arrays = {key: _as_column(array, specs[key]) if key in specs else array for key, array in inputs.items()}
        for array in arrays.values():
            self._check_rows(len(array) if array.ndim else 0)
        answer = Answer(served, served.session.predict(arrays))
        return answer, tuple(known[wanted] for wanted in outputs) or served.outputs

    def _check_rows(self, rows: int) -> None:
        if rows == 0:
            raise ShapeError("the request has no rows; send at least one")
        if rows > self.limits.rows:
            raise ShapeError(f"the request has {rows:,} rows, and {self.limits.rows:,} are allowed; send them in parts")


def _as_column(array: ndarray, spec: TensorSpec) -> ndarray:
    """An array of any number type as the float64 column of the signature; others must be in the right type."""
    while array.ndim > len(spec.shape) and array.shape[-1] == 1:  # (rows, 1) is how some clients send a column
        array = array[..., 0]
    kinds = {"number": "iuf", "date": "iuf", "boolean": "biuf"}.get(spec.kind, "")
    if spec.dtype == "float64" and array.dtype.kind in kinds:
        return _exact(array, spec)
    right = array.dtype.kind == "O" if spec.dtype == "string" else array.dtype == np.dtype(spec.dtype)
    if not right:
        given = "text" if array.dtype.kind == "O" else str(array.dtype)
        raise ShapeError(f"input {spec.name!r} ({spec.kind}) is {spec.dtype}, but the request brings {given}")
    return array


def _exact(array: ndarray, spec: TensorSpec) -> ndarray:
    name = spec.name
    if array.dtype.kind in "iu" and bool(np.any((array > _EXACT) | (array < -_EXACT))):
        raise ShapeError(f"input {name!r} has a whole number beyond 2^53, which float64 cannot hold; send it smaller")
    column = array.astype(np.float64)
    if bool(np.isinf(column).any()):
        raise ShapeError(f"input {name!r} has an infinite value; send a finite number")
    if spec.kind == "boolean" and not bool(np.isin(column[~np.isnan(column)], (0.0, 1.0)).all()):
        raise ShapeError(f"input {name!r} (boolean) has a value that is neither 0 nor 1; send 0, 1 or a gap")
    return column


def _value_shape(spec: TensorSpec) -> tuple[int | str, ...]:
    single = len(spec.shape) == 2 and spec.shape[1] == 1
    return spec.shape[:1] if single else spec.shape
