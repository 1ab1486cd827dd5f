"""A TensorFlow graph as records: nodes, functions, and who reads what from whom.

In a graph an edge is ``node:2``; in a function it is ``node:output name:2``, where the number counts within the output
of that name. Both become a pair here, and names of outputs matter only for the few operations that have several.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from engram.errors import FormatError
from engram.formats._tensorflow.tensors import dtype_of
from engram.records import Limits

__all__ = ["CALLS", "Body", "Edge", "Node", "Program", "bodies", "check", "counted", "program"]

CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_BRANCHES = frozenset({"If", "StatelessIf", "While", "StatelessWhile", "Case", "StatelessCase"})

_OUTPUTS: Mapping[str, tuple[str, ...]] = {
    "FusedBatchNorm": ("y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2"),
    "FusedBatchNormV2": ("y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2"),
    "FusedBatchNormV3": ("y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2", "reserve_space_3"),
    "MaxPoolWithArgmax": ("output", "argmax"),
    "Merge": ("output", "value_index"),
    "SoftmaxCrossEntropyWithLogits": ("loss", "backprop"),
    "SparseSoftmaxCrossEntropyWithLogits": ("loss", "backprop"),
    "StatelessRandomGetKeyCounter": ("key", "counter"),
    "Switch": ("output_false", "output_true"),
    "TensorListPopBack": ("output_handle", "tensor"),
    "TopK": ("values", "indices"),
    "TopKV2": ("values", "indices"),
    "Unique": ("y", "idx"),
}
"""Operations with several outputs, in order; any other has one, or one list."""


class Edge(NamedTuple):
    """What a node reads: an output of another node, or an argument of the function."""

    node: str
    output: int


@dataclass(frozen=True, slots=True)
class Node:
    """One operation.

    Attributes:
        name, operation: of the node.
        inputs: its data, in order.
        attributes: as the messages that they are.
        body: of the function it stands in; empty for the graph.
    """

    name: str
    operation: str
    inputs: tuple[Edge, ...]
    attributes: Mapping[str, Any]
    body: str = ""

    def integer(self, key: str, default: int = 0) -> int:
        """A whole number."""
        return int(self.attributes[key].i) if key in self.attributes else default

    def number(self, key: str, default: float) -> float:
        """A number, as the shortest decimal that means it."""
        return float(f"{self.attributes[key].f:.7g}") if key in self.attributes else default

    def truth(self, key: str, *, default: bool = False) -> bool:
        """A yes or no."""
        return bool(self.attributes[key].b) if key in self.attributes else default

    def text(self, key: str, default: str = "") -> str:
        """A word."""
        return self.attributes[key].s.decode("utf-8", "replace") if key in self.attributes else default

    def integers(self, key: str) -> list[int]:
        """A list of whole numbers."""
        return [int(number) for number in self.attributes[key].list.i] if key in self.attributes else []

    def type(self, key: str, default: str = "") -> str:
        """A type by numpy's name; ``string`` for texts, empty for handles and what has none."""
        if key not in self.attributes:
            return default
        return type_name(self.attributes[key].type)

    def function(self, key: str) -> str:
        """The name of a function."""
        return str(self.attributes[key].func.name) if key in self.attributes else ""

    @property
    def where(self) -> str:
        """What to call it in an error."""
        return f"node {self.name!r}" + (f" of function {self.body}" if self.body else "")


@dataclass(frozen=True, slots=True)
class Body:
    """A graph, or a function.

    Attributes:
        name: of the function; empty for the graph.
        nodes: by name.
        arguments: names of a function's inputs, in order.
        results: what a function gives, in order.
    """

    name: str
    nodes: Mapping[str, Node]
    arguments: tuple[str, ...] = ()
    results: tuple[Edge, ...] = ()
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """A graph and the functions it calls."""

    main: Body
    functions: Mapping[str, Body] = field(default_factory=dict)

    def called(self, name: str, node: Node) -> Body:
        """A function by its name.

        Raises:
            FormatError: there is none.
        """
        if name not in self.functions:
            raise FormatError(f"{node.where} calls the function {name!r}, which is not there; the file is damaged")
        return self.functions[name]


def type_name(number: int) -> str:
    """Numpy's name for TensorFlow's number of a type; ``string`` for texts, empty for what is no array."""
    kind = dtype_of(number)
    return kind.name if kind is not None else {7: "string"}.get(number, "")


def program(found: Any) -> Program:  # noqa: ANN401 - a generated class
    """The records of a GraphDef.

    Raises:
        FormatError: names are given twice, or an edge leads nowhere.
    """
    functions: dict[str, Body] = {}
    for function in found.library.function:
        name = function.signature.name
        if name in functions:
            raise FormatError(f"the function {name!r} is there twice; the file is damaged")
        functions[name] = _function(function)
    return Program(_main(found.node), functions)


def bodies(found: Program) -> Iterator[Body]:
    """The graph and every function."""
    yield found.main
    yield from found.functions.values()


def check(found: Program, allowed: frozenset[str]) -> None:
    """Refuse a graph in which any operation, reached or not, is not on the list.

    Raises:
        FormatError: there is one; it is named.
    """
    for body in bodies(found):
        place = f"function {body.name}" if body.name else "the graph"
        for node in body.nodes.values():
            if node.operation not in allowed:
                raise FormatError(f"the operation {node.operation} in {place} is not read; nothing was run")


def counted(found: Program, limits: Limits) -> None:
    """Refuse a graph that has too many nodes once its functions are inlined, without inlining them.

    Raises:
        FormatError: there are too many, functions call each other too deep, or in a ring.
    """
    totals: dict[str, int] = {}
    depths: dict[str, int] = {}
    calls = {name: _calls(body) for name, body in found.functions.items()}
    for name in _callees_first(calls):
        inner = [callee for callee in calls[name] if callee in totals]
        totals[name] = len(found.functions[name].nodes) + sum(totals[callee] for callee in inner)
        depths[name] = 1 + max((depths[callee] for callee in inner), default=0)
    total = len(found.main.nodes) + sum(totals.get(name, 0) for name in _calls(found.main))
    if total > limits.nodes:
        raise FormatError(f"the graph has {total:,} nodes once inlined, but at most {limits.nodes:,} are accepted")
    if max(depths.values(), default=0) > limits.nesting:
        raise FormatError(f"functions call each other more than {limits.nesting} deep; no honest model does")


def _calls(body: Body) -> list[str]:
    """The functions that a body calls, each as often as it does."""
    found = []
    for node in body.nodes.values():
        for attribute in node.attributes.values():
            if attribute.HasField("func"):
                found.append(str(attribute.func.name))
            elif attribute.HasField("list"):
                found.extend(str(func.name) for func in attribute.list.func)
    return found


def _callees_first(calls: Mapping[str, list[str]]) -> Iterator[str]:
    waiting = {name: {callee for callee in callees if callee in calls} for name, callees in calls.items()}
    callers: dict[str, set[str]] = {}
    for name, callees in waiting.items():
        for callee in callees:
            callers.setdefault(callee, set()).add(name)
    ready = [name for name, callees in waiting.items() if not callees]
    done = 0
    while ready:
        name = ready.pop()
        done += 1
        yield name
        for caller in callers.get(name, ()):
            waiting[caller].discard(name)
            if not waiting[caller]:
                ready.append(caller)
    if done < len(calls):
        ring = min(name for name, callees in waiting.items() if callees)
        raise FormatError(f"the function {ring!r} calls itself by way of others; no honest model does")


def _main(nodes: Any) -> Body:  # noqa: ANN401 - generated classes
    made: dict[str, Node] = {}
    for node in nodes:
        if node.name in made:
            raise FormatError(f"the node {node.name!r} is there twice; the file is damaged")
        made[node.name] = Node(node.name, node.op, tuple(_plain_edges(node)), node.attr)
    return Body("", made)


def _plain_edges(node: Any) -> Iterator[Edge]:  # noqa: ANN401
    for text in node.input:
        if not text.startswith("^"):
            name, _, place = text.partition(":")
            yield Edge(name, _place(place or "0", text, node.name))


def _function(function: Any) -> Body:  # noqa: ANN401
    title = function.signature.name
    arguments = tuple(argument.name for argument in function.signature.input_arg)
    operations = {node.name: node.op for node in function.node_def}
    if len(operations) != len(function.node_def) or len({*arguments}) != len(arguments):
        raise FormatError(f"the function {title!r} has two nodes or arguments of one name; the file is damaged")

    def edge(text: str, reader: str) -> Edge:
        name, _, rest = text.partition(":")
        if not rest or name not in operations:
            return Edge(name, 0)
        label, _, place = rest.rpartition(":")
        number = _place(place, text, reader)
        names = _OUTPUTS.get(operations[name], ())
        return Edge(name, names.index(label) if label in names else number)

    nodes = {
        node.name: Node(
            node.name,
            node.op,
            tuple(edge(text, node.name) for text in node.input if not text.startswith("^")),
            node.attr,
            title,
        )
        for node in function.node_def
    }
    results = tuple(edge(function.ret.get(argument.name, ""), title) for argument in function.signature.output_arg)
    types = tuple(type_name(argument.type) for argument in function.signature.input_arg)
    return Body(title, nodes, arguments, results, types)


def _place(text: str, whole: str, reader: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 8):
        raise FormatError(f"node {reader!r} reads {whole!r}, which is no output; the file is damaged")
    return int(text)
