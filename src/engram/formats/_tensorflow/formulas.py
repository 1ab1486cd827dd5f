"""What a loop's body computes, as formulas that can be compared with those of known cells.

A formula is a tuple: an operation and its operands, stripped of everything that changes nothing. Two writings of one
cell (a product cut into gates, or a weight cut before the product) come down to the same terms here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from engram.formats._tensorflow.graph import Body, Edge, Node
from engram.formats._tensorflow.invariants import plain
from engram.formats._tensorflow.tensors import array
from engram.formats._tensorflow.values import Axis, Tensor, Value, Variable
from engram.records import Limits

__all__ = ["Formula", "Formulas", "Term", "either", "product"]

Formula: TypeAlias = tuple[Any, ...]

_ACTIVATIONS = {"Sigmoid": "Sigmoid", "Tanh": "Tanh", "Relu": "Relu"}
_SUMS = {"Add", "AddV2", "BiasAdd"}


class Term(NamedTuple):
    """One summand of a gate.

    Attributes:
        value: the formula that is multiplied; None for a bias.
        weight: the formula of the parameter.
        row: of a bias with two rows; None for one without.
        first, last: the columns of the parameter.
    """

    value: Formula | None
    weight: Formula
    row: int | None
    first: int
    last: int


@dataclass(slots=True)
class Formulas:
    """The formulas of one body.

    Attributes:
        body: the function.
        fixed: places of arguments that never change.
        given: what the loop begins with.
    """

    body: Body
    fixed: set[int]
    given: Sequence[Value]
    made: dict[Edge, Formula]

    def of(self, edge: Edge, depth: int = 0) -> Formula:
        """The formula of a value."""
        edge = plain(self.body, edge)
        if edge not in self.made:
            self.made[edge] = self._new(edge, depth) if depth < 200 else ("unknown", *edge)
        return self.made[edge]

    def terms(self, formula: Formula, first: int = 0, last: int | None = None) -> list[Term] | None:
        """The summands of some columns of a formula; None where it is no sum of products and biases."""
        kind = formula[0]
        if kind == "add":
            one, other = (self.terms(part, first, last) for part in formula[1:])
            return None if one is None or other is None else [*one, *other]
        if kind == "columns":
            _, whole, start, end = formula
            return self.terms(whole, start + first, start + last if last is not None else end)
        if kind == "matmul":
            weight = self._columns(formula[2], first, last)
            return None if weight is None else [Term(formula[1], *weight)]
        weight = self._columns(formula, first, last)
        return None if weight is None else [Term(None, *weight)]

    def shape(self, formula: Formula) -> tuple[Axis, ...]:
        """The axes of a parameter."""
        if formula[0] != "outer":
            return ()
        found = self.given[formula[1]]
        return tuple(found.shape or ()) if isinstance(found, (Tensor, Variable)) else ()

    def _columns(self, formula: Formula, first: int, last: int | None) -> tuple[Formula, int | None, int, int] | None:
        """A parameter, the row of it, and its columns."""
        if formula[0] == "columns":
            _, whole, start, end = formula
            return self._columns(whole, start + first, start + last if last is not None else end)
        row = None
        if formula[0] == "row":
            _, formula, row = formula
        width = self._width(formula)
        if formula[0] != "outer" or width is None:
            return None
        return formula, row, first, last if last is not None else width

    def _width(self, formula: Formula) -> int | None:
        """How many columns a formula has."""
        kind = formula[0]
        if kind == "outer":
            shape = self.shape(formula)
            return int(shape[-1]) if shape and isinstance(shape[-1], int) else None
        if kind == "columns":
            return int(formula[3]) - int(formula[2])
        if kind == "matmul":
            return self._width(formula[2])
        if kind == "row":
            return self._width(formula[1])
        if kind in {"add", "mul"}:
            found = [width for width in map(self._width, formula[1:3]) if width is not None]
            return max(found, default=None)
        return None

    def _new(self, edge: Edge, depth: int) -> Formula:
        if edge.node in self.body.arguments:
            place = self.body.arguments.index(edge.node)
            return ("outer", place) if place in self.fixed else ("state", place)
        node = self.body.nodes.get(edge.node)
        if node is None:
            return ("unknown", *edge)
        reader = _READERS.get(node.operation)
        found = reader(self, node, edge, depth + 1) if reader is not None else None
        return found if found is not None else ("unknown", *edge)

    def inputs(self, node: Node, depth: int) -> list[Formula]:
        """The formulas of what goes into a node."""
        return [self.of(edge, depth) for edge in node.inputs]

    def constant(self, edge: Edge) -> Any:  # noqa: ANN401 - an array, or None
        """The numbers at an edge, where they are known."""
        edge = plain(self.body, edge)
        node = self.body.nodes.get(edge.node)
        if node is not None and node.operation == "Const":
            return array(node.attributes["value"].tensor, node.where, Limits())
        if edge.node in self.body.arguments:
            found = self.given[self.body.arguments.index(edge.node)]
            if isinstance(found, Tensor) and self.body.arguments.index(edge.node) in self.fixed:
                return found.constant
        return None


def either(formula: Formula, kind: str) -> list[tuple[Formula, Formula]]:
    """The operands of a sum or product, in both orders; nothing where it is none."""
    if formula[0] != kind:
        return []
    return [(formula[1], formula[2]), (formula[2], formula[1])]


def product(formula: Formula, factor: Formula) -> Formula | None:
    """The other factor of a product that has this one."""
    return next((other for one, other in either(formula, "mul") if one == factor), None)


def _sum(found: Formulas, node: Node, _: Edge, depth: int) -> Formula:
    return ("add", *found.inputs(node, depth)[:2])


def _binary(kind: str) -> Any:  # noqa: ANN401
    def read(found: Formulas, node: Node, _: Edge, depth: int) -> Formula:
        return (kind, *found.inputs(node, depth)[:2])

    return read


def _activation(found: Formulas, node: Node, _: Edge, depth: int) -> Formula:
    return ("act", _ACTIVATIONS[node.operation], found.of(node.inputs[0], depth))


def _matmul(found: Formulas, node: Node, _: Edge, depth: int) -> Formula | None:
    if node.truth("transpose_a") or node.truth("transpose_b"):
        return None
    return ("matmul", *found.inputs(node, depth)[:2])


def _constant(found: Formulas, _node: Node, edge: Edge, _: int) -> Formula | None:
    value = found.constant(edge)
    if value is None or value.size != 1 or value.dtype.kind in "OUS":
        return None
    return ("number", float(np.asarray(value).reshape(-1)[0]))


def _read(found: Formulas, node: Node, _: Edge, depth: int) -> Formula:
    return found.of(node.inputs[0], depth)


def _split(found: Formulas, node: Node, edge: Edge, depth: int) -> Formula | None:
    axis = found.constant(node.inputs[0])
    whole, count = found.of(node.inputs[1], depth), node.integer("num_split")
    if axis is None or axis.size != 1 or count < 1:
        return None
    place = int(axis.reshape(-1)[0])
    shape = found.shape(whole)
    if place == 0 and len(shape) == 2 and shape[0] == count:
        return ("row", whole, edge.output)
    width = found._width(whole)  # noqa: SLF001 - the same module
    if place not in {1, -1} and not (place == 0 and len(shape) == 1):
        return None
    if width is None or width % count:
        return None
    step = width // count
    return ("columns", whole, edge.output * step, (edge.output + 1) * step)


def _unpack(found: Formulas, node: Node, edge: Edge, depth: int) -> Formula | None:
    return ("row", found.of(node.inputs[0], depth), edge.output) if node.integer("axis") == 0 else None


def _squeeze(found: Formulas, node: Node, _: Edge, depth: int) -> Formula | None:
    inner = found.of(node.inputs[0], depth)
    return inner if inner[0] == "row" else None


def _slice(found: Formulas, node: Node, _: Edge, depth: int) -> Formula | None:
    """Columns cut out, or one row taken."""
    whole = found.of(node.inputs[0], depth)
    begin, end, step = (found.constant(edge) for edge in node.inputs[1:4])
    width = found._width(whole)  # noqa: SLF001 - the same module
    masks = [node.integer(f"{word}_mask") for word in ("begin", "end", "shrink_axis")]
    odd = node.integer("ellipsis_mask") or node.integer("new_axis_mask")
    if (
        begin is None
        or end is None
        or step is None
        or width is None
        or odd
        or any(int(s) != 1 for s in step.reshape(-1))
    ):
        return None
    last = begin.size - 1
    if masks[2] == 1 and last == 0:
        return ("row", whole, int(begin[0])) if int(begin[0]) >= 0 else None
    if masks[2] or (last == 1 and not (masks[0] & 1 and masks[1] & 1)) or last > 1:
        return None
    first = 0 if masks[0] >> last & 1 else int(begin[last])
    until = width if masks[1] >> last & 1 else int(end[last])
    first, until, _step = slice(first, until).indices(width)
    return ("columns", whole, first, until)


def _item(found: Formulas, node: Node, _: Edge, depth: int) -> Formula:
    return ("item", *found.inputs(node, depth)[:2])


def _put(found: Formulas, node: Node, _: Edge, depth: int) -> Formula:
    return ("put", *found.inputs(node, depth)[:3])


_READERS: Mapping[str, Any] = {
    **dict.fromkeys(_SUMS, _sum),
    **dict.fromkeys(_ACTIVATIONS, _activation),
    "Const": _constant,
    "Less": _binary("less"),
    "LogicalAnd": _binary("and"),
    "MatMul": _matmul,
    "Mul": _binary("mul"),
    "ReadVariableOp": _read,
    "Split": _split,
    "Squeeze": _squeeze,
    "StridedSlice": _slice,
    "Sub": _binary("sub"),
    "TensorListGetItem": _item,
    "TensorListSetItem": _put,
    "Unpack": _unpack,
}
