"""A model as a graph of TensorFlow: preprocessing, network and answer, one after the other.

The nodes come out the same for a SavedModel, where weights are variables, and for TensorFlow.js, where they are
constants whose numbers lie beside the graph; how a weight is read is all that the two tell the lowering.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from numpy import ndarray

from engram.errors import ConversionError
from engram.formats._tensorflow import (
    write_convolution,
    write_elementwise,
    write_filling,
    write_matrix,
    write_normalization,
    write_places,
    write_pooling,
    write_recurrent,
    write_reduction,
    write_resizing,
    write_shape,
    write_text,
)
from engram.formats._tensorflow.job import Job, Writers
from engram.formats._tensorflow.sheet import Operand, Ref, Shape, Sheet, UnknownRank
from engram.graphs.compose import head
from engram.graphs.inference import inferred
from engram.graphs.signature import signature as declared
from engram.graphs.walk import Step, steps
from engram.records import Model

__all__ = ["Lowered", "Lowering", "lowered", "speaks"]

_WRITERS: Writers = {
    **write_convolution.WRITERS,
    **write_elementwise.WRITERS,
    **write_filling.WRITERS,
    **write_matrix.WRITERS,
    **write_normalization.WRITERS,
    **write_places.WRITERS,
    **write_pooling.WRITERS,
    **write_recurrent.WRITERS,
    **write_reduction.WRITERS,
    **write_resizing.WRITERS,
    **write_shape.WRITERS,
    **write_text.WRITERS,
}
_DOMAINS = {"", "ai.onnx.ml"}


@dataclass(frozen=True, slots=True)
class Lowered:
    """A graph of TensorFlow.

    Attributes:
        sheet: its nodes and functions.
        outputs: name → value, as TensorSpec and operand.
    """

    sheet: Sheet
    outputs: Mapping[str, Operand]


@dataclass(slots=True)
class Lowering:
    """A walk through the graphs of a model.

    Attributes:
        sheet: the graph in the making.
        weight: what gives the value of a weight by its name.
        names: names of functions, by their beginning.
    """

    sheet: Sheet
    weight: Callable[[str], Operand]
    counts: dict[str, int] = field(default_factory=dict)

    def added(self, stem: str, make: Callable[[str], Any]) -> str:
        """Add a function under a name of its own and return the name."""
        self.counts[stem] = self.counts.get(stem, -1) + 1
        name = f"{stem}_{self.counts[stem]}"
        self.sheet.functions[name] = make(name)
        return name

    def inside(self, sheet: Sheet) -> Lowering:
        """The same walk in a function."""
        return Lowering(sheet, self.weight, self.counts)

    def graph(self, graph: bytes, given: Mapping[str, Operand]) -> dict[str, Operand]:
        """The outputs of a graph of ONNX, by name.

        Args:
            graph: canonical.
            given: its inputs, by name.

        Raises:
            ConversionError: it holds a node that TensorFlow has no words for.
        """
        found = steps(graph)
        values = {**given, **{name: self.sheet.constant(_plain(array)) for name, array in found.constants.items()}}
        shapes = _shapes(graph)
        used = {name for step in found.nodes for name in step.inputs} | set(found.outputs)
        for name in found.weights:
            if name in used:
                values[name] = self.weight(name)
        for step in found.nodes:
            values.update(self._step(step, values, shapes))
        return {name: values[name] for name in found.outputs}

    def _step(self, step: Step, values: Mapping[str, Operand], shapes: Mapping[str, Shape]) -> dict[str, Operand]:
        writer = _WRITERS.get(step.operator) if step.domain in _DOMAINS else None
        if writer is None:
            kind = f"{step.domain}.{step.operator}" if step.domain else step.operator
            raise ConversionError(f"node {step.title!r} is a {kind}, which TensorFlow's form has no words for here")
        inputs = tuple(values[name] if name else None for name in step.inputs)
        job = Job(self, step, inputs, tuple(shapes.get(name) for name in step.outputs))
        try:
            made = writer(job)
        except (ValueError, TypeError, LookupError, ArithmeticError, AssertionError) as wrong:
            if isinstance(wrong, ConversionError) and not isinstance(wrong, UnknownRank):
                raise
            raise ConversionError(f"node {step.title!r} ({step.operator}) cannot be written: {wrong}") from wrong
        result = {}
        for name, value in zip(step.outputs, made, strict=False):
            known = shapes.get(name)
            if value.shape is None and known is not None and not value.turn:
                value = replace(value, shape=known)  # noqa: PLW2901 - the same value, better known
            result[name] = value
        return result


def lowered(model: Model, sheet: Sheet, given: Mapping[str, Operand], weight: Callable[[str], Operand]) -> Lowered:
    """A whole model: raw inputs in, answer out.

    Args:
        model: with a graph.
        sheet: empty, or with the inputs.
        given: the inputs, by name.
        weight: what gives the value of a weight.

    Raises:
        ConversionError: a node has no words in TensorFlow.
    """
    lowering = Lowering(sheet, weight)
    values = lowering.graph(model.preprocessing, given) if model.preprocessing else dict(given)
    own = lowering.graph(model.graph, values)
    answer = head(model)
    outputs = dict(own)
    if answer:
        first, *rest = own
        (entry,) = steps(answer).inputs
        outputs = {**lowering.graph(answer, {entry: own[first]}), **{name: own[name] for name in rest}}
    return Lowered(sheet, outputs)


def speaks(graph: bytes) -> bool:
    """Whether TensorFlow has words for every node of a graph."""
    sheet = Sheet()
    given = {
        spec.name: Operand(Ref(f"input_{i}"), spec.dtype, spec.shape) for i, spec in enumerate(declared(graph).inputs)
    }
    try:
        Lowering(sheet, lambda name: Operand(Ref(name), "float32", None)).graph(graph, given)
    except ConversionError:
        return False
    return True


def _plain(array: ndarray) -> ndarray:
    """Texts of ONNX are bytes or objects; here they are objects."""
    if array.dtype.kind in "OUS":
        flat = [text.decode() if isinstance(text, bytes) else str(text) for text in array.reshape(-1).tolist()]
        made = np.empty(len(flat), dtype=object)
        made[:] = flat
        return made.reshape(array.shape)
    return array


def _shapes(graph: bytes) -> dict[str, Shape]:
    """What onnx can tell of the shapes of all values."""
    model = onnx.ModelProto.FromString(graph)
    try:
        told = inferred(model)
    except (RuntimeError, ValueError):
        told = model.graph
    found: dict[str, Shape] = {}
    for value in [*told.input, *told.value_info, *told.output]:
        if value.type.tensor_type.HasField("shape"):
            axes = value.type.tensor_type.shape.dim
            found[value.name] = tuple(
                int(axis.dim_value) if axis.HasField("dim_value") else str(axis.dim_param) or "?" for axis in axes
            )
    return found
