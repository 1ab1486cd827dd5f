"""Writing TensorFlow nodes one after the other.

The nodes are plain records until they are serialized: as the body of a function, where an edge names the output it
comes from, or as a graph, where it only counts. As on the way in, a transposition may be owed: TensorFlow's processors
convolve channels last, ONNX keeps them second, and most nodes in between do not care.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError
from engram.formats._tensorflow.messages import message
from engram.formats._tensorflow.tensors import number_of, shape_message, tensor
from engram.formats._tensorflow.values import Axis, inverse

__all__ = ["Kind", "Made", "Operand", "Ref", "Routine", "Sheet", "attribute"]

Shape: TypeAlias = tuple[Axis, ...] | None


class Kind(str):
    """The name of a type, where an attribute is one."""

    __slots__ = ()


class Routine(str):
    """The name of a function, where an attribute is one."""

    __slots__ = ()


class Ref(NamedTuple):
    """An output of a node, or an argument."""

    node: str
    output: int = 0


@dataclass(frozen=True, slots=True)
class Made:
    """A node.

    Attributes:
        name, operation: of the node.
        inputs: what it reads.
        attributes: by name; plain values, types and functions.
    """

    name: str
    operation: str
    inputs: tuple[Ref, ...]
    attributes: Mapping[str, Any]


class UnknownRank(ConversionError):
    """How many axes a value has is asked and not known; whoever knows which node asks names it."""


@dataclass(frozen=True, slots=True, eq=False)
class Operand:
    """A value in the new graph.

    Attributes:
        ref: where it comes from.
        dtype: numpy's name, or ``string``.
        shape: as ONNX sees it.
        constant: its numbers, where they are known.
        turn: the axes of the value in the new graph, in the order in which ONNX sees them; empty for the same.
    """

    ref: Ref | None
    dtype: str
    shape: Shape
    constant: ndarray | None = None
    turn: tuple[int, ...] = ()

    @property
    def rank(self) -> int:
        """How many axes it has.

        Raises:
            ConversionError: that is unknown.
        """
        if self.shape is None:
            raise UnknownRank("a value has no known number of axes, which TensorFlow's form needs")
        return len(self.shape)


@dataclass(slots=True)
class Sheet:
    """A graph or function in the making.

    Attributes:
        nodes: in order.
        functions: those that nodes of this one call, by name.
    """

    nodes: list[Made] = field(default_factory=list)
    functions: dict[str, Any] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    settled: dict[Any, Operand] = field(default_factory=dict)

    def emit(
        self,
        operation: str,
        *inputs: Operand,
        dtype: str = "",
        shape: Shape = None,
        **attributes: Any,  # noqa: ANN401
    ) -> Operand:
        """Add a node with one output; its type is that of its first input unless it is told."""
        return self.several(operation, *inputs, dtypes=(dtype or inputs[0].dtype,), shapes=(shape,), **attributes)[0]

    def several(
        self,
        operation: str,
        *inputs: Operand,
        dtypes: Sequence[str],
        shapes: Sequence[Shape] = (),
        **attributes: Any,  # noqa: ANN401
    ) -> tuple[Operand, ...]:
        """Add a node with several outputs of these types."""
        name = self.unique(operation)
        refs = tuple(self.ref(value) for value in inputs)
        self.nodes.append(Made(name, operation, refs, attributes))
        known = [*shapes, *[None] * len(dtypes)]
        return tuple(Operand(Ref(name, place), dtype, known[place]) for place, dtype in enumerate(dtypes))

    def constant(self, value: Any, dtype: str = "") -> Operand:  # noqa: ANN401 - anything numpy takes
        """A constant; it is written down when somebody reads it."""
        array = np.asarray(value, dtype=dtype or None)
        kind = "string" if array.dtype.kind in "OUS" else array.dtype.name
        return Operand(None, kind, array.shape, constant=array)

    def ref(self, value: Operand) -> Ref:
        """Where a value comes from, with whatever is owed paid and a constant written down."""
        found = self.plain(value)
        assert found.ref is not None
        return found.ref

    def plain(self, value: Operand) -> Operand:
        """The value with nothing owed."""
        if value.ref is not None and not value.turn:
            return value
        key = _key(value)
        if key not in self.settled:
            self.settled[key] = self._paid(value) if value.turn else self._written(value)
        return self.settled[key]

    def stored(self, value: Operand) -> Operand:
        """The value as it lies, whatever is owed."""
        if not value.turn:
            return value
        shape = None if value.shape is None else tuple(value.shape[axis] for axis in inverse(value.turn))
        return Operand(value.ref, value.dtype, shape)

    def turned(self, value: Operand, turn: tuple[int, ...]) -> Operand:
        """A value as ONNX sees it, with a transposition owed."""
        if turn == tuple(range(len(turn))):
            return value
        if value.turn:
            value, turn = self.stored(value), tuple(value.turn[axis] for axis in turn)
            return self.turned(value, turn)
        if value.constant is not None:
            return self.constant(np.ascontiguousarray(value.constant.transpose(turn)))
        shape = None if value.shape is None else tuple(value.shape[axis] for axis in turn)
        return replace(value, shape=shape, turn=turn)

    def unique(self, name: str) -> str:
        """A name that no node has yet."""
        made, count = name, 1
        while made in self.taken:
            count += 1
            made = f"{name}_{count}"
        self.taken.add(made)
        return made

    def _paid(self, value: Operand) -> Operand:
        order = self.constant(list(value.turn), "int32")
        made = self.emit("Transpose", self.stored(value), order, T=Kind(value.dtype), Tperm=Kind("int32"))
        return replace(made, shape=value.shape)

    def _written(self, value: Operand) -> Operand:
        assert value.constant is not None
        name = self.unique("Const")
        said = {"dtype": Kind(value.dtype), "value": value.constant}
        self.nodes.append(Made(name, "Const", (), said))
        return replace(value, ref=Ref(name))


def attribute(value: Any) -> Any:  # noqa: ANN401 - a plain value, and a generated class
    """A plain value as the message of an attribute."""
    made = message("Attr")
    if isinstance(value, Kind):
        made.type = type_number(value)
    elif isinstance(value, Routine):
        made.func.name = value
    elif isinstance(value, bool):
        made.b = value
    elif isinstance(value, int):
        made.i = value
    elif isinstance(value, float):
        made.f = value
    elif isinstance(value, str):
        made.s = value.encode()
    elif isinstance(value, ndarray):
        made.tensor.CopyFrom(tensor(value))
    elif isinstance(value, tuple):
        made.shape.CopyFrom(shape_message(value))
    else:
        _listed(made, value)
    return made


def type_number(name: str) -> int:
    """TensorFlow's number of a type by its name.

    Raises:
        ConversionError: TensorFlow does not have it.
    """
    special = {"resource": 20, "variant": 21, "string": 7}
    number = special[name] if name in special else number_of(np.dtype(_bfloat(name)))
    if number is None:
        raise ConversionError(f"TensorFlow has no type {name}; change the type of the model")
    return number


def _bfloat(name: str) -> Any:  # noqa: ANN401 - whatever numpy takes for a type
    import ml_dtypes

    return ml_dtypes.bfloat16 if name == "bfloat16" else name


def _listed(made: Any, values: list[Any]) -> None:  # noqa: ANN401
    made.list.SetInParent()
    for value in values:
        if isinstance(value, Kind):
            made.list.type.append(type_number(value))
        elif isinstance(value, tuple):
            made.list.shape.append(shape_message(value))
        elif isinstance(value, float):
            made.list.f.append(value)
        else:
            made.list.i.append(value)


def _key(value: Operand) -> Any:  # noqa: ANN401 - anything that hashes
    if value.turn:
        return value.ref, value.turn
    assert value.constant is not None
    if value.dtype == "string":
        return "string", value.constant.shape, tuple(value.constant.reshape(-1).tolist())
    return value.dtype, value.constant.shape, value.constant.tobytes()
