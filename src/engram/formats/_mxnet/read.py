"""A symbol and its parameters as a canonical network.

Operators are drawn one by one, each asked of a table by its name. Where a network takes pictures of one size only,
which no file of MXNet says, the size is found by drawing without weights: the number of features that reach the first
dense layer grows with the size, so two dozen tries are enough.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import count, islice
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from numpy import ndarray

from engram.errors import EngramError, FormatError
from engram.formats import _description
from engram.formats._mxnet import elementwise, layers, products, recurrent, reductions, shapes
from engram.formats._mxnet.ends import LABELS, SIZE, Guess, guesses, inputs
from engram.formats._mxnet.symbol import VARIABLE, Edge, Node, Symbol
from engram.formats._mxnet.task import Draw, Drawing, Misfit, Task, Unsized
from engram.formats._sheet import Sheet
from engram.graphs.canonical import canonical
from engram.graphs.naming import rename
from engram.graphs.signature import signature
from engram.graphs.weights import FIXED, detach, note
from engram.records import Limits, Model

__all__ = ["network"]

_TABLE: Mapping[str, Draw] = {
    **elementwise.TABLE,
    **layers.TABLE,
    **products.TABLE,
    **recurrent.TABLE,
    **reductions.TABLE,
    **shapes.TABLE,
}
_FAULTS = (ValueError, TypeError, LookupError, RuntimeError, ArithmeticError, AttributeError, DecodeError)
_LARGEST_SIZE = 4096
_MOST_NODES = 20_000
"""Ten times what the largest networks of MXNet's own collection have; each node is drawn several times."""
_USUAL_SIZES = (
    224, 32, 28, 64, 16, 128, 256, 96, 299, 227, 112, 160, 192, 48, 40, 24, 8, 331, 384, 448, 512, 1024,
)  # fmt: skip
"""The first of these that fits is taken: what networks on ImageNet, CIFAR and MNIST take comes first."""
_STATES = ("output", "state_output", "statecell_output")


def network(
    symbol: Symbol, weights: Mapping[str, ndarray], fixed: set[str], source: Mapping[str, Any], limits: Limits
) -> Model:
    """The network of a symbol.

    Args:
        symbol: the graph.
        weights: by the names of its variables.
        fixed: those that training does not move.
        source: what the files say of themselves.
        limits: of the graph that comes out.

    Raises:
        FormatError: it uses an operator that is not read, lacks a parameter, or its parts do not fit together.
    """
    if len(symbol.nodes) > _MOST_NODES:
        raise FormatError(f"the symbol has {len(symbol.nodes):,} nodes, but at most {_MOST_NODES:,} are read of MXNet")
    unknown = sorted({node.operator for node in symbol.nodes} - _TABLE.keys() - {VARIABLE})
    if unknown:
        raise FormatError(f"the symbol uses {', '.join(map(repr, unknown[:9]))}, which is not read")
    try:
        graph = _graph(symbol, weights)
        whole = canonical(graph, set(weights))
        note(whole, fixed & set(weights), FIXED)
        bare, _ = detach(whole, set(weights))
        described = _description.Description(signature(whole), source=dict(source))
        return _description.model(described, bare, dict(weights), limits=limits)
    except EngramError:
        raise
    except _FAULTS as wrong:
        reason = str(wrong).splitlines()[0] if str(wrong) else repr(wrong)
        raise FormatError(f"the operators of the symbol do not fit together: {reason[:200]}") from wrong


def _graph(symbol: Symbol, weights: Mapping[str, ndarray]) -> onnx.ModelProto:
    """The graph with the first inputs that fit it."""
    first: FormatError | None = None
    for guessed in islice(guesses(symbol, weights), max(_MOST_NODES // len(symbol.nodes), 1)):
        try:
            size = _size(symbol, weights, guessed)
            drawing = Drawing(_sheet(guessed, weights, size), _shapes(weights), strict=False)
            return _finished(symbol, drawing, _drawn(symbol, drawing))
        except FormatError as wrong:
            first = first or wrong
    raise first or FormatError("the symbol has no inputs")


def _shapes(weights: Mapping[str, ndarray]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in weights.items()}


def _sheet(guessed: Sequence[Guess], weights: Mapping[str, ndarray], size: int) -> Sheet:
    return Sheet([one.spec(size) for one in guessed], weights)


def _size(symbol: Symbol, weights: Mapping[str, ndarray], guessed: Sequence[Guess]) -> int:
    """The size that square pictures must have: a usual one of those that fit, else the smallest; 0 where any does."""

    def fits(size: int) -> int:
        """Less than 0 where a size is too small, more where it is too large."""
        drawing = Drawing(_sheet(guessed, weights, size), _shapes(weights), strict=True)
        try:
            _drawn(symbol, drawing)
        except Unsized:
            raise
        except FormatError as wrong:
            return 1 if isinstance(wrong, Misfit) and not wrong.small else -1
        return 0

    if not any(SIZE in one.shape for one in guessed) or len(symbol.nodes) > _MOST_NODES // 4:
        return 0
    try:
        fits(0)
    except Unsized:
        pass
    else:
        return 0
    try:
        low = _first(lambda size: fits(size) >= 0)
        high = _first(lambda size: fits(size) > 0) - 1
    except Unsized:
        return 0  # it depends on something else than the size
    if low > high:
        raise FormatError("no size of square pictures fits the first dense layer; give the input its shape")
    return next((size for size in _USUAL_SIZES if low <= size <= high), low)


def _first(holds: Callable[[int], bool]) -> int:
    """The first size for which something holds that holds for all larger ones."""
    low, high = 1, _LARGEST_SIZE
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _drawn(symbol: Symbol, drawing: Drawing) -> dict[Edge, str]:
    """The value of every output of every node that an answer depends on."""
    variables = inputs(symbol, drawing.weights)
    values: dict[Edge, str] = {}
    for number in sorted(_needed(symbol)):
        node = symbol.nodes[number]
        if node.operator == VARIABLE:
            if node.name in variables or node.name in drawing.weights:
                values[number, 0] = node.name
            continue
        drawing.sheet.begin(node.name)
        made = _TABLE[node.operator](Task(node, _given(symbol, node, values), drawing))
        for place, value in enumerate((made,) if isinstance(made, str) else made):
            values[number, place] = value
    return values


def _given(symbol: Symbol, node: Node, values: Mapping[Edge, str]) -> tuple[str, ...]:
    """The inputs of a node; a label, which no answer depends on, is left out."""
    edges = [edge for place, edge in enumerate(node.inputs) if LABELS.get(node.operator) != place]
    for number, place in edges:
        if (number, place) not in values:
            source = symbol.nodes[number]
            raise FormatError(
                f"{node.operator} {node.name!r} takes output {place} of {source.operator} {source.name!r}, "
                "which is not read"
            )
    return tuple(values[edge] for edge in edges)


def _needed(symbol: Symbol) -> set[int]:
    found: set[int] = set()
    waiting = [number for number, _ in symbol.heads]
    while waiting:
        number = waiting.pop()
        if number not in found:
            found.add(number)
            waiting.extend(source for source, _ in symbol.nodes[number].inputs)
    return found


def _finished(symbol: Symbol, drawing: Drawing, values: Mapping[Edge, str]) -> onnx.ModelProto:
    """The graph with its outputs by the names that MXNet gives them."""
    sheet = drawing.sheet
    made: list[str] = []
    names: list[str] = []
    taken, several = set(inputs(symbol, drawing.weights)), Counter(number for number, _ in values)
    for edge in symbol.heads:
        if edge not in values:
            raise FormatError(f"output {edge[1]} of {symbol.nodes[edge[0]].name!r} is asked for, which there is not")
        made.append(sheet.node("Identity", values[edge]))
        names.append(_own(_output(symbol, edge, several[edge[0]]), taken))
        taken.add(names[-1])
    model = sheet.finish(made)
    chosen = dict(zip(made, names, strict=True))
    used = {name for node in model.graph.node for name in node.output} - chosen.keys()
    used |= set(drawing.weights)
    rename(model.graph, {**{name: f"{name}/inside" for name in names if name in used}, **chosen})
    return model


def _own(name: str, taken: Collection[str]) -> str:
    return next(one for at in count() if (one := f"{name}.{at}" if at else name) not in taken)


def _output(symbol: Symbol, edge: Edge, several: int) -> str:
    node = symbol.nodes[edge[0]]
    if node.operator == VARIABLE:
        return node.name
    if node.operator == "RNN":
        return f"{node.name}_{_STATES[edge[1]]}"
    return f"{node.name}_output{edge[1] if several > 1 else ''}"
