"""What goes into a network, which a symbol does not tell.

A symbol names its inputs and leaves their shapes to whoever binds it. What can be said follows from the first layer
with parameters of a known shape that a value meets; where two ranks are possible, both are tried. Spatial sizes stay
free here; ``read`` finds those that a network insists on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from numpy import ndarray

from engram.errors import EngramError, FormatError
from engram.formats._mxnet.elementwise import KEEPING
from engram.formats._mxnet.symbol import VARIABLE, Symbol
from engram.formats._mxnet.task import Drawing, Task
from engram.formats._sheet import Sheet
from engram.records import TensorSpec

__all__ = ["LABELS", "SIZE", "Guess", "guesses", "inputs"]

BATCH, FREE, SIZE = "batch", "free", "size"
_ROWS = "rows"
"""What the batch is called where it is not the first axis; the first one is always the one that rows are counted by."""
Length = int | str
Shape = tuple[Length, ...]
LABELS = {
    "SoftmaxOutput": 1, "Softmax": 1, "LinearRegressionOutput": 1, "LogisticRegressionOutput": 1,
    "MAERegressionOutput": 1,
}  # fmt: skip
"""Where operators that a network learns with take what it should have answered."""
_MOST = 32
"""Combinations of shapes that are tried."""
_DTYPES = {0: "float32", 1: "float64", 2: "float16", 3: "uint8", 4: "int32", 5: "int8", 6: "int64"}


@dataclass(frozen=True, slots=True)
class Guess:
    """An input as it may be.

    Attributes:
        name: its own.
        dtype: as the parameters that it meets.
        shape: numbers, ``BATCH``, ``SIZE`` for what is as wide as it is high, or ``FREE``.
    """

    name: str
    dtype: str
    shape: Shape

    def spec(self, size: int = 0) -> TensorSpec:
        """The input; of this size where one is given."""
        lengths: list[Length] = []
        for at, length in enumerate(self.shape):
            free = _ROWS if length == BATCH else f"{self.name}.{at}"
            free = free if at else BATCH
            lengths.append(length if isinstance(length, int) else size if size and length == SIZE else free)
        return TensorSpec(self.name, self.dtype, tuple(lengths))


def inputs(symbol: Symbol, weights: Collection[str]) -> dict[str, int]:
    """Names and numbers of the variables that an answer depends on and that are no parameters."""
    needed = [False] * len(symbol.nodes)
    for number, _ in symbol.heads:
        needed[number] = True
    for number in range(len(symbol.nodes) - 1, -1, -1):
        node = symbol.nodes[number]
        for place, (source, _) in enumerate(node.inputs):
            if needed[number] and LABELS.get(node.operator) != place:
                needed[source] = True
    return {
        node.name: number
        for number, node in enumerate(symbol.nodes)
        if needed[number] and node.operator == VARIABLE and node.name not in weights
    }


def guesses(symbol: Symbol, weights: Mapping[str, ndarray]) -> Iterator[list[Guess]]:
    """All inputs as they may be, the most likely first.

    Raises:
        FormatError: nothing is known of an input.
    """
    found = [_guesses(symbol, weights, name, number) for name, number in inputs(symbol, weights).items()]
    for place, chosen in enumerate(product(*found)):
        if place < _MOST:
            yield list(chosen)


def _guesses(symbol: Symbol, weights: Mapping[str, ndarray], name: str, number: int) -> list[Guess]:
    dtype, shapes = _met(symbol, weights, number)
    said = _said(symbol, weights, number)
    if said:
        shapes = [said]
    if not shapes:
        raise FormatError(
            f"{name!r} is no parameter in the file, and nothing tells its shape as an input; give it one, as in "
            f"mxnet.sym.var({name!r}, shape=(0, 3, 224, 224))"
        )
    return [Guess(name, _type(symbol, weights, number) or dtype, shape) for shape in shapes]


def _task(symbol: Symbol, weights: Mapping[str, ndarray], number: int) -> Task:
    node = symbol.nodes[number]
    names = tuple(symbol.nodes[source].name for source, _ in node.inputs)
    shapes = {name: array.shape for name, array in weights.items()}
    return Task(node, names, Drawing(Sheet((), {}), shapes, strict=False))


def _said(symbol: Symbol, weights: Mapping[str, ndarray], number: int) -> Shape:
    """The shape that the variable itself was given, with 0 where it is free."""
    try:
        found = _task(symbol, weights, number).wholes("__shape__")
    except EngramError:
        return ()
    named = [length if length > 0 else BATCH if not at else FREE for at, length in enumerate(found)]
    return (BATCH, *named[1:]) if named else ()


def _type(symbol: Symbol, weights: Mapping[str, ndarray], number: int) -> str:
    try:
        return _DTYPES.get(_task(symbol, weights, number).whole("__dtype__", -1), "")
    except EngramError:
        return ""


def _met(symbol: Symbol, weights: Mapping[str, ndarray], number: int) -> tuple[str, list[Shape]]:
    """The type and the shapes that follow from the first layer with parameters behind a variable."""
    after: dict[int, list[int]] = {}
    for at, node in enumerate(symbol.nodes):
        for source, _ in node.inputs:
            after.setdefault(source, []).append(at)
    waiting: list[tuple[int, tuple[tuple[int, int], ...]]] = [(number, ())]
    seen = {number}
    while waiting:
        source, swaps = waiting.pop(0)
        for at in after.get(source, []):
            node = symbol.nodes[at]
            place = [one for one, _ in node.inputs].index(source)
            dtype, shapes = _layer(symbol, weights, at, place)
            if shapes:
                return dtype, [_back(shape, swaps) for shape in shapes]
            swapped = (*swaps, _swap(symbol, weights, at)) if node.operator in {"SwapAxis", "swapaxes"} else swaps
            passes = node.operator in KEEPING or node.operator in {"SwapAxis", "swapaxes", "BatchNorm", "Pooling"}
            if passes and at not in seen:
                seen.add(at)
                waiting.append((at, swapped))
    return "float32", []


def _swap(symbol: Symbol, weights: Mapping[str, ndarray], at: int) -> tuple[int, int]:
    task = _task(symbol, weights, at)
    return task.whole("dim1", 0), task.whole("dim2", 0)


def _back(shape: Shape, swaps: tuple[tuple[int, int], ...]) -> Shape:
    made = list(shape)
    for one, other in reversed(swaps):
        if max(one, other) < len(made) and min(one, other) >= 0:
            made[one], made[other] = made[other], made[one]
    return tuple(made)


def _layer(symbol: Symbol, weights: Mapping[str, ndarray], at: int, place: int) -> tuple[str, list[Shape]]:
    """What a node says of its input at a place."""
    node = symbol.nodes[at]
    task = _task(symbol, weights, at)
    if node.operator == "RNN":
        return _recurrent(symbol, weights, at, place)
    known = weights.get(symbol.nodes[node.inputs[1][0]].name) if len(node.inputs) > 1 else None
    if known is None or place or not known.ndim:
        return "", []
    dtype = "float32" if node.operator == "Embedding" else known.dtype.name
    if node.operator == "BatchNorm" and (task.whole("axis", 1) != 1 or _convolved(symbol, at)):
        return "", []
    return dtype, _shapes(task, known)


def _shapes(task: Task, known: ndarray) -> list[Shape]:
    """What a layer takes whose first parameter is known."""
    found: list[Shape] = []
    match task.node.operator:
        case "Convolution" | "Convolution_v1" if known.ndim > 2:
            found = [(BATCH, known.shape[1] * task.whole("num_group", 1), *[SIZE] * (known.ndim - 2))]
        case "Deconvolution" if known.ndim > 2:
            found = [(BATCH, known.shape[0], *[SIZE] * (known.ndim - 2))]
        case "FullyConnected" if known.ndim == 2 and task.truth("flatten", default=True):
            found = [(BATCH, known.shape[1])]
        case "FullyConnected" | "LayerNorm":
            found = [(BATCH, FREE, known.shape[-1]), (BATCH, known.shape[-1])]
        case "Embedding":
            found = [(BATCH, FREE), (BATCH,)]
        case "BatchNorm" | "dot":
            found = [(BATCH, known.shape[0])]
    return found


def _convolved(symbol: Symbol, at: int) -> bool:
    """Whether a convolution or pooling reads a node, which says more than the node itself."""
    return any(
        (at, 0) in node.inputs and node.operator in {"Convolution", "Pooling", *KEEPING} for node in symbol.nodes
    )


def _recurrent(symbol: Symbol, weights: Mapping[str, ndarray], at: int, place: int) -> tuple[str, list[Shape]]:
    task = _task(symbol, weights, at)
    source = symbol.nodes[symbol.nodes[at].inputs[1][0]] if len(symbol.nodes[at].inputs) > 1 else None
    if source is None:
        return "", []
    units, layers = task.whole("state_size"), task.whole("num_layers")
    ways = 2 if task.truth("bidirectional") else 1
    if place > 1:
        return "float32", [(layers * ways, BATCH, units)]
    first = source
    while first.operator != VARIABLE and first.inputs:
        first = symbol.nodes[first.inputs[0][0]]
    found = weights.get(first.name)
    if found is None or place:
        return "", []
    if found.ndim == 2:
        return found.dtype.name, [(FREE, BATCH, found.shape[1])]
    gates = {"lstm": 4, "gru": 3}.get(symbol.nodes[at].settings.get("mode", ""), 1)
    rows = gates * units * ways
    deeper = (layers - 1) * rows * (ways * units + units + 2)
    width = (found.size - deeper) // max(rows, 1) - units - 2
    return found.dtype.name, [(FREE, BATCH, width)] if width > 0 else []
