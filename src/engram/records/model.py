"""A network that has learned, in the one form that every stage and format shares."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy import ndarray

from engram.records.prediction import Prediction
from engram.records.tensors import Signature

__all__ = ["Model"]


@dataclass(frozen=True, slots=True)
class Model:
    """A network that has learned: immutable, in memory, in the canonical form.

    Attributes:
        graph: canonical ONNX of the network (serialized ModelProto) without its weights; every learned parameter is
            an initializer under the source's own name whose data are external.
        weights: name → array, in the source's own names, values and layout.
        signature: of the whole model. Inputs are raw columns where there is preprocessing, else the network's own;
            outputs are the network's own.
        preprocessing: canonical ONNX from raw inputs to the network's inputs, fitted state inside; empty if none.
        labels: the classes in the order of the outputs; empty for regression.
        source: what the origin framework said of itself (plain JSON values).
        statistics: per raw input, what training saw (plain JSON values: min, max, mean, examples …); probes
            and monitoring draw from it.
        answer: the runtime that ``predict`` asks, handed over by whoever opened the model.
    """

    graph: bytes
    weights: Mapping[str, ndarray]
    signature: Signature
    preprocessing: bytes = b""
    labels: tuple[str, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)
    statistics: Mapping[str, Any] = field(default_factory=dict)
    answer: Callable[[Model, Any], Prediction] | None = field(default=None, compare=False, repr=False)

    @property
    def parameters(self) -> int:
        """How many numbers the weights hold."""
        return sum(int(array.size) for array in self.weights.values())

    def predict(self, rows: Any) -> Prediction:  # noqa: ANN401 - tables of several libraries are welcome
        """What the model answers for these rows.

        Args:
            rows: a list of dictionaries (one a row), a dictionary of columns, a data frame, the path of a data file,
                or, for a model without raw columns, an array.

        Raises:
            ShapeError: a column is missing or a value is of the wrong type.
            RuntimeError: nobody handed the model a runtime.
        """
        if self.answer is None:
            raise RuntimeError("this Model was built by hand and has no runtime; open it with engram.read or a store")
        return self.answer(self, rows)

    def _repr_html_(self) -> str:
        rows = [("parameters", f"{self.parameters:,}"), ("labels", ", ".join(self.labels[:12]) or "–")]
        rows += [(f"input {s.name}", f"{s.kind} {s.dtype} {list(s.shape)}") for s in self.signature.inputs]
        rows += [(f"output {s.name}", f"{s.kind} {s.dtype} {list(s.shape)}") for s in self.signature.outputs]
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in rows
        )
        return f"<table><caption>Engram model</caption>{cells}</table>"
