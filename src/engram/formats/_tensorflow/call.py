"""One operation on its way into the new graph, and what every reader of operations needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from engram.errors import FormatError
from engram.formats._tensorflow.graph import Node
from engram.formats._tensorflow.nodes import Nodes
from engram.formats._tensorflow.values import Axis, Items, Tensor, Variable
from engram.graphs.build import element_type

if TYPE_CHECKING:
    from engram.formats._tensorflow.trace import Trace

__all__ = ["Call", "Reader", "Readers"]


@dataclass(frozen=True, slots=True)
class Call:
    """An operation and what goes into it.

    Attributes:
        trace: who walks the graph.
        node: the operation.
        inputs: in order.
    """

    trace: Trace
    node: Node
    inputs: Items

    @property
    def nodes(self) -> Nodes:
        """The graph in the making."""
        return self.trace.nodes

    def tensor(self, place: int) -> Tensor:
        """An input that must be a tensor.

        Raises:
            FormatError: it is none, or not there.
        """
        found = self.inputs[place] if -len(self.inputs) <= place < len(self.inputs) else None
        if isinstance(found, Tensor):
            return found
        raise self.refused(f"needs a tensor as input {place}")

    def variable(self, place: int = 0) -> Variable:
        """An input that must be the handle of a variable.

        Raises:
            FormatError: it is none.
        """
        found = self.inputs[place] if place < len(self.inputs) else None
        if isinstance(found, Variable):
            return found
        raise self.refused(f"needs a variable as input {place}")

    def name(self, place: int) -> str:
        """An input by its name in the new graph."""
        return self.nodes.name(self.tensor(place))

    def whole(self, place: int) -> list[int]:
        """An input that must be known whole numbers.

        Raises:
            FormatError: they hang on data.
        """
        found = self.tensor(place)
        if found.constant is not None and found.dtype != "string":
            return [int(number) for number in np.atleast_1d(found.constant).reshape(-1)]
        if found.parts is not None and all(isinstance(part, int) for part in found.parts):
            return [int(part) for part in found.parts]
        raise self.refused(f"takes input {place} from data, where it must be known beforehand")

    def shape(self, place: int = 0) -> tuple[Axis, ...]:
        """The axes of an input, whose number must be known.

        Raises:
            FormatError: it is not.
        """
        found = self.tensor(place).shape
        if found is None:
            raise self.refused(f"needs to know how many axes input {place} has")
        return found

    def axes(self, numbers: list[int], rank: int) -> list[int]:
        """Axes counted from the front.

        Raises:
            FormatError: there is no such axis.
        """
        if any(not -rank <= number < rank for number in numbers):
            raise self.refused(f"names axis {numbers} of a tensor with {rank} axes")
        return [number % rank for number in numbers]

    def cast(self, value: Tensor, dtype: str) -> Tensor:
        """A value in another type; lengths stay lengths."""
        if value.dtype == dtype:
            return value
        if value.parts is not None and dtype in {"int32", "int64"}:
            constant = None if value.constant is None else value.constant.astype(dtype)
            return Tensor("", dtype, value.shape, constant=constant, parts=value.parts)
        stored = self.nodes.stored(value)
        made = self.nodes.emit("Cast", stored.name, to=element_type(dtype))
        return self.nodes.turned(made, value.turn) if value.turn else replace(made, origin=("Cast", (value,), {}))

    def refused(self, why: str) -> FormatError:
        """The error that names this operation."""
        return FormatError(f"{self.node.operation} ({self.node.where}) {why}; it is not read")


Reader: TypeAlias = Callable[[Call], Items]
Readers: TypeAlias = Mapping[str, Reader]
