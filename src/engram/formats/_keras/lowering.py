"""A graph of ONNX nodes put into layers and functions of Keras, node by node.

What hangs on weights alone (a turned or cut kernel) is worked out beforehand, with the numbers and with their places
among all learned numbers, so that every weight can be found again in the arrays of Keras' layers. Whatever is computed
on pictures is computed with channels last, which is how Keras on TensorFlow can, and turned only where it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy import ndarray

from engram.errors import ConversionError
from engram.formats._keras.learned import Array, Ground, Look
from engram.formats._keras.words import Tensor, Words
from engram.graphs.inference import inferred
from engram.graphs.outline import outline
from engram.graphs.walk import Step, Steps, steps

__all__ = ["Lowering"]

_MOVING = frozenset(
    {"Concat", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
)
_SEEN = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
"""Of these, those that only look at the same numbers in another shape."""
_SPARE = 2**20
"""Numbers beyond four times the learned ones that moving them about may make."""


class Lowering:
    """A graph and how far it was put into words.

    Attributes:
        words: what was said so far.
        known: constants, by name.
        ground: all weights.
        arrays: weights and what is cut or turned from them, by name.
    """

    def __init__(self, graph: bytes, weights: Mapping[str, ndarray]) -> None:
        known = steps(graph)
        used = {name for step in known.nodes for name in step.inputs}
        self.graph: Steps = replace(known, weights=tuple(name for name in known.weights if name in used))
        self.words = Words()
        self.known: dict[str, ndarray] = dict(self.graph.constants)
        self.ground = Ground.of({name: weights[name] for name in self.graph.weights})
        self.arrays: dict[str, Array] = {name: self.ground.array(name) for name in self.graph.weights}
        self._shapes = _shapes(graph)
        self._first: dict[str, Tensor] = {}
        self._last: dict[str, Tensor] = {}
        self._parameters: dict[str, Tensor] = {}
        self.inputs: list[Tensor] = []
        self._learned = sum(array.size for array in self.arrays.values())

    # What is asked about a value ---------------------------------------------------------------------------------

    def shape(self, name: str) -> tuple[int | None, ...]:
        """Lengths of a value's axes."""
        if name in self.known:
            return self.known[name].shape
        return self._shapes.get(name, ((), "float32"))[0]

    def dtype(self, name: str) -> str:
        """Numpy's name of a value's type."""
        return self.known[name].dtype.name if name in self.known else self._shapes.get(name, ((), "float32"))[1]

    def is_static(self, name: str) -> bool:
        """Whether a value is a constant or hangs on weights alone."""
        return name in self.known or name in self.arrays

    def array(self, name: str, step: Step) -> Array:
        """A value that was learned, or a constant in the place of one."""
        if name in self.arrays:
            return self.arrays[name]
        if name in self.known:
            return self.ground.constant(self.known[name])
        raise self.refused(step, f"takes {name!r}, which is computed, where Keras keeps a weight")

    def constant(self, name: str, step: Step) -> ndarray:
        """A value that is known.

        Raises:
            ConversionError: it is computed.
        """
        if name not in self.known:
            raise self.refused(step, f"takes {name!r}, which is computed, where Keras wants a number")
        return self.known[name]

    def refused(self, step: Step, why: str) -> ConversionError:
        """The error that names a node."""
        return ConversionError(f"node {step.name or step.outputs[0]!r} ({step.operator}) {why}; write onnx")

    # Values as tensors -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Say the inputs."""
        for name in self.graph.inputs:
            shape = self.shape(name)
            made = self.words.input(name, (None, *shape[1:]) if shape else shape, self.dtype(name))
            self.inputs.append(made)
            self._first[name] = made

    def put(self, name: str, layer: str, place: int = 0, *, last: bool = False) -> None:
        """Say which layer makes a value; with ``last``, its channels stand last."""
        shape = self.shape(name)
        tensor = Tensor(layer, place, _to_last(shape) if last else shape, self.dtype(name))
        (self._last if last else self._first)[name] = tensor

    def first(self, name: str) -> Tensor:
        """A value as ONNX has it."""
        if name in self._first:
            return self._first[name]
        if name in self._last:
            rank = len(self.shape(name))
            self.put(name, self.words.layer("Permute", {"dims": [rank - 1, *range(1, rank - 1)]}, [self._last[name]]))
            return self._first[name]
        if name in self.arrays:
            return self.parameter(name)
        raise ConversionError(f"the graph needs {name!r}, which nothing makes")

    def last(self, name: str) -> Tensor:
        """A value with its channels last."""
        if name not in self._last:
            rank = len(self.shape(name))
            if rank < 3:
                return self.first(name)
            made = self.words.layer("Permute", {"dims": [*range(2, rank), 1]}, [self.first(name)])
            self.put(name, made, last=True)
        return self._last[name]

    def is_last(self, name: str) -> bool:
        """Whether a value is at hand with its channels last, and only so."""
        return name in self._last and name not in self._first

    def operand(self, name: str) -> Any:  # noqa: ANN401 - a tensor or numbers
        """A value for a function of ``keras.ops``: a tensor, or numbers as they are."""
        if name in self.known and name not in self.arrays:
            return self.known[name]
        return self.first(name)

    def parameter(self, name: str) -> Tensor:
        """A learned array that is no layer's in Keras, as the only row of an Embedding, which can be trained."""
        if name in self._parameters:
            return self._parameters[name]
        array = self.arrays[name]
        if array.dtype != np.float32 or not self.inputs:
            raise ConversionError(f"the weight {name!r} of type {array.dtype} has no place in Keras; write onnx")
        nought = self.words.operation("ZerosLike", [self.inputs[0]])
        total = self.words.operation("Sum", [self._as(nought, (None,))], {"axis": None, "keepdims": False})
        whole = self.words.operation("Cast", [self._as(total, ())], {"dtype": "int32"})
        size = array.size
        settings = {"input_dim": 1, "output_dim": size}
        row = self.words.layer(
            "Embedding",
            settings,
            [Tensor(whole, 0, (), "int32")],
            name=name,
            arrays={"embeddings": array.reshaped(1, size)},
        )
        shape = list(array.shape)
        made = self.words.operation("Reshape", [self._as(row, (size,))], {"newshape": shape})
        self._parameters[name] = Tensor(made, 0, tuple(shape), "float32")
        return self._parameters[name]

    def _as(self, layer: str, shape: Sequence[int | None]) -> Tensor:
        return Tensor(layer, 0, tuple(shape), "float32")

    # Values that hang on weights alone ---------------------------------------------------------------------------

    def folded(self, step: Step) -> bool:
        """Work out a node that only moves learned numbers; whether it was one."""
        given = [name for name in step.inputs if name]
        if step.operator not in _MOVING or not given or not all(self.is_static(name) for name in given):
            return False
        if not any(name in self.arrays for name in given):
            return False
        many = [self.shape(name) for name in step.outputs]
        size = sum(math.prod(length or 0 for length in shape) for shape in many)
        if size > 4 * self._learned + _SPARE or any(None in shape for shape in many):
            raise self.refused(step, "makes far more of weights than there are")
        for place, (name, shape) in enumerate(zip(step.outputs, many, strict=True)):
            self.arrays[name] = self._moved(step, place, tuple(length or 0 for length in shape))
        return True

    def _moved(self, step: Step, place: int, shape: tuple[int, ...]) -> Array:
        """One output of a node that moves learned numbers about."""
        first = self.arrays.get(step.inputs[0])
        if step.operator == "Transpose" and first is not None:
            return first.turned(*step.attributes.get("perm", reversed(range(len(shape)))))
        if step.operator in _SEEN and first is not None:
            return first.reshaped(*shape)
        if step.operator == "Split" and first is not None:
            axis = step.attributes.get("axis", 0) % len(shape)
            begin = sum(self.shape(name)[axis] or 0 for name in step.outputs[:place])
            return first.part((*[slice(None)] * axis, slice(begin, begin + shape[axis])))
        given = [name for name in step.inputs if name]
        joins = step.operator == "Concat"  # whose constants are numbers among numbers; elsewhere they are shapes

        def made(look: Look) -> ndarray:
            found = {}
            for name in given:
                known = self.known.get(name)
                found[name] = self.arrays[name].made(look) if known is None else look.plain(known) if joins else known
            return _evaluated(step, found)[place]

        return self.ground.together([self.arrays[name] for name in given if name in self.arrays], shape, made)


def _to_last(shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    return (shape[0], *shape[2:], shape[1]) if len(shape) > 2 else shape


def _shapes(graph: bytes) -> dict[str, tuple[tuple[int | None, ...], str]]:
    """Shape and type of every value, as far as onnx can tell."""
    model = onnx.ModelProto.FromString(graph)
    try:
        found = inferred(outline(model))
    except (RuntimeError, ValueError) as wrong:
        raise ConversionError(f"the shapes of the graph cannot be told: {str(wrong).splitlines()[0]}") from wrong
    made = {}
    for value in [*found.input, *found.value_info, *found.output]:
        tensor = value.type.tensor_type
        axes = tuple(int(axis.dim_value) if axis.HasField("dim_value") else None for axis in tensor.shape.dim)
        if tensor.elem_type not in {0, onnx.TensorProto.STRING}:
            made[value.name] = (axes, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name)
    for tensor in found.initializer:
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).name
        made[tensor.name] = (tuple(int(length) for length in tensor.dims), kind)
    return made


def _evaluated(step: Step, values: Mapping[str, ndarray]) -> list[ndarray]:
    """What a node makes of arrays, as onnx's own reference computes it."""
    from onnx.reference import ReferenceEvaluator

    node = onnx.helper.make_node(step.operator, list(step.inputs), list(step.outputs), **dict(step.attributes))
    ends = [[onnx.ValueInfoProto(name=name) for name in names] for names in (values, step.outputs)]
    declared = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in values.items()
    ]
    graph = onnx.helper.make_graph([node], "moved", declared, ends[1])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
    return [np.asarray(one) for one in ReferenceEvaluator(model).run(None, dict(values))]
