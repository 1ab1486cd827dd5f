"""Walking a TensorFlow graph from its answers back to its inputs, and writing down what it computes.

Nothing is run. A function is walked where it is called, with what it is called with, so that nothing of functions is
left in the new graph. Only what an answer hangs on is visited: saving, restoring and training stand in the same file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy import ndarray

from engram.errors import FormatError
from engram.formats._tensorflow import (
    read_control,
    read_elementwise,
    read_lists,
    read_matrix,
    read_pieces,
    read_places,
    read_reduction,
    read_shape,
    read_slice,
    read_tables,
)
from engram.formats._tensorflow.call import Call, Readers
from engram.formats._tensorflow.graph import Body, Edge, Node, Program
from engram.formats._tensorflow.nodes import Nodes
from engram.formats._tensorflow.values import Items, Table, Tensor, Value, Variable
from engram.records import Limits

__all__ = ["KNOWN", "Trace"]

_READERS: Readers = {
    **read_control.READERS,
    **read_elementwise.READERS,
    **read_lists.READERS,
    **read_matrix.READERS,
    **read_pieces.READERS,
    **read_places.READERS,
    **read_reduction.READERS,
    **read_shape.READERS,
    **read_slice.READERS,
    **read_tables.READERS,
}
KNOWN = frozenset(_READERS)
"""The operations that become part of a graph."""


class Trace:
    """A walk through one program.

    Attributes:
        program: the graph and its functions.
        nodes: the graph in the making.
        limits: of a stranger's file.
        held: numbers of parameters that stand in the graph itself, by name.
        bulk: numbers beyond which a floating constant of the graph is a parameter.
        names: node of a variable → what the parameter may be called, the best first.
        named: node of a variable → what it is called.
        tables: lookup tables that are filled from the graph, by the node that makes them.
        products: value → the node that made it, where a bias may still be added to that.
        reversals: value → what it was before it was read from its end, and along which axes.
    """

    def __init__(self, program: Program, names: Mapping[str, tuple[str, ...]], limits: Limits) -> None:
        self.program = program
        self.nodes = Nodes()
        self.limits = limits
        self.names = names
        self.named: dict[str, str] = {}
        self.tables: dict[str, Table] = {}
        self.held: dict[str, ndarray] = {}
        self.bulk = 1024
        self.products: dict[str, tuple[str, tuple[str, ...], Mapping[str, Any]]] = {}
        self.reversals: dict[str, tuple[Tensor, list[int]]] = {}
        self._depth = 0

    def weight(self, variable: Variable) -> Tensor:
        """The value of a variable.

        Raises:
            FormatError: the checkpoint does not hold it.
        """
        if variable.key not in self.named:
            free = [name for name in self.names.get(variable.key, ()) if name not in self.nodes.weights]
            if not free:
                raise FormatError(f"the variable {variable.key!r} is used, but the checkpoint does not hold it")
            self.named[variable.key] = free[0]
        return self.nodes.weight(self.named[variable.key], variable.dtype, variable.shape)

    def call(self, body: Body, arguments: Sequence[Value]) -> Items:
        """What a function makes of some values.

        Raises:
            FormatError: it is given more or fewer than it takes, or holds what is not read.
        """
        if len(arguments) != len(body.arguments):
            given = f"is given {len(arguments)} values, but takes {len(body.arguments)}"
            raise FormatError(f"function {body.name} {given}; the file is damaged")
        if self._depth > self.limits.nesting:
            raise FormatError(f"functions call each other more than {self.limits.nesting} deep; no honest model does")
        self._depth += 1
        try:
            return self.walk(body, body.results, dict(zip(body.arguments, arguments, strict=True)))
        finally:
            self._depth -= 1

    def walk(self, body: Body, wanted: Sequence[Edge], known: Mapping[str, Value]) -> Items:
        """The values at some edges of a graph.

        Args:
            body: the graph.
            wanted: edges.
            known: values of arguments and placeholders.
        """
        made: dict[str, Items] = {name: (value,) for name, value in known.items()}
        waiting = [edge.node for edge in reversed(wanted)]
        open_ = set[str]()
        while waiting:
            name = waiting[-1]
            if name in made:
                waiting.pop()
                continue
            node = body.nodes.get(name)
            if node is None:
                raise FormatError(f"something reads {name!r}, which is not in the graph; the file is damaged")
            missing = [edge.node for edge in node.inputs if edge.node not in made]
            if missing and name in open_:
                raise FormatError(f"{node.where} hangs on itself; loops of TensorFlow 1 are not read")
            if missing:
                open_.add(name)
                waiting.extend(reversed(missing))
                continue
            made[name] = self._made(node, tuple(_at(made, edge, node) for edge in node.inputs))
            waiting.pop()
        return tuple(_at(made, edge, None) for edge in wanted)

    def _made(self, node: Node, inputs: Items) -> Items:
        reader = _READERS.get(node.operation)
        if reader is None:
            raise FormatError(f"the operation {node.operation} ({node.where}) is not read in the path of an answer")
        try:
            return reader(Call(self, node, inputs))
        except FormatError:
            raise
        except (
            ValueError,
            TypeError,
            LookupError,
            ArithmeticError,
            AttributeError,
            AssertionError,
            RuntimeError,
        ) as wrong:
            reason = str(wrong).strip().splitlines()
            raise FormatError(
                f"{node.operation} ({node.where}) is damaged: {reason[0] if reason else type(wrong).__name__}"
            ) from wrong


def _at(made: Mapping[str, Items], edge: Edge, reader: Node | None) -> Value:
    found = made[edge.node]
    if edge.output >= len(found):
        who = reader.where if reader is not None else "the signature"
        raise FormatError(f"{who} reads output {edge.output} of {edge.node!r}, which has {len(found)}")
    return found[edge.output]
