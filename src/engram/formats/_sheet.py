"""A graph in the making that knows the shape and type of every value in it.

Keras' layers do different things for inputs of different rank, and many of their settings mean nothing without the
length of an axis. Shapes are not computed by rules of our own: each node is asked of onnx as it is added, so that a
weight that does not fit is refused at the layer that holds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy import ndarray
from onnx import TypeProto, helper, numpy_helper, shape_inference

from engram.errors import FormatError
from engram.graphs.build import OPSET, Builder, element_type
from engram.records import TensorSpec

__all__ = ["Sheet"]

_KNOWN = 4096
"""Numbers of a constant that shapes may be computed from."""
_FAULTS = (RuntimeError, ValueError, TypeError, OverflowError, shape_inference.InferenceError)


class Sheet:
    """A ``Builder`` whose values have types, and masks where Keras would carry one beside them.

    Attributes:
        masks: value → the boolean value that says which of its steps count.
        where: the layer that is being drawn, for errors.
    """

    def __init__(self, inputs: Sequence[TensorSpec], weights: Mapping[str, ndarray]) -> None:
        """A graph with nothing but what goes in and what was learned.

        Args:
            inputs: of the network.
            weights: by name; only their types and shapes are taken, for the numbers stay beside the graph.
        """
        self._builder = Builder(inputs, name="network")
        self.masks: dict[str, str] = {}
        self.where = ""
        self._types: dict[str, TypeProto] = {}
        self._values: dict[str, onnx.TensorProto] = {}
        for spec in inputs:
            self._types[spec.name] = helper.make_tensor_type_proto(element_type(spec.dtype), list(spec.shape))
        for name, array in weights.items():
            if self._builder.weight(array, name) != name:
                raise FormatError(f"an input and a weight are both called {name!r}")
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            self._types[name] = helper.make_tensor_type_proto(kind, list(array.shape))

    def begin(self, where: str) -> None:
        """Name what is added next after this layer."""
        self.where = where
        self._builder.scope = where

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401 - any attribute
        """Add a node with one output; see ``Builder.node``."""
        return self.nodes(kind, *inputs, outputs=1, **attributes)[0]

    def nodes(self, kind: str, *inputs: str, outputs: int, **attributes: Any) -> tuple[str, ...]:  # noqa: ANN401
        """Add a node and return its outputs.

        Raises:
            FormatError: types or shapes do not fit the operator.
        """
        while inputs and not inputs[-1]:
            inputs = inputs[:-1]
        made = self._builder.nodes(kind, *inputs, outputs=outputs, **attributes)
        node = helper.make_node(kind, list(inputs), list(made), **attributes)
        known = {name: self._types[name] for name in inputs if name}
        values = {name: self._values[name] for name in inputs if name in self._values}
        try:
            found = shape_inference.infer_node_outputs(
                onnx.defs.get_schema(kind, OPSET), node, known, values, opset_imports=[helper.make_opsetid("", OPSET)]
            )
        except _FAULTS as wrong:
            shapes = ", ".join(str(list(self.shape(name))) for name in inputs if name)
            reason = str(wrong).strip().splitlines()[-1][:160]
            raise FormatError(f"layer {self.where!r}: {kind} does not take the shapes {shapes}: {reason}") from wrong
        for name in made:
            self._types[name] = found.get(name, TypeProto())
        return made

    def constant(self, value: Any, dtype: str = "") -> str:  # noqa: ANN401 - whatever numpy takes
        """Add a constant that nobody learned; floats are float32 unless told."""
        array = np.asarray(value)
        if not dtype and array.dtype == np.float64:
            dtype = "float32"
        array = array.astype(dtype) if dtype else array
        name = self._builder.constant(array)
        tensor = numpy_helper.from_array(array, name)
        self._types[name] = _type_of(tensor, array.shape)
        if array.size <= _KNOWN:
            self._values[name] = tensor
        return name

    def shape(self, value: str) -> tuple[int | None, ...]:
        """Lengths of the axes; None where they are free."""
        axes = self._types[value].tensor_type.shape.dim
        return tuple(int(axis.dim_value) if axis.HasField("dim_value") else None for axis in axes)

    def rank(self, value: str) -> int:
        """Number of axes."""
        return len(self._types[value].tensor_type.shape.dim)

    def told(self, value: str, lengths: Sequence[int | None]) -> str:
        """The value, with lengths that onnx cannot infer; None is free."""
        named = [f"{value}.{at}" if length is None else length for at, length in enumerate(lengths)]
        self._types[value] = helper.make_tensor_type_proto(self._types[value].tensor_type.elem_type, named)
        return value

    def dtype(self, value: str) -> str:
        """Numpy's name of the type; ``string`` for texts."""
        number = self._types[value].tensor_type.elem_type
        if number == onnx.TensorProto.STRING:
            return "string"
        return helper.tensor_dtype_to_np_dtype(number).name

    def cast(self, value: str, dtype: str) -> str:
        """The value in another type, or itself where it has it."""
        return value if self.dtype(value) == dtype else self.node("Cast", value, to=element_type(dtype))

    def like(self, number: Any, value: str) -> str:  # noqa: ANN401 - whatever numpy takes
        """A constant of the type of a value."""
        return self.constant(number, self.dtype(value))

    def reshaped(self, value: str, shape: Sequence[int]) -> str:
        """The value in another shape; 0 keeps the length of an axis, -1 is found."""
        return self.node("Reshape", value, self.constant(list(shape), "int64"))

    def turned(self, value: str, order: Sequence[int]) -> str:
        """The value with its axes in another order."""
        if list(order) == list(range(len(order))):
            return value
        return self.node("Transpose", value, perm=list(order))

    def cut(self, value: str, axis: int, start: int, stop: int, step: int = 1) -> str:
        """A part of one axis."""
        bounds = [self.constant([number], "int64") for number in (start, stop, axis, step)]
        return self.node("Slice", value, *bounds)

    def finish(self, outputs: Sequence[str]) -> onnx.ModelProto:
        """The graph with its weights outside."""
        ends = [self._spec(name) for name in outputs]
        try:
            made = self._builder.finish(ends)
        except onnx.checker.ValidationError as wrong:
            raise FormatError(f"what the layers say is no valid graph: {str(wrong).splitlines()[0]}") from wrong
        model = onnx.ModelProto()
        model.ParseFromString(made)
        return model

    def _spec(self, name: str) -> TensorSpec:
        axes = self._types[name].tensor_type.shape.dim
        lengths = [int(a.dim_value) if a.HasField("dim_value") else str(a.dim_param) for a in axes]
        shape = [length if length != "" else f"{name}.{place}" for place, length in enumerate(lengths)]
        if shape and not isinstance(shape[0], int):
            shape[0] = "batch"
        return TensorSpec(name, self.dtype(name), tuple(shape))


def _type_of(tensor: onnx.TensorProto, shape: Sequence[int]) -> TypeProto:
    return helper.make_tensor_type_proto(tensor.data_type, list(shape))
