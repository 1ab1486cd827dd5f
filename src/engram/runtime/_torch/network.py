"""A graph as a torch module that can be trained.

Parameters lie under the names they came with, whatever characters those have, so that a ``state_dict`` of the original
loads and an optimizer's state fits. The graph itself is a plan that every copy shares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from numpy import ndarray
from torch import Tensor, nn

from engram.errors import FormatError, ShapeError
from engram.graphs.walk import Step, Steps
from engram.runtime._torch.arrays import tensor
from engram.runtime._torch.call import Value
from engram.runtime._torch.fusion import fused
from engram.runtime._torch.operators import OPERATORS
from engram.runtime._torch.plan import State, planned

__all__ = ["Network"]

_STATISTICS = {("BatchNormalization", 3), ("BatchNormalization", 4)}
_SERVING, _TRAINING = State(), State(training=True)


class _Folder(nn.Module):
    """One part of a dotted name; entries are put straight into its dictionaries, since any name is allowed here."""


class Network(nn.Module):
    """The nodes of a graph as a module; its ``state_dict`` has the names of the weights."""

    def __init__(self, known: Steps, weights: Mapping[str, ndarray]) -> None:
        super().__init__()
        self._check(known, weights)
        self.inputs = known.inputs
        self.outputs = known.outputs
        self._places: dict[str, tuple[nn.Module, str]] = {}
        everything = list(_every(known))
        fixed = {*_statistics(everything), *known.fixed, *(weights.keys() - set(known.weights))}
        for name, values in weights.items():
            self._store(name, tensor(values, name), learned=name not in fixed)
        self._plan, lifted = planned(fused(known), [*known.inputs, *known.weights], OPERATORS)
        self._constants: dict[str, Tensor] = {}
        for place, (name, array) in enumerate({**known.constants, **lifted}.items()):
            self._settle(name, tensor(array, name), f"constant.{place}")
        self._counters = [name for name in map(_counter, everything) if name in self._places]

    def forward(self, *inputs: Value) -> Value:
        """The outputs in order, or the tensor itself where there is one."""
        answers = self.compute(inputs)
        return answers[0] if len(answers) == 1 else tuple(answers)

    def compute(self, inputs: Sequence[Value], state: State | None = None) -> list[Value]:
        """Every output in order.

        Args:
            inputs: in the order of the graph's.
            state: how to run; in the module's own mode and without bounds where nothing is said.

        Raises:
            ShapeError: there are more or fewer inputs than the graph has.
            FormatError: a bound of the state is passed.
        """
        if len(inputs) != len(self.inputs):
            raise ShapeError(f"the network takes {len(self.inputs)} inputs, but got {len(inputs)}")
        given = [*inputs, *map(self._value, self._plan.given[len(inputs) :])]
        answers = self._plan.run(given, state or (_TRAINING if self.training else _SERVING))
        if self.training:
            self._count()
        return answers

    def _value(self, name: str) -> Value:
        place = self._places.get(name)
        return self._constants[name] if place is None else _entry(*place)

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

    def _settle(self, name: str, value: Tensor, entry: str) -> None:
        """Keep a constant: of floating type as a buffer that moves with the module and is not part of its state."""
        if not value.is_floating_point() or not value.ndim:
            self._constants[name] = value
            return
        self._buffers[entry] = value  # no weight's entry has a dot in it
        self._non_persistent_buffers_set.add(entry)
        self._places[name] = (self, entry)

    @staticmethod
    def _check(known: Steps, weights: Mapping[str, ndarray]) -> None:
        absent = [name for name in known.weights if name not in weights]
        if absent:
            raise FormatError(f"the weights have no {absent[0]!r}, which the graph needs; it is damaged or not its own")


def _entry(place: nn.Module, name: str) -> Tensor:
    """What stands under a name now; a move to another device or a loaded state puts new tensors there."""
    found = place._parameters.get(name)  # noqa: SLF001 - see _Folder
    if found is None:
        found = place._buffers[name]  # type: ignore[assignment]  # noqa: SLF001 - see _Folder
    assert found is not None
    return found


def _every(known: Steps) -> Iterator[Step]:
    """All nodes, also those of the graphs within."""
    for step in known.nodes:
        yield step
        for value in step.attributes.values():
            if isinstance(value, Steps):
                yield from _every(value)


def _statistics(nodes: list[Step]) -> set[str]:
    """Weights that are running statistics, which training moves but no optimizer does."""
    return {
        name for step in nodes for place, name in enumerate(step.inputs) if (step.operator, place) in _STATISTICS
    }  # fmt: skip


def _counter(step: Step) -> str:
    """The name under which torch's BatchNorm counts its batches."""
    if step.operator != "BatchNormalization" or len(step.inputs) < 4:
        return ""
    return step.inputs[3].removesuffix("running_mean") + "num_batches_tracked"
