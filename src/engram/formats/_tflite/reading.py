"""What every operator's reader has in hand: a subgraph's tensors as values of ONNX.

As in writing, a value may lie in several layouts: TFLite's convolutions answer with channels last, ONNX's with channels
first, and the Transpose between two of them is only made when somebody looks at the value in between.

A quantized tensor has two values, its integers and the numbers they stand for; operators compute with the numbers, and
what they answer is quantized again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy import ndarray
from onnx import TensorProto, helper, numpy_helper

from engram.errors import FormatError
from engram.formats._tflite.parts import File, Operator, Subgraph, Tensor
from engram.formats._tflite.schema import dtype_of
from engram.graphs.build import element_type

__all__ = ["FIRST", "LAST", "Read", "Reading", "Shared", "decoded"]

Layout = tuple[int, ...]

FIRST = {3: (0, 2, 1), 4: (0, 3, 1, 2), 5: (0, 4, 1, 2, 3)}
"""What brings channels from the last axis to the second, by rank: the layout in which ONNX convolves."""
LAST = {3: (0, 2, 1), 4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}
_CLIPS = {2: (-1.0, 1.0), 3: (0.0, 6.0)}
_SMALL = 64
"""Numbers of a constant of any other type that is written into the graph; a larger one stands beside it."""
_WHOLE = {"INT32", "INT64", "INT16", "UINT8", "UINT32"}
_NARROW = {"INT8", "UINT8", "INT16", "INT4"}


@dataclass(slots=True)
class Shared:
    """What all subgraphs of a file have in common.

    Attributes:
        file: the records.
        name: of the file, for errors.
        initializers: constants of all subgraphs.
        taken: names of values.
        variables: name of a variable → value that it holds.
    """

    file: File
    name: str
    initializers: dict[str, TensorProto] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    variables: dict[str, str] = field(default_factory=dict)

    def unique(self, name: str) -> str:
        """A name that no value has yet."""
        made, count = name, 1
        while made in self.taken or not made:
            count += 1
            made = f"{name or 'value'}_{count}"
        self.taken.add(made)
        return made


class Reading:
    """A subgraph on its way into a graph of ONNX.

    Attributes:
        shared: with the other subgraphs.
        graph: the subgraph.
        nodes: so far.
    """

    def __init__(self, shared: Shared, graph: Subgraph, names: Mapping[int, str]) -> None:
        self.shared = shared
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self._names = dict(names)
        self._values: dict[int, dict[Layout, str]] = {}
        self._integers: dict[int, dict[Layout, str]] = {}
        self.makers = {number: operator for operator in graph.operators for number in operator.outputs}

    def refused(self, why: str) -> FormatError:
        """An error that names the file."""
        return FormatError(f"{self.shared.name}: {why}")

    def tensor(self, number: int) -> Tensor:
        """The record of a tensor."""
        return self.graph.tensors[number]

    def shape(self, number: int) -> tuple[int, ...]:
        """Its lengths, -1 where one is free."""
        return self.graph.tensors[number].free

    def rank(self, number: int) -> int:
        """How many axes it has."""
        return len(self.graph.tensors[number].shape)

    def name(self, number: int) -> str:
        """What a tensor's value is called."""
        found = self._names.get(number)
        if found is None:
            found = self.shared.unique(self.tensor(number).name or f"tensor_{number}")
            self._names[number] = found
        return found

    def array(self, number: int) -> ndarray | None:
        """The numbers of a tensor where they are known and stand for themselves."""
        return None if number < 0 else decoded(self.tensor(number))

    def fixed(self, number: int, what: str) -> ndarray:
        """The numbers of a tensor that must be known.

        Raises:
            FormatError: they are computed.
        """
        found = self.array(number)
        if found is None:
            raise self.refused(f"{what} is computed, which is not read; it must be fixed")
        return found

    def node(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:  # noqa: ANN401 - of an operator
        """Add a node with one output and return its name."""
        return self.many(kind, *inputs, names=[name or self.shared.unique(kind.lower())], **attributes)[0]

    def many(self, kind: str, *inputs: str, names: Sequence[str], **attributes: Any) -> list[str]:  # noqa: ANN401
        """Add a node with several outputs; the names are taken already."""
        self.nodes.append(helper.make_node(kind, list(inputs), list(names), name=names[0], **attributes))
        return list(names)

    def constant(self, value: Any, dtype: str = "int64", name: str = "") -> str:  # noqa: ANN401 - any numbers
        """A number or a list of numbers that nobody learned, as a value."""
        array = np.asarray(value, dtype=dtype)
        made = name if name and name in self._names.values() else self.shared.unique(name or "constant")
        tensor = numpy_helper.from_array(array, made)
        self.nodes.append(helper.make_node("Constant", [], [made], name=made, value=tensor))
        return made

    def get(self, number: int, layout: Layout | None = None) -> str:
        """The value of a tensor in a layout; of a quantized one, the numbers that its integers stand for."""
        wanted = layout or tuple(range(self.rank(number)))
        if not self._values.get(number) and number not in self._integers:
            self._known(number)
        found = self._values.setdefault(number, {})
        if wanted in found:
            return found[wanted]
        if number in self._integers:
            found[wanted] = self._meant(number, self.integers(number, wanted), wanted)
        else:
            found[wanted] = self._turned(number, found, wanted)
        return found[wanted]

    def integers(self, number: int, layout: Layout) -> str:
        """The integers of a quantized tensor in a layout."""
        if number not in self._integers:
            self.get(number)
        found = self._integers[number]
        if layout not in found:
            found[layout] = self._turned(number, found, layout)
        return found[layout]

    def _turned(self, number: int, found: Mapping[Layout, str], wanted: Layout) -> str:
        have, source = next(iter(found.items()))
        plain = wanted == tuple(range(len(wanted))) and self.tensor(number).data is None
        name = self.name(number) if plain and self.name(number) not in found.values() else ""
        return self.node("Transpose", source, name=name, perm=[have.index(axis) for axis in wanted])

    def optional(self, operator: Operator, place: int, layout: Layout | None = None) -> str:
        """The value of an input that may be left out; an empty text where it is."""
        if place >= len(operator.inputs) or operator.inputs[place] < 0:
            return ""
        return self.get(operator.inputs[place], layout)

    def layouts(self, number: int) -> dict[Layout, str]:
        """The layouts in which a value is there already, or its integers."""
        return self._values.get(number) or self._integers.get(number, {})

    def wide(self, number: int) -> str:
        """Whole numbers as ONNX wants them, int64.

        Raises:
            FormatError: they are none.
        """
        if self.tensor(number).type not in _WHOLE:
            kind = self.tensor(number).type
            raise self.refused(f"{self.tensor(number).name!r} is {kind}, where whole numbers are wanted")
        array = self.array(number)
        if array is not None:
            return self.constant(array, "int64")
        value = self.get(number)
        return value if self.tensor(number).type == "INT64" else self.node("Cast", value, to=TensorProto.INT64)

    def give(self, number: int, value: str, layout: Layout | None = None) -> None:
        """Say which value an operator made of a tensor; it is quantized where the tensor is."""
        wanted = layout or tuple(range(self.rank(number)))
        tensor = self.tensor(number)
        if tensor.quantization is not None and tensor.type in _NARROW:
            scale, zero, axis = self._scales(number, wanted)
            made = self.node("QuantizeLinear", value, scale, zero, name=self.name(number), **axis)
            self._integers[number] = {wanted: made}
            self._values[number] = {}
        else:
            self._values[number] = {wanted: value}

    def put(self, kind: str, operator: Operator, *inputs: str, layout: Layout | None = None, **attributes: Any) -> None:  # noqa: ANN401
        """A node that makes the operator's only output, with its activation."""
        self.finish(operator, self.node(kind, *inputs, **attributes), layout)

    def finish(self, operator: Operator, value: str, layout: Layout | None = None) -> None:
        """Give an operator's only output its value, once the activation is applied."""
        self.give(operator.outputs[0], self.activated(operator, value), layout)

    def activated(self, operator: Operator, value: str) -> str:
        """A value after the operator's activation."""
        code = int(operator.options.get("fused_activation_function", 0))
        if code == 0:
            return value
        if code in _CLIPS:
            low, high = (self.constant(bound, "float32") for bound in _CLIPS[code])
            return self.node("Clip", value, low, high)
        kinds = {1: "Relu", 4: "Tanh"}
        if code not in kinds:
            raise self.refused(f"{operator.kind} has the activation {code}, which is not read")
        return self.node(kinds[code], value)

    def final(self, number: int, name: str) -> None:
        """Give the value of an output its own name."""
        natural = tuple(range(self.rank(number)))
        quantized = number in self._integers
        value = self.integers(number, natural) if quantized else self.get(number)
        makers = [node for node in self.nodes if value in node.output]
        held = [one for values in (*self._values.values(), *self._integers.values()) for one in values.values()]
        if not makers or held.count(value) > 1:
            self.node("Identity", value, name=name)
            return
        makers[0].output[list(makers[0].output).index(value)] = name
        for node in self.nodes:
            node.input[:] = [name if one == value else one for one in node.input]
        (self._integers if quantized else self._values)[number][natural] = name

    def given(self, number: int, value: str) -> None:
        """Say that a value of the tensor comes from outside: an input of the subgraph."""
        tensor = self.tensor(number)
        held = self._integers if tensor.quantization is not None and tensor.type in _NARROW else self._values
        held[number] = {tuple(range(self.rank(number))): value}

    def passed(self, number: int) -> str:
        """What a subgraph hands over of a tensor: its integers where it is quantized."""
        natural = tuple(range(self.rank(number)))
        value = self.get(number)
        return self.integers(number, natural) if number in self._integers else value

    def initializer(self, array: ndarray, name: str) -> str:
        """Numbers from the file as an initializer of a name that is taken already."""
        laid = np.ascontiguousarray(array).reshape(array.shape)
        self.shared.initializers[name] = numpy_helper.from_array(laid, name)
        return name

    def _known(self, number: int) -> None:
        """Hold a tensor that no operator makes: a constant, or a state that begins at zero."""
        tensor, natural = self.tensor(number), tuple(range(self.rank(number)))
        if tensor.data is None and tensor.is_variable:
            state = self.constant(np.zeros(tensor.shape, np.float32), "float32", self.name(number))
            self._values[number] = {natural: state}
            return
        array = decoded(tensor)
        if array is None:
            raise self.refused(f"{tensor.name!r} is {tensor.type}, a constant that is not read")
        if tensor.quantization is not None and tensor.type in {*_NARROW, "INT32"}:
            self._integers[number] = {natural: self.initializer(array, self.name(number))}
        elif (array.dtype.kind == "f" and array.ndim) or array.size > _SMALL:
            self._values[number] = {natural: self.initializer(array, self.name(number))}
        else:
            self._values[number] = {natural: self.constant(array, array.dtype.name, self.name(number))}

    def _meant(self, number: int, integers: str, layout: Layout) -> str:
        """The numbers that the integers of a tensor stand for."""
        scale, zero, axis = self._scales(number, layout)
        plain = self.tensor(number).type == "INT32"
        return self.node("DequantizeLinear", *([integers, scale] if plain else [integers, scale, zero]), **axis)

    def _scales(self, number: int, layout: Layout) -> tuple[str, str, dict[str, Any]]:
        found, kind = self.tensor(number).quantization, self.tensor(number).type
        assert found is not None
        count = len(found.scale)
        integer = "int8" if kind == "INT4" else kind.lower()
        zero = np.broadcast_to(found.zero_point, (count,)).astype(integer)
        if count == 1:
            return self.constant(found.scale[0], "float32"), self.constant(zero[0], integer), {}
        if found.axis not in layout:
            raise self.refused(f"{self.tensor(number).name!r} is quantized along axis {found.axis} of {len(layout)}")
        scale = self.constant(found.scale, "float32")
        return scale, self.constant(zero, integer), {"axis": layout.index(found.axis)}


Read = Callable[[Operator, Reading], None]
"""What reads one kind of operator."""


def decoded(tensor: Tensor) -> ndarray | None:
    """The numbers in a tensor's buffer; None where there are none, or where they are no numbers."""
    dtype = dtype_of(tensor.type)
    if dtype is None or (tensor.data is None and 0 not in tensor.shape):
        return None
    if tensor.data is None:
        return np.zeros(tensor.shape, dtype)
    if tensor.type == "INT4":
        return _nibbles(tensor)
    if tensor.type in {"UINT4", "INT2"}:
        return None
    return np.frombuffer(tensor.data, dtype).reshape(tensor.shape)


def _nibbles(tensor: Tensor) -> ndarray:
    """Two numbers a byte, the first in the lower half; held as int8."""
    assert tensor.data is not None
    pairs = np.frombuffer(tensor.data, np.int8)
    halves = np.stack([np.left_shift(pairs, 4) >> 4, pairs >> 4], axis=1).reshape(-1)
    return halves[: math.prod(tensor.shape)].reshape(tensor.shape)


def code_of(type_name: str) -> int:
    """ONNX's number for a type of TFLite's."""
    return element_type(type_name.lower())
