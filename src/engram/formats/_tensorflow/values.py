"""What flows along the edges of a TensorFlow graph while it is being read.

Three things are known of a tensor beyond its name in the new graph, and each saves nodes that nobody wants. *Parts*:
what stands in a small vector of whole numbers when some are lengths of axes, so that arithmetic on shapes vanishes.
*Turn*: a transposition that is still owed, so that TensorFlow's NHWC and ONNX's NCHW meet once and not around every
node. *Origin*: the operation it came from, so that a normalization spelled out in eight operations is seen as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from numpy import ndarray

__all__ = ["Axis", "Items", "Listing", "Table", "Tensor", "Value", "Variable", "inverse"]

Axis: TypeAlias = int | str
"""The length of an axis, or the name it has where it is free."""


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A tensor.

    Attributes:
        name: of the value in the new graph; empty where only parts are known.
        dtype: numpy's name, or ``string``.
        shape: its axes as TensorFlow sees them; None where even their number is unknown.
        constant: its numbers, where they are known.
        parts: its numbers, where it is a number or vector of lengths.
        turn: the axes of the value in the new graph, in the order in which TensorFlow sees them; empty for the same.
        origin: the operation and what went into it.
    """

    name: str
    dtype: str
    shape: tuple[Axis, ...] | None
    constant: ndarray | None = None
    parts: tuple[Axis, ...] | None = None
    turn: tuple[int, ...] = ()
    origin: tuple[str, tuple[Value, ...], Mapping[str, Any]] | None = None

    @property
    def rank(self) -> int:
        """How many axes it has; -1 where that is unknown."""
        return -1 if self.shape is None else len(self.shape)


@dataclass(frozen=True, slots=True)
class Variable:
    """A handle of a variable.

    Attributes:
        key: what it is called in the graph that holds it.
        dtype, shape: of its value.
    """

    key: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Listing:
    """A list of tensors that are all alike, kept as one tensor with the list along its first axis.

    Attributes:
        items: the tensor; None where nothing has been put in yet.
        length: how many; a name where that is free.
        dtype: of the tensors.
        shape: of one of them, as far as it is known; None where nothing is.
        last: whether only its last item has ever been set, and it holds one.
    """

    items: Tensor | None
    length: Axis
    dtype: str
    shape: tuple[Axis, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A lookup table whose entries stand in the graph.

    Attributes:
        keys, values: one array each.
        default: what an unknown key becomes.
    """

    name: str
    keys: ndarray | None = None
    values: ndarray | None = None


Value: TypeAlias = Tensor | Variable | Listing | Table
Items: TypeAlias = tuple[Value, ...]


def inverse(turn: tuple[int, ...]) -> tuple[int, ...]:
    """The transposition that undoes another."""
    made = [0] * len(turn)
    for place, axis in enumerate(turn):
        made[axis] = place
    return tuple(made)
