"""Running a graph in torch, and training it again.

An interpreter of our own: each node is one call of a small function, so that BatchNormalization and Dropout act as in
training when they should, and the parameters keep the names, values and layout they came with. It never builds Python
code from a graph.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor, nn

from engram.errors import ConversionError, EngramError, FormatError, ShapeError
from engram.graphs.walk import Step, Steps, steps
from engram.runtime._torch_arrays import array, tensor
from engram.runtime._torch_call import Call, Operator
from engram.runtime._torch_operators_activation import OPERATORS as ACTIVATIONS
from engram.runtime._torch_operators_arithmetic import OPERATORS as ARITHMETIC
from engram.runtime._torch_operators_convolution import OPERATORS as CONVOLUTIONS
from engram.runtime._torch_operators_normalization import OPERATORS as NORMALIZATIONS
from engram.runtime._torch_operators_reduction import OPERATORS as REDUCTIONS
from engram.runtime._torch_operators_resizing import OPERATORS as RESIZING
from engram.runtime._torch_operators_shape import OPERATORS as SHAPES

__all__ = ["OPERATORS", "VERSION", "Network", "module", "run"]

VERSION = f"torch {torch.__version__}"

OPERATORS: Mapping[str, Operator] = {
    **ACTIVATIONS, **ARITHMETIC, **CONVOLUTIONS, **NORMALIZATIONS, **REDUCTIONS, **RESIZING, **SHAPES,
}  # fmt: skip

_STATISTICS = {("BatchNormalization", 3), ("BatchNormalization", 4)}
_SMALL = 4096
"""Numbers of a constant that are also kept as Python's own, for shapes and axes."""


def module(graph: bytes, weights: Mapping[str, ndarray]) -> Network:
    """A network that can be trained, from its canonical graph and weights.

    Floating weights become parameters; running statistics, buffers of the source and everything the graph does not
    read become buffers. The arrays are copied.

    Raises:
        ConversionError: the graph has an operator that torch does not run here.
        FormatError: a weight that the graph needs is missing.
    """
    return Network(steps(graph), weights)


def run(graph: bytes, inputs: Mapping[str, ndarray], threads: int = 1) -> dict[str, ndarray]:
    """What a graph answers, every output by name.

    Args:
        graph: a serialized ModelProto with its weights inside.
        inputs: all rows at once, by the graph's names.
        threads: taken for the sake of the contract; torch's threads are set once for a process.

    Raises:
        ConversionError: the graph has an operator, or strings, that torch does not run here.
        ShapeError: the inputs do not fit the graph.
    """
    del threads
    known = steps(graph)
    network = Network(known, {}).eval()
    absent = [name for name in known.inputs if name not in inputs]
    if absent:
        raise ShapeError(f"input {absent[0]!r} is missing; the graph takes {', '.join(known.inputs)}")
    with torch.no_grad():
        try:
            answers = network.compute([tensor(np.asarray(inputs[name]), name) for name in known.inputs])
        except NotImplementedError as refused:
            raise ConversionError(f"torch cannot compute this graph: {str(refused).splitlines()[0]}") from refused
        except (RuntimeError, IndexError, ValueError) as refused:
            if isinstance(refused, EngramError):
                raise
            reason = str(refused).strip().split("\n", maxsplit=1)[0]
            raise ShapeError(f"torch refuses the inputs: {reason}") from refused
    return {name: array(answer) for name, answer in zip(known.outputs, answers, strict=True)}


class _Folder(nn.Module):
    """One part of a dotted name; entries are put straight into its dictionaries, since any name is allowed here."""


class Network(nn.Module):
    """The nodes of a graph as a module; its ``state_dict`` has the names of the weights."""

    def __init__(self, known: Steps, weights: Mapping[str, ndarray]) -> None:
        super().__init__()
        self._check(known, weights)
        self._graph = known
        self._places: dict[str, tuple[nn.Module, str]] = {}
        self._plan = [self._planned(step, known) for step in known.nodes]
        self._last = _last_uses(known)
        statistics = {
            name for step in known.nodes for place, name in enumerate(step.inputs)
            if (step.operator, place) in _STATISTICS
        }  # fmt: skip
        fixed = {*statistics, *known.fixed, *(weights.keys() - set(known.weights))}
        for name, values in weights.items():
            self._store(name, tensor(values, name), learned=name not in fixed)
        self._numbers = {name: tensor(values, name) for name, values in known.constants.items()}
        for place, (name, value) in enumerate(self._numbers.items()):
            if value.is_floating_point() and value.ndim:
                self._keep(name, value, f"constant.{place}")
        self._counters = [name for name in map(_counter, known.nodes) if name in self._places]

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The outputs in order, or the tensor itself where there is one."""
        answers = self.compute(inputs)
        return answers[0] if len(answers) == 1 else tuple(answers)

    def compute(self, inputs: tuple[Tensor, ...] | list[Tensor]) -> list[Tensor]:
        """Every output in order.

        Raises:
            ShapeError: there are more or fewer inputs than the graph has.
        """
        if len(inputs) != len(self._graph.inputs):
            raise ShapeError(f"the network takes {len(self._graph.inputs)} inputs, but got {len(inputs)}")
        values: dict[str, Tensor] = dict(self._numbers)
        values.update((name, _entry(*place)) for name, place in self._places.items())
        values.update(zip(self._graph.inputs, inputs, strict=True))
        for place, (operator, call, trained) in enumerate(self._plan):
            read = [values[name] if name else None for name in call.step.inputs]
            made = operator(trained if self.training else call, *read)
            found = made if isinstance(made, tuple) else (made,)
            values.update(zip(call.step.outputs, found, strict=False))
            for name in self._last.get(place, ()):
                del values[name]
        if self.training:
            self._count()
        return [values[name] for name in self._graph.outputs]

    def _count(self) -> None:
        """Count the batch, as torch's BatchNorm does."""
        for name in self._counters:
            _entry(*self._places[name]).add_(1)

    def _store(self, name: str, value: Tensor, *, learned: bool) -> None:
        *folders, last = name.split(".")
        place: nn.Module = self
        for folder in folders:
            place = place._modules.setdefault(folder, _Folder()) or place  # noqa: SLF001 - see _Folder
        if learned and value.is_floating_point():
            place._parameters[last] = nn.Parameter(value)  # noqa: SLF001 - see _Folder
        else:
            place._buffers[last] = value  # noqa: SLF001 - see _Folder
        self._places[name] = (place, last)

    def _keep(self, name: str, value: Tensor, entry: str) -> None:
        """A constant that moves with the module and is not part of its state; no weight's entry has a dot in it."""
        self._buffers[entry] = value
        self._non_persistent_buffers_set.add(entry)
        self._places[name] = (self, entry)

    @staticmethod
    def _check(known: Steps, weights: Mapping[str, ndarray]) -> None:
        absent = [name for name in known.weights if name not in weights]
        if absent:
            raise FormatError(f"the weights have no {absent[0]!r}, which the graph needs; it is damaged or not its own")

    @staticmethod
    def _planned(step: Step, known: Steps) -> tuple[Operator, Call, Call]:
        if step.domain or step.operator not in OPERATORS:
            kind = f"{step.domain}.{step.operator}" if step.domain else step.operator
            raise ConversionError(
                f"node {step.name or step.outputs[0]!r} is a {kind}, which does not run in torch; use onnxruntime"
            )
        numbers = tuple(_numbers(known.constants.get(name)) for name in step.inputs)
        return OPERATORS[step.operator], Call(step, numbers), Call(step, numbers, training=True)


def _entry(place: nn.Module, name: str) -> Tensor:
    """What stands under a name now; a move to another device or a loaded state puts new tensors there."""
    found = place._parameters.get(name)  # noqa: SLF001 - see _Folder
    if found is None:
        found = place._buffers[name]  # type: ignore[assignment]  # noqa: SLF001 - see _Folder
    assert found is not None
    return found


def _numbers(array: ndarray | None) -> object:
    """A small constant as a flat list, or as a number where it has no axes."""
    if array is None or array.size > _SMALL or array.dtype == object:
        return None
    return array.reshape(-1).tolist() if array.ndim else array.item()


def _counter(step: Step) -> str:
    """The name under which torch's BatchNorm counts its batches."""
    if step.operator != "BatchNormalization":
        return ""
    return step.inputs[3].removesuffix("running_mean") + "num_batches_tracked"


def _last_uses(known: Steps) -> dict[int, tuple[str, ...]]:
    """Node → values that nobody reads after it, so that memory is given back early."""
    last: dict[str, int] = {}
    for place, step in enumerate(known.nodes):
        last.update((name, place) for name in (*step.inputs, *step.outputs) if name)
    for name in known.outputs:
        last.pop(name, None)
    uses: dict[int, list[str]] = {}
    made = {name for step in known.nodes for name in step.outputs if name}
    for name, place in last.items():
        if name in made:
            uses.setdefault(place, []).append(name)
    return {place: tuple(names) for place, names in uses.items()}
