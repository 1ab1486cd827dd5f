"""A call of one of torch's operators, as a file tells of it, and the graph into which it is translated.

Types and shapes of every value stand in the file; a translation asks for them instead of inferring. A length that is
known only when the network is asked is a value of the graph like any other, of one whole number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy import ndarray

from engram.errors import FormatError
from engram.graphs.build import Builder, element_type

__all__ = ["Call", "Extent", "Made", "Operand", "Rule", "Sheet", "Size"]

Extent: TypeAlias = "int | Size"
Made: TypeAlias = "str | tuple[str, ...]"
_RANKS = {"bool": 0, "uint8": 1, "int8": 1, "int16": 2, "int32": 3, "int64": 4}


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor.

    Attributes:
        name: of the value in the graph.
        dtype: numpy's name.
        shape: None for a length that is not known before the network is asked.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    @property
    def rank(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    @property
    def is_floating(self) -> bool:
        """Whether its numbers have fractions."""
        return self.dtype.startswith(("float", "bfloat"))


@dataclass(frozen=True, slots=True)
class Size:
    """A whole number that is known when the network is asked: a value int64 of shape (1,)."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """One operator with its arguments.

    Attributes:
        operator: its name without library and overload (``linear``).
        name: of the node, for errors.
        arguments: by their names in torch's schema; what has its default is missing.
        results: what it makes, names left empty.
    """

    operator: str
    name: str
    arguments: Mapping[str, Any]
    results: tuple[Operand, ...]

    def tensor(self, *names: str) -> Operand:
        """A tensor, under the first of these names that is there.

        Raises:
            FormatError: there is none.
        """
        found = self.maybe(*names)
        if found is None:
            raise self.refused(f"has no {names[0]}")
        return found

    def maybe(self, *names: str) -> Operand | None:
        """The same, or None where it was left out.

        Raises:
            FormatError: there is something else.
        """
        found = next((self.arguments[name] for name in names if self.arguments.get(name) is not None), None)
        if found is not None and not isinstance(found, Operand):
            raise self.refused(f"has a {type(found).__name__} as {names[0]} where a tensor should be")
        return found

    def tensors(self, name: str) -> list[Operand]:
        """A list of tensors.

        Raises:
            FormatError: it is none.
        """
        found = self.arguments.get(name)
        if not isinstance(found, list) or not found or not all(isinstance(one, Operand) for one in found):
            raise self.refused(f"should have a list of tensors as {name}")
        return found

    def number(self, name: str, default: float | None = None) -> float:
        """A number that is known.

        Raises:
            FormatError: it is none.
        """
        found = self.arguments.get(name)
        found = default if found is None else found
        if not isinstance(found, (int, float)):
            raise self.refused(f"should have a number as {name}, not {found!r}")
        return found

    def whole(self, name: str, default: int | None = None) -> int:
        """A whole number that is known.

        Raises:
            FormatError: it is none, or only known when the network is asked.
        """
        found = self.arguments.get(name)
        found = default if found is None else found
        if type(found) is not int:
            raise self.refused(f"should have a known whole number as {name}, not {found!r}")
        return found

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Yes or no."""
        found = self.arguments.get(name)
        return default if found is None else bool(found)

    def text(self, name: str, default: str) -> str:
        """A word."""
        found = self.arguments.get(name)
        return default if found is None else str(found)

    def wholes(self, name: str, default: Sequence[int] = ()) -> list[int]:
        """Whole numbers that are known; one alone is a list of one.

        Raises:
            FormatError: they are none.
        """
        found = self.sizes(name, default)
        if not all(isinstance(one, int) for one in found):
            raise self.refused(f"should have known whole numbers as {name}")
        return [one for one in found if isinstance(one, int)]

    def sizes(self, name: str, default: Sequence[int] = ()) -> list[Extent]:
        """Whole numbers, known or not.

        Raises:
            FormatError: they are none.
        """
        found = self.arguments.get(name)
        found = list(default) if found is None else found if isinstance(found, list) else [found]
        if not all(type(one) is int or isinstance(one, Size) for one in found):
            raise self.refused(f"should have whole numbers as {name}")
        return list(found)

    def axis(self, rank: int, name: str = "dim", default: int | None = None) -> int:
        """The number of an axis, counted from the front.

        Raises:
            FormatError: there is no such axis.
        """
        found = self.whole(name, default)
        if not -rank <= found < max(rank, 1):
            raise self.refused(f"names axis {found} of {rank}")
        return found % max(rank, 1)

    def axes(self, rank: int, name: str = "dim") -> list[int]:
        """Several axes; all where none is named.

        Raises:
            FormatError: there is no such axis, or one twice.
        """
        found = self.wholes(name) or list(range(rank))
        if not all(-rank <= one < max(rank, 1) for one in found) or len({one % max(rank, 1) for one in found}) < len(
            found
        ):
            raise self.refused(f"names axes {found[:8]} of {rank}")
        return [one % max(rank, 1) for one in found]

    @property
    def result(self) -> Operand:
        """What it makes, first of all.

        Raises:
            FormatError: it makes nothing.
        """
        if not self.results:
            raise self.refused("makes nothing")
        return self.results[0]

    def refused(self, why: str) -> FormatError:
        """The error that names this call."""
        return FormatError(f"node {self.name!r} ({self.operator}) {why}")


Rule = Callable[["Sheet", Call], Made]


class Sheet:
    """The ONNX graph in the making."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder

    def scope(self, name: str) -> None:
        """What is added from now on belongs to this module."""
        self._builder.scope = name

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401 - as onnx takes them
        """Add a node with one output; attributes that are None are left out."""
        return self.nodes(kind, *inputs, outputs=1, **attributes)[0]

    def nodes(self, kind: str, *inputs: str, outputs: int, **attributes: Any) -> tuple[str, ...]:  # noqa: ANN401
        """Add a node with several outputs."""
        given = list(inputs)
        while given and not given[-1]:
            given.pop()
        said = {key: value for key, value in attributes.items() if value is not None}
        return self._builder.nodes(kind, *given, outputs=outputs, **said)

    def constant(self, value: ndarray | float | Sequence[float], dtype: str = "") -> str:
        """A value that no training moves."""
        return self._builder.constant(np.asarray(value) if isinstance(value, list) else value, dtype=dtype)

    def wholes(self, *values: int) -> str:
        """A list of whole numbers."""
        return self._builder.constant(np.array(values, np.int64))

    def cast(self, value: Operand | str, dtype: str) -> str:
        """A value in another type; itself if it has it."""
        if isinstance(value, Operand):
            if value.dtype == dtype:
                return value.name
            value = value.name
        return self.node("Cast", value, to=element_type(dtype))

    def scalar(self, value: Any, dtype: str) -> str:  # noqa: ANN401 - of a stranger's file
        """A tensor or a number in this type.

        Raises:
            FormatError: it is neither.
        """
        if isinstance(value, Operand):
            return self.cast(value, dtype)
        if isinstance(value, Size):
            return self.cast(self.node("Squeeze", value.name, self.wholes(0)), dtype)
        if not isinstance(value, (bool, int, float)):
            raise FormatError(f"{value!r} is no number")
        return self.constant(self.fitting(value, dtype))

    @staticmethod
    def fitting(value: float, dtype: str) -> ndarray:
        """A number in a type.

        Raises:
            FormatError: the type cannot hold it.
        """
        import ml_dtypes

        kind = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
        try:
            with np.errstate(over="ignore"):
                return np.asarray(value).astype(kind) if kind.kind not in "iu" else np.array(int(value), kind)
        except (OverflowError, ValueError) as wrong:
            raise FormatError(f"{value!r} is no number of the type {dtype}") from wrong

    def lengths(self, sizes: Sequence[Extent]) -> str:
        """A shape, out of lengths that are known or not."""
        if all(isinstance(one, int) for one in sizes):
            return self.wholes(*(one for one in sizes if isinstance(one, int)))
        parts: list[str] = []
        run: list[int] = []
        for one in sizes:
            if isinstance(one, int):
                run.append(one)
                continue
            if run:
                parts.append(self.wholes(*run))
                run = []
            parts.append(one.name)
        if run:
            parts.append(self.wholes(*run))
        return parts[0] if len(parts) == 1 else self.node("Concat", *parts, axis=0)

    def length(self, value: Operand, axis: int) -> Extent:
        """How long an axis is."""
        known = value.shape[axis]
        return known if known is not None else Size(self.node("Shape", value.name, start=axis, end=axis + 1))

    def reshaped(self, value: str, sizes: Sequence[Extent]) -> str:
        """A value in another shape; one length that is not known is left to what is there."""
        unknown = [place for place, one in enumerate(sizes) if not isinstance(one, int)]
        known = [one for one in sizes if isinstance(one, int)]
        if len(unknown) == 1 and -1 not in known and 0 not in known:
            sizes = [one if isinstance(one, int) else -1 for one in sizes]
        return self.node("Reshape", value, self.lengths(sizes), allowzero=1 if 0 in known else None)


def promoted(one: str, other: str) -> str:
    """The type in which torch computes with tensors of two types."""
    if one == other:
        return one
    first, second = (name.startswith(("float", "bfloat")) for name in (one, other))
    if first != second:
        return one if first else other
    if first:
        wide = {"float64": 3, "float32": 2}
        if wide.get(one, 1) == wide.get(other, 1):
            return "float32"
        return one if wide.get(one, 1) > wide.get(other, 1) else other
    if {one, other} == {"uint8", "int8"}:
        return "int16"
    return one if _RANKS.get(one, 4) > _RANKS.get(other, 4) else other
