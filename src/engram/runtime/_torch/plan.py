"""A graph as a list of calls with places for values instead of names.

Everything that can be settled when a module is made is settled here: which function computes a node, what its
attributes and small constants say, where its inputs lie, and which values nobody reads any more. A graph within a
node (the branch of an If, the body of a Loop) becomes a plan of its own, whose names from outside are further inputs of
the node.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from numpy import ndarray

from engram.errors import ConversionError, EngramError, FormatError, ShapeError
from engram.graphs.walk import Step, Steps
from engram.runtime._torch.call import Call, Operator, Planned, Value
from engram.runtime._torch.meter import Meter

__all__ = ["Body", "Controlled", "Plan", "State", "planned"]

_SMALL = 4096
"""Numbers of a constant that are also kept as Python's own, for shapes and axes."""
_DEEPEST = 64
"""Graphs within graphs; Python itself stops at some hundred."""


@dataclass(frozen=True, slots=True)
class State:
    """How a plan is run.

    Attributes:
        training: whether BatchNormalization and Dropout act as in training.
        meter: counts and bounds what is taken; None where the graph is trusted.
    """

    training: bool = False
    meter: Meter | None = None


@dataclass(frozen=True, slots=True)
class Controlled:
    """An operator that runs graphs within its node: called with a ``Call``, the ``State`` and the inputs."""

    operator: Callable[..., Value]


@dataclass(frozen=True, slots=True)
class _Instruction:
    """One node.

    Attributes:
        serving, training: the function for either mode, called with the inputs.
        call: for messages.
        reads: places of its inputs; 0 holds None, -1 the state of the run.
        writes: places of its outputs; -2 for one that nobody reads.
        frees: places that are not read after it.
    """

    serving: Callable[..., Value]
    training: Callable[..., Value]
    call: Call
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    frees: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """A graph that can be run.

    Attributes:
        given: names of the values that are put in, the first at place 1: inputs, then weights, constants, or what is
            captured from outside.
        outputs: places of the answers.
        places: how many there are.
    """

    given: tuple[str, ...]
    outputs: tuple[int, ...]
    places: int
    _instructions: tuple[_Instruction, ...] = ()

    def run(self, given: Sequence[Value], state: State) -> list[Value]:
        """Every output, from the given values in order.

        An error carries a note that names the node.
        """
        values: list[Value] = [None] * self.places
        values[1 : len(given) + 1] = given
        values[-1] = state
        alive = state.meter.alive if state.meter is not None else 0
        instruction = None
        try:
            for instruction in self._instructions:
                function = instruction.training if state.training else instruction.serving
                if state.meter is not None:
                    state.meter.before(instruction.call, [values[place] for place in instruction.reads])
                made = function(*[values[place] for place in instruction.reads])
                if isinstance(made, tuple):
                    for place, value in zip(instruction.writes, made, strict=False):
                        values[place] = value
                else:
                    values[instruction.writes[0]] = made
                if state.meter is not None:
                    state.meter.after(instruction.call, instruction.writes, instruction.frees, values)
                for place in instruction.frees:
                    values[place] = None
        except Exception as refused:
            if instruction is not None and not isinstance(refused, EngramError):
                refused.add_note(f"in node {instruction.call.step.title!r} ({instruction.call.step.operator})")
            raise
        if state.meter is not None:
            state.meter.alive = alive  # whoever gets the answers counts them
        return [values[place] for place in self.outputs]

    def __deepcopy__(self, memo: dict[int, Any]) -> Plan:
        return self  # it holds no numbers that training moves


@dataclass(frozen=True, slots=True)
class Body:
    """A graph within a node.

    Attributes:
        plan: its inputs are given first, then what it captures.
        inputs: how many it has.
        picks: where what it captures lies among all that the node captures.
    """

    plan: Plan
    inputs: int
    picks: tuple[int, ...] = ()

    def run(self, inputs: Sequence[Value], captured: Sequence[Value], state: State) -> list[Value]:
        """Its outputs.

        Raises:
            ShapeError: it takes another number of inputs.
        """
        if len(inputs) != self.inputs:
            raise ShapeError(f"a graph within the graph takes {self.inputs} inputs, but gets {len(inputs)}")
        return self.plan.run([*inputs, *(captured[place] for place in self.picks)], state)


def planned(
    known: Steps, given: Sequence[str], operators: Mapping[str, Operator | Planned | Controlled]
) -> tuple[Plan, dict[str, ndarray]]:
    """The plan of a whole graph, and the constants of the graphs within it.

    Args:
        known: the graph.
        given: names that are put in when it runs, beside its constants; inputs first.
        operators: by name; a name with a domain is ``domain.Name``.

    Returns:
        The plan, whose ``given`` are those names, the constants of the graph, and those of the graphs within it under
        names of their own, which are returned, too.

    Raises:
        ConversionError: an operator is not there.
        FormatError: the graph reads a value that nobody makes, or an attribute is missing or wrong.
    """
    lifted: dict[str, ndarray] = {}
    builder = _Builder(operators, lifted, known.constants)
    plan = builder.build(known, [*given, *known.constants], 0)
    absent = [name for name in builder.captured if name not in lifted]
    if absent:
        raise FormatError(f"the graph reads {absent[0]!r}, which no node makes; it is damaged")
    return plan, lifted


@dataclass(slots=True)
class _Builder:
    """One graph on its way to a plan."""

    operators: Mapping[str, Operator | Planned | Controlled]
    lifted: dict[str, ndarray]
    known: Mapping[str, ndarray]
    captured: dict[str, int] = field(default_factory=dict)
    own: dict[str, str] = field(default_factory=dict)
    _places: dict[str, int] = field(default_factory=dict)

    def build(self, graph: Steps, given: Sequence[str], depth: int) -> Plan:
        if depth > _DEEPEST:
            raise FormatError(f"graphs are nested more than {_DEEPEST} deep; flatten the model")
        made = {name for step in graph.nodes for name in step.outputs if name}
        self._places = {name: place for place, name in enumerate(given, 1)}
        self.captured = {}
        bodies = [self._bodies(step, depth) for step in graph.nodes]
        # what is captured from outside is put in behind what is given, so it needs its places before nodes get theirs
        for step, (_, captures) in zip(graph.nodes, bodies, strict=True):
            self._capture([*step.inputs, *captures], made)
        self._capture(graph.outputs, made)
        given = (*given, *self.captured)
        instructions = [self._instruction(step, *found) for step, found in zip(graph.nodes, bodies, strict=True)]
        outputs = tuple(self._place(name) for name in graph.outputs)
        plan = Plan(tuple(given), outputs, len(self._places) + 3)
        return replace(plan, _instructions=_freeing(instructions, outputs, len(given)))

    def _capture(self, names: Sequence[str], made: set[str]) -> None:
        for name in names:
            wanted = self.own.get(name, name)
            if wanted and wanted not in self._places and wanted not in made:
                self.captured[wanted] = self._places[wanted] = len(self._places) + 1

    def _place(self, name: str) -> int:
        wanted = self.own.get(name, name)
        if wanted and wanted not in self._places:
            raise FormatError(f"the graph reads {name!r} before a node makes it; it is damaged")
        return self._places[wanted] if wanted else 0

    def _instruction(self, step: Step, bodies: dict[str, Body], captures: tuple[str, ...]) -> _Instruction:
        reads = tuple(self._place(name) for name in (*step.inputs, *captures))
        for name in step.outputs:
            if name:
                self._places.setdefault(name, len(self._places) + 1)
        writes = tuple(self._places[name] if name else -2 for name in step.outputs) or (-2,)
        numbers = tuple(_numbers(self._constant(name)) for name in step.inputs)
        call = Call(step, numbers, bodies=bodies)
        trained = replace(call, training=True)
        operator = self._operator(step)
        serving, training = (_function(operator, one) for one in (call, trained))
        return _Instruction(
            serving, training, call, (-1, *reads) if isinstance(operator, Controlled) else reads, writes
        )

    def _constant(self, name: str) -> ndarray | None:
        wanted = self.own.get(name, name)
        return self.lifted.get(wanted, self.known.get(wanted))

    def _operator(self, step: Step) -> Operator | Planned | Controlled:
        kind = f"{step.domain}.{step.operator}" if step.domain else step.operator
        if kind not in self.operators:
            raise ConversionError(f"node {step.title!r} is a {kind}, which does not run in torch; use onnxruntime")
        return self.operators[kind]

    def _bodies(self, step: Step, depth: int) -> tuple[dict[str, Body], tuple[str, ...]]:
        """The plans of the graphs within a node, and the names they capture."""
        built: dict[str, tuple[Plan, int, tuple[str, ...]]] = {}
        for name, graph in _graphs(step):
            own = {constant: f"{len(self.lifted)}/{constant}" for constant in graph.constants}
            self.lifted.update((own[constant], array) for constant, array in graph.constants.items())
            outer = {name: alias for name, alias in self.own.items() if name not in graph.inputs}
            inner = _Builder(self.operators, self.lifted, self.known, own={**outer, **own})
            plan = inner.build(graph, graph.inputs, depth + 1)
            built[name] = (plan, len(graph.inputs), tuple(inner.captured))
        captures = tuple(dict.fromkeys(name for _, _, names in built.values() for name in names))
        bodies = {
            name: Body(plan, inputs, tuple(captures.index(one) for one in names))
            for name, (plan, inputs, names) in built.items()
        }
        return bodies, captures


def _graphs(step: Step) -> Iterator[tuple[str, Steps]]:
    for name, value in step.attributes.items():
        if isinstance(value, Steps):
            yield name, value


def _function(operator: Operator | Planned | Controlled, call: Call) -> Callable[..., Value]:
    if isinstance(operator, Controlled):
        return functools.partial(operator.operator, call)
    if not isinstance(operator, Planned):
        return functools.partial(operator, call)
    try:
        return operator.plan(call)
    except EngramError:
        raise
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as refused:
        reason = str(refused).strip().split("\n", maxsplit=1)[0]
        raise FormatError(
            f"node {call.step.title!r} ({call.step.operator}) is not valid ONNX: {reason or type(refused).__name__}"
        ) from refused


def _numbers(array: ndarray | None) -> object:
    """A small constant as a flat list, or as a number where it has no axes."""
    if array is None or array.size > _SMALL or array.dtype == object:
        return None
    return array.reshape(-1).tolist() if array.ndim else array.item()


def _freeing(instructions: list[_Instruction], outputs: tuple[int, ...], given: int) -> tuple[_Instruction, ...]:
    """The instructions, each with what may be let go after it, so that memory is given back early."""
    last: dict[int, int] = {}
    for number, one in enumerate(instructions):
        last.update((place, number) for place in (*one.reads, *one.writes) if place > given and place not in outputs)
    frees: dict[int, list[int]] = {}
    for place, number in last.items():
        frees.setdefault(number, []).append(place)
    return tuple(replace(one, frees=tuple(frees.get(number, ()))) for number, one in enumerate(instructions))
