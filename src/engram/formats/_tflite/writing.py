"""What every operator's writer has in hand: the facts of the network and the graph in the making."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError
from engram.formats._tflite.draft import Draft, Held, Layout, natural, turned
from engram.formats._tflite.facts import Facts
from engram.graphs.walk import Step

__all__ = ["LAST", "Write", "Writing"]

LAST = {3: (0, 2, 1), 4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}
"""The layout with channels last, by rank."""
_COMPUTED = {"float32", "int32", "int64", "bool", "uint8", "int8"}
_FUSED = {
    "ADD", "SUB", "MUL", "DIV", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "AVERAGE_POOL_2D", "MAX_POOL_2D",
    "CONCATENATION", "CONV_3D",
}  # fmt: skip
"""Operators that can apply an activation to their answer."""


class Writing:
    """A network on its way into a draft.

    Attributes:
        facts: of the network.
        draft: what is written so far.
        values: by name, those made so far.
        done: nodes that another one has written along with itself.
        integers: by name, the tensors of values that are quantized, and their layout.
        folded: the BatchNormalizations that stand in the weights before them.
    """

    def __init__(self, facts: Facts, draft: Draft) -> None:
        self.facts = facts
        self.draft = draft
        self.values: dict[str, Held] = {}
        self.done: set[str] = set()
        self.folded: list[str] = []
        self.integers: dict[str, tuple[int, Layout]] = {}
        self.rows = -1

    def held(self, name: str) -> Held:
        """A value by its name.

        Raises:
            ConversionError: it hangs on the size of the batch in a way that TFLite cannot say.
        """
        found = self.values.get(name)
        if found is not None:
            return found
        array = self.facts.constants.get(name)
        if array is not None:
            made = Held(tuple(array.shape), _dtype(array), array=array, name=name)
        else:
            made = self._counted(name)
        self.values[name] = made
        return made

    def fixed(self, name: str, what: str) -> ndarray:
        """The numbers of a value that never changes.

        Args:
            name: of the value.
            what: it is for, in an error.

        Raises:
            ConversionError: it is computed.
        """
        array = self.facts.constants.get(name)
        if array is None:
            raise ConversionError(f"{what} is computed from the input, and a TFLite operator wants it fixed")
        return array

    def option(self, node: Step, place: int, what: str) -> ndarray | None:
        """The numbers of an optional input; None where it is left out."""
        name = node.inputs[place] if place < len(node.inputs) else ""
        return self.fixed(name, f"{what} of {node.operator} {node.name!r}") if name else None

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a value, -1 for the batch."""
        return self.facts.shapes[name]

    def dtype(self, name: str) -> str:
        """Numpy's name of a value's type."""
        return self.facts.dtypes[name]

    def get(self, name: str, layout: Layout | None = None) -> int:
        """The tensor of a value in a layout."""
        return self.draft.get(self.held(name), layout)

    def give(self, name: str, tensor: int, layout: Layout | None = None) -> None:
        """Say which tensor holds a value that a node made."""
        shape, dtype = self.shape(name), self.dtype(name)
        if dtype not in _COMPUTED:
            raise ConversionError(f"{name!r} is computed in {dtype}, which LiteRT does not do; cast it to float32")
        self.values[name] = Held(shape, dtype, {natural(len(shape)) if layout is None else layout: tensor})

    def alias(self, name: str, source: str) -> None:
        """Say that two values are one; the first is then forgotten unless somebody else reads it, too."""
        held = self.held(source)
        if held.array is None and self.read_once(source):
            del self.values[source]
        self.values[name] = held

    def emit(self, kind: str, inputs: Sequence[int], node: Step, layout: Layout | None = None, **options: Any) -> None:  # noqa: ANN401
        """An operator whose output is the node's only one."""
        name = node.outputs[0]
        shape = self.shape(name) if layout is None else turned(self.shape(name), layout)
        self.give(name, self.draft.emit(kind, inputs, shape, self.dtype(name), name=name, **options), layout)

    def scalar(self, value: float, like: str = "float32") -> int:
        """A constant number."""
        return self.draft.constant(np.array(value, dtype=like))

    def any_layout(self, name: str) -> Layout:
        """A layout in which a value is there already."""
        held = self.held(name)
        return next(iter(held.tensors)) if held.tensors else natural(held.rank)

    def layout_for(self, names: Sequence[str], rank: int, allowed: Callable[[Layout], bool] = bool) -> Layout:
        """The layout for which the fewest numbers must be turned.

        Args:
            names: of the values that are to be in one layout.
            rank: of the values that count.
            allowed: which layouts will do.
        """
        held = [self.held(name) for name in names]
        full = [one for one in held if one.rank == rank and one.array is None]
        layouts = {layout: None for one in full for layout in one.tensors if allowed(layout)}
        if natural(rank) not in layouts and allowed(natural(rank)):
            layouts[natural(rank)] = None

        def cost(layout: Layout) -> int:
            return sum(abs(int(np.prod(one.shape))) for one in full if layout not in one.tensors)

        return min(layouts, key=cost) if layouts else natural(rank)

    def spread(self, name: str, rank: int, layout: Layout) -> int:
        """A value of fewer axes as the others see it when all are in a layout."""
        held = self.held(name)
        if held.rank == rank:
            return self.draft.get(held, layout)
        if layout == natural(rank) or held.rank == 0:
            return self.draft.get(held)
        whole = (1,) * (rank - held.rank) + held.shape
        if held.array is not None:
            view = held.array.reshape(whole).transpose(layout)
            while view.ndim > 1 and view.shape[0] == 1:
                view = view[0]
            return self.draft.constant(view, held.name)
        padded = self.draft.reshape(self.draft.get(held), whole)
        return self.draft.transpose(padded, layout)

    def read_once(self, name: str) -> bool:
        """Whether a value is read by one node and nothing else."""
        return self.facts.readers.get(name, 0) == 1

    def producer(self, name: str) -> int | None:
        """The operator whose answer a value is, if nobody else reads it and it may be changed."""
        held = self.values.get(name)
        if held is None or len(held.tensors) != 1 or not self.read_once(name):
            return None
        if sum(other is held for other in self.values.values()) > 1:
            return None
        (tensor,) = held.tensors.values()
        return self.draft.maker(tensor)

    def fuse(self, node: Step, activation: int) -> bool:
        """Let the operator before apply an activation, if it can."""
        place = self.producer(node.inputs[0])
        if place is None:
            return False
        operator = self.draft.operators[place]
        if operator.kind not in _FUSED or operator.options.get("fused_activation_function", 0):
            return False
        if self.dtype(node.inputs[0]) != "float32":
            return False
        self.draft.change(place, operator.inputs, {"fused_activation_function": activation})
        self.alias(node.outputs[0], node.inputs[0])
        return True

    def sized(self, shapes: tuple[ndarray, ndarray], dtype: str = "int32") -> int:
        """A tensor of whole numbers that grow with the batch, from what they are for two rows and for three."""
        two, three = (np.asarray(one).astype(dtype) for one in shapes)
        step = three - two
        made = self._rows()
        if dtype != "int32":
            made = self.draft.emit("CAST", [made], [1], dtype, in_data_type=2, out_data_type=4)
        made = self.draft.emit("MUL", [made, self.draft.constant(step.reshape(-1))], [step.size], dtype)
        made = self.draft.emit("ADD", [made, self.draft.constant((two - 2 * step).reshape(-1))], [step.size], dtype)
        return self.draft.reshape(made, step.shape)

    def _rows(self) -> int:
        """The size of the batch as a tensor, computed once."""
        if self.rows < 0:
            self.rows = self.draft.batch(self.get(self.facts.inputs[0], self.any_layout(self.facts.inputs[0])))
        return self.rows

    def _counted(self, name: str) -> Held:
        if name not in self.facts.counted:
            raise ConversionError(f"{name!r} is read before it is made; the graph is not in order")
        two, three = self.facts.counted[name]
        shape = self.shape(name)
        if two.shape == three.shape and two.dtype.kind == "i":
            return Held(shape, two.dtype.name, {natural(two.ndim): self.sized((two, three), two.dtype.name)})
        row = _repeated(two, three, shape)
        if row is None:
            raise ConversionError(f"{name!r} hangs on the size of the batch in a way that TFLite cannot say")
        lengths = self.sized((np.array(two.shape), np.array(three.shape)))
        whole = self.draft.emit("BROADCAST_TO", [self.draft.constant(row), lengths], shape, two.dtype.name)
        return Held(shape, two.dtype.name, {natural(two.ndim): whole})


def _repeated(two: ndarray, three: ndarray, shape: Sequence[int]) -> ndarray | None:
    """The one row that is repeated along the axes of the batch; None where rows differ."""
    row = two[tuple(slice(0, 1) if size < 0 else slice(None) for size in shape)]
    whole = all(np.array_equal(np.broadcast_to(row, one.shape), one) for one in (two, three))
    return row if whole and row.size else None


Write = Callable[[Step, Writing], None]
"""What writes one kind of node."""


def _dtype(array: ndarray) -> str:
    return "string" if array.dtype.kind in "OUS" else array.dtype.name
