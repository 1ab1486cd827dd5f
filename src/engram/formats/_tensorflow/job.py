"""One node of ONNX on its way into TensorFlow, and what every writer of nodes needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from engram.errors import ConversionError
from engram.formats._tensorflow.sheet import Kind, Operand, Shape, Sheet
from engram.formats._tensorflow.values import Axis, inverse
from engram.graphs.walk import Step

if TYPE_CHECKING:
    from engram.formats._tensorflow.lowering import Lowering

__all__ = ["Job", "Writer", "Writers", "numbers"]


@dataclass(frozen=True, slots=True)
class Job:
    """A node and what goes into it.

    Attributes:
        lowering: who walks the graph.
        step: the node.
        inputs: in order; None for one left out.
        shapes: of the outputs, as far as onnx can tell.
    """

    lowering: Lowering
    step: Step
    inputs: tuple[Operand | None, ...]
    shapes: tuple[Shape, ...]

    @property
    def sheet(self) -> Sheet:
        """The graph in the making."""
        return self.lowering.sheet

    def get(self, place: int) -> Operand:
        """An input that must be there.

        Raises:
            ConversionError: it is not.
        """
        found = self.inputs[place] if place < len(self.inputs) else None
        if found is None:
            raise self.refused(f"has no input {place}")
        return found

    def maybe(self, place: int) -> Operand | None:
        """An input that may be left out."""
        return self.inputs[place] if place < len(self.inputs) else None

    def whole(self, place: int) -> list[int] | None:
        """Whole numbers at an input, where they are known."""
        found = self.maybe(place)
        if found is None or found.constant is None:
            return None
        return [int(number) for number in np.atleast_1d(found.constant).reshape(-1)]

    def said(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - whatever an attribute holds
        """An attribute of the node."""
        return self.step.attributes.get(key, default)

    def axis(self, number: int, rank: int) -> int:
        """An axis counted from the front.

        Raises:
            ConversionError: there is none.
        """
        if not -rank <= number < rank:
            raise self.refused(f"names axis {number} of {rank}")
        return number % rank

    def one(self, operation: str, *inputs: Operand, dtype: str = "", shape: Shape = None, **said: Any) -> Operand:  # noqa: ANN401
        """A node of TensorFlow whose attribute T is the type of its first input."""
        return self.sheet.emit(operation, *inputs, dtype=dtype, shape=shape, T=Kind(inputs[0].dtype), **said)

    def number(self, value: float, like: Operand) -> Operand:
        """A number of the type of another value."""
        return self.sheet.constant(value, like.dtype)

    def alike(self, *values: Operand) -> tuple[tuple[Operand, ...], tuple[int, ...]]:
        """Values laid so that one node can take them all, and the transposition owed by what it makes."""
        rank = max(value.rank for value in values)
        turns = {value.turn for value in values if value.rank == rank and not _single(value)}
        if len(turns) == 1 and turns != {()}:
            turn = next(iter(turns))
            laid = [self._laid(value, turn) for value in values]
            if all(value is not None for value in laid):
                return tuple(value for value in laid if value is not None), turn
        return tuple(self.sheet.plain(value) if value.turn else value for value in values), ()

    def cast(self, value: Operand, dtype: str) -> Operand:
        """A value in another type."""
        if value.dtype == dtype:
            return value
        if value.constant is not None and "string" not in {dtype, value.dtype}:
            return self.sheet.constant(value.constant.astype(dtype))
        stored = self.sheet.stored(value)
        made = self.sheet.emit(
            "Cast", stored, dtype=dtype, shape=stored.shape, SrcT=Kind(value.dtype), DstT=Kind(dtype)
        )
        return self.sheet.turned(made, value.turn) if value.turn else made

    def reshape(self, value: Operand, shape: list[int] | Operand, known: Shape = None) -> Operand:
        """A value in another shape, in which one length may be -1."""
        if isinstance(shape, list):
            if value.constant is not None and -1 not in shape:
                return self.sheet.constant(value.constant.reshape(shape))
            target = self.sheet.constant(shape, "int64")
            known = known or tuple(axis if axis >= 0 else "?" for axis in shape)
        else:
            target = shape
        return self.one("Reshape", value, target, shape=known, Tshape=Kind(target.dtype))

    def refused(self, why: str) -> ConversionError:
        """The error that names this node."""
        return ConversionError(f"node {self.step.title!r} ({self.step.operator}) {why}; TensorFlow cannot hold it")

    def _laid(self, value: Operand, turn: tuple[int, ...]) -> Operand | None:
        if value.turn == turn:
            return self.sheet.stored(value)
        if value.turn or value.shape is None:
            return None
        full: tuple[Axis, ...] = (1,) * (len(turn) - len(value.shape)) + value.shape
        back = inverse(turn)
        if value.constant is not None:
            spread = value.constant.reshape([int(axis) for axis in full])
            return self.sheet.constant(np.ascontiguousarray(spread.transpose(back)))
        long = [place for place, axis in enumerate(full) if axis != 1]
        if not long:
            return value if not value.shape else self.reshape(value, [1] * len(turn))
        if len(long) > 1 or not all(isinstance(axis, int) for axis in full):
            return None
        return self.reshape(value, [int(full[axis]) for axis in back])


def numbers(value: Operand) -> Operand:
    """A constant without its place in the graph, so that it is written down once more where it is needed."""
    return replace(value, ref=None) if value.constant is not None else value


def _single(value: Operand) -> bool:
    return value.shape is not None and all(axis == 1 for axis in value.shape)


Writer: TypeAlias = Callable[[Job], tuple[Operand, ...]]
Writers: TypeAlias = Mapping[str, Writer]
