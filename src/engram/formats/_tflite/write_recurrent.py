"""LSTM, GRU and RNN, written out step by step.

TFLite has an operator for a whole LSTM, but its state outlives the call, so that a second request is answered as if it
went on with the first, and its batch cannot be resized. A WHILE copies the whole sequence at each step. So the steps
are written out: the input's share is one product for all steps, and each step has a handful of operators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.lib.stride_tricks import as_strided

from engram.errors import ConversionError
from engram.formats._tflite.draft import Layout
from engram.formats._tflite.write_elementwise import Sum
from engram.formats._tflite.writing import Write, Writing
from engram.graphs.walk import Step

__all__ = ["TABLE"]

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
_KINDS = {"Sigmoid": "LOGISTIC", "Tanh": "TANH", "Relu": "RELU"}
_LONGEST = 4_000
"""Steps, all directions together, beyond which a file would be mostly operators."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One direction of a recurrent layer.

    Attributes:
        writing: what is written so far.
        node: the layer.
        units: length of its state.
        weights, recurrent: (gates × units, inputs) and (gates × units, units), gates in the order of ``order``.
        biases: of both products, (gates × units,).
        order: the place of each of ONNX's gates in them.
        activations: by name.
    """

    writing: Writing
    node: Step
    units: int
    weights: tuple[ndarray, str]
    recurrent: tuple[ndarray, str]
    biases: tuple[ndarray, ndarray]
    order: tuple[int, ...]
    activations: Sequence[str]

    def project(self, x: int) -> int:
        """The input's share of all gates at all steps."""
        return self._product(x, *self.weights, self.biases[0])

    def remember(self, state: int | None) -> int | None:
        """The state's share of all gates; None where the state is zero."""
        return None if state is None else self._product(state, *self.recurrent, self.biases[1])

    def _product(self, x: int, weights: ndarray, name: str, bias: ndarray) -> int:
        draft = self.writing.draft
        shape = (*draft.shape(x)[:-1], len(weights))
        tensors = [x, draft.constant(weights, name), draft.constant(bias, f"{name}/bias")]
        options: dict[str, Any] = {"fused_activation_function": 0, "keep_num_dims": len(shape) > 2}
        return draft.emit("FULLY_CONNECTED", tensors, shape, "float32", **options)

    def gates(self, tensor: int | None) -> list[int]:
        """The parts of a share, in ONNX's order; the bias alone where there is no share."""
        draft, count = self.writing.draft, len(self.order)
        if tensor is None:
            parts = [draft.constant(part) for part in self.biases[1].reshape(count, self.units)]
        elif count == 1:
            parts = [tensor]
        else:
            lead = draft.shape(tensor)[:-1]
            parts = [draft.tensor("gate", "float32", (*lead, self.units)) for _ in range(count)]
            where = draft.constant(np.array(len(lead), np.int32))
            draft.put("SPLIT", [where, tensor], parts, {"num_splits": count})
        return [parts[place] for place in self.order]

    def activate(self, at: Sum, place: int, x: int) -> int:
        """One of the layer's activations."""
        name = self.activations[place]
        if name == "HardSigmoid":
            line = at("ADD", at("MUL", x, 0.2), 0.5)
            return at("MINIMUM", at("MAXIMUM", line, 0.0), 1.0)
        return at(_KINDS[name], x)


State = tuple[int | None, int | None]


def _lstm(cell: Cell, at: Sum, share: int, state: State) -> State:
    hidden, memory = state
    known = cell.remember(hidden)
    if known is None:
        known = cell.writing.draft.constant(cell.biases[1])
    draft = cell.writing.draft
    total = draft.emit("ADD", [share, known], draft.shape(share), "float32", fused_activation_function=0)
    inside, out, forget, new = cell.gates(total)
    fresh = at("MUL", cell.activate(at, 0, inside), cell.activate(at, 1, new))
    if memory is not None:
        fresh = at("ADD", at("MUL", cell.activate(at, 0, forget), memory), fresh)
    return at("MUL", cell.activate(at, 0, out), cell.activate(at, 2, fresh)), fresh


def _gru(cell: Cell, at: Sum, share: int, state: State) -> State:
    hidden, _ = state
    update, reset, new = cell.gates(share)
    linear = bool(cell.node.attributes.get("linear_before_reset", 0))
    known = cell.gates(cell.remember(hidden))
    kept = cell.activate(at, 0, at("ADD", update, known[0]))
    let = cell.activate(at, 0, at("ADD", reset, known[1]))
    if linear:
        past = at("MUL", let, known[2])
    elif hidden is None:
        past = known[2]
    else:
        past = _reset_first(cell, at("MUL", let, hidden))
    fresh = cell.activate(at, 1, at("ADD", new, past))
    if hidden is None:
        return at("SUB", fresh, at("MUL", kept, fresh)), None
    return at("ADD", fresh, at("MUL", kept, at("SUB", hidden, fresh))), None


def _reset_first(cell: Cell, state: int) -> int:
    """The new gate's product with a state that was reset before."""
    place, units = cell.order[2], cell.units
    rows = slice(place * units, (place + 1) * units)
    draft, (recurrent, name) = cell.writing.draft, cell.recurrent
    tensors = [state, draft.constant(recurrent[rows], name), draft.constant(cell.biases[1][rows])]
    shape = draft.shape(state)
    return draft.emit("FULLY_CONNECTED", tensors, shape, "float32", fused_activation_function=0, keep_num_dims=False)


def _rnn(cell: Cell, at: Sum, share: int, state: State) -> State:
    (known,) = cell.gates(cell.remember(state[0]))
    return cell.activate(at, 0, at("ADD", share, known)), None


_STEPS = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}


def _recurrent(node: Step, writing: Writing) -> None:
    steps = writing.shape(node.inputs[0])[0]
    directions = writing.shape(node.inputs[1])[0]
    _check(node, writing, steps * directions)
    layout = writing.layout_for(node.inputs[:1], 3, lambda one: one[2] == 2)
    x = writing.get(node.inputs[0], layout)
    runs = [_run(node, writing, direction, (x, layout)) for direction in range(directions)]
    _answer(node, writing, runs, layout)


@dataclass(frozen=True, slots=True)
class Run:
    """What one direction made: the state after each step in order of time, and the last of both."""

    states: Sequence[int]
    last: State


def _run(node: Step, writing: Writing, direction: int, given: tuple[int, Layout]) -> Run:
    cell = _cell(node, writing, direction)
    x, layout = given
    draft, time = writing.draft, layout.index(0)
    shares = cell.project(x)
    shape = draft.shape(shares)
    count, flat = shape[time], tuple(size for axis, size in enumerate(shape) if axis != time)
    parts = [draft.tensor("step", "float32", flat) for _ in range(count)]
    draft.put("UNPACK", [shares], parts, {"num": count, "axis": time})
    at = Sum(writing, (*flat[:-1], cell.units))
    backward = node.attributes.get("direction", "forward") == "reverse" or direction == 1
    state: State = (
        _first(node, writing, 5, direction),
        _first(node, writing, 6, direction) if node.operator == "LSTM" else None,
    )
    states = []
    for part in reversed(parts) if backward else parts:
        state = _STEPS[node.operator](cell, at, part, state)
        assert state[0] is not None
        states.append(state[0])
    return Run(states[::-1] if backward else states, state)


def _answer(node: Step, writing: Writing, runs: Sequence[Run], layout: Layout) -> None:
    """Hand over what is asked for: all states, the last one, the last memory."""
    names = [*node.outputs, "", ""]
    draft = writing.draft
    if names[0]:
        time = layout.index(0)
        units = writing.shape(names[0])[-1]
        batch = draft.shape(runs[0].states[0])[0]
        shape = (len(runs[0].states), batch, units) if time == 0 else (batch, len(runs[0].states), units)
        whole = [_pack(writing, run.states, time, shape) for run in runs]
        made = _pack(writing, whole, 2, (*shape[:2], len(runs), units))
        writing.give(names[0], made, (0, 2, 1, 3) if time == 0 else (2, 0, 1, 3))
        layouts = next(iter(writing.values[names[0]].tensors))
        flipped = (0, 2, 1, 3) if time == 0 else (2, 0, 1, 3)
        assert layouts == flipped
    for place, which in ((1, 0), (2, 1)):
        if names[place]:
            lasts = [run.last[which] for run in runs]
            parts = [last for last in lasts if last is not None]
            shape_of = draft.shape(parts[0])
            made = _pack(writing, parts, 1, (shape_of[0], len(parts), shape_of[1]))
            writing.give(names[place], made, (1, 0, 2))


def _pack(writing: Writing, parts: Sequence[int], axis: int, shape: Sequence[int]) -> int:
    draft = writing.draft
    if len(parts) == 1:
        return draft.reshape(parts[0], shape)
    return draft.emit("PACK", parts, shape, "float32", values_count=len(parts), axis=axis)


def _first(node: Step, writing: Writing, place: int, direction: int) -> int | None:
    """The state before the first step, (batch, units); None where it is zero."""
    name = node.inputs[place] if place < len(node.inputs) else ""
    if not name:
        return None
    known = writing.facts.counted.get(name, (writing.facts.constants.get(name),))[0]
    if known is not None and not known.any():
        return None
    draft = writing.draft
    tensor, shape = writing.get(name), writing.shape(name)
    if shape[0] == 1:
        return draft.reshape(tensor, shape[1:])
    one = draft.constant(np.array(direction, np.int32))
    return draft.emit("GATHER", [tensor, one], shape[1:], "float32", axis=0, batch_dims=0)


def _check(node: Step, writing: Writing, steps: int) -> None:
    what = f"{node.operator} {node.name!r}"
    if steps > _LONGEST:
        raise ConversionError(
            f"{what} has {steps:,} steps, but at most {_LONGEST:,} are written out; shorten the input"
        )
    lengths = node.inputs[4] if len(node.inputs) > 4 else ""
    peephole = writing.option(node, 7, "the peepholes") if node.operator == "LSTM" else None
    if lengths or (peephole is not None and peephole.any()):
        raise ConversionError(f"{what} has lengths of its own or peepholes, which are not written")
    if node.attributes.get("clip") or node.attributes.get("input_forget") or node.attributes.get("layout"):
        raise ConversionError(f"{what} clips, couples its gates or has the batch first, which is not written")


def _cell(node: Step, writing: Writing, direction: int) -> Cell:
    gates = _GATES[node.operator]
    units = writing.shape(node.inputs[2])[2]
    slices = [(number * units, (number + 1) * units) for number in range(gates)]
    inputs = [_rows(writing, node.inputs[1], direction, *part) for part in slices]
    recurrent = [_rows(writing, node.inputs[2], direction, *part) for part in slices]
    order = _order(inputs)
    again = _order(recurrent)
    if order != again:
        order = tuple(range(gates))
    biases = [np.zeros(gates * units, np.float32)] * 2
    if len(node.inputs) > 3 and node.inputs[3]:
        size = gates * units
        parts = [
            [_rows(writing, node.inputs[3], direction, low + k * size, high + k * size) for low, high in slices]
            for k in (0, 1)
        ]
        biases = [_joined(part, order) for part in parts]
    found = node.attributes.get("activations") or _USUAL[node.operator] * 2
    per = len(_USUAL[node.operator])
    activations = list(found[direction * per : (direction + 1) * per])
    unknown = set(activations) - {*_KINDS, "HardSigmoid"}
    if unknown or node.attributes.get("activation_alpha"):
        raise ConversionError(f"{node.operator} {node.name!r} has the activations {activations}, which are not written")
    names = [_name(writing, part[0], node.inputs[place]) for part, place in ((inputs, 1), (recurrent, 2))]
    return Cell(
        writing,
        node,
        units,
        (_joined(inputs, order), names[0]),
        (_joined(recurrent, order), names[1]),
        (biases[0], biases[1]),
        order,
        activations,
    )


def _rows(writing: Writing, name: str, direction: int, start: int, stop: int) -> ndarray:
    """Some rows of one direction's weights, taken from where they come from, without a copy where that can be."""
    maker = writing.facts.makers.get(name)
    if maker is not None and maker.operator == "Unsqueeze" and writing.shape(name)[0] == 1:
        return _cut(writing, maker.inputs[0], start, stop)
    if maker is not None and maker.operator == "Concat" and len(maker.inputs) == writing.shape(name)[0] > 1:
        return _rows(writing, maker.inputs[direction], 0, start, stop)
    return writing.fixed(name, "a weight of a recurrent layer")[direction, start:stop]


def _cut(writing: Writing, name: str, start: int, stop: int) -> ndarray:
    maker = writing.facts.makers.get(name)
    if maker is not None and maker.operator == "Concat" and maker.attributes.get("axis") == 0:
        low = 0
        for part in maker.inputs:
            high = low + writing.shape(part)[0]
            if low <= start and stop <= high:
                return _cut(writing, part, start - low, stop - low)
            low = high
    return writing.fixed(name, "a weight of a recurrent layer")[start:stop]


def _order(parts: Sequence[ndarray]) -> tuple[int, ...]:
    """The place of each gate when they are sorted as they lie in memory."""
    places = [part.__array_interface__["data"][0] for part in parts]
    ranked = sorted(range(len(parts)), key=places.__getitem__)
    return tuple(ranked.index(number) for number in range(len(parts)))


def _joined(parts: Sequence[ndarray], order: Sequence[int]) -> ndarray:
    """The gates one after the other in an order; a view where they lie so in memory."""
    ranked = [parts[order.index(place)] for place in range(len(parts))]
    first = ranked[0]
    step = len(first) * first.strides[0]
    start = first.__array_interface__["data"][0]
    lies = all(
        part.strides == first.strides and part.__array_interface__["data"][0] == start + number * step
        for number, part in enumerate(ranked)
    )
    same = len({id(_owner(part)) for part in ranked}) == 1
    if lies and same:
        return as_strided(first, (len(parts) * len(first), *first.shape[1:]), first.strides, writeable=False)
    return np.concatenate(ranked)


def _owner(array: ndarray) -> object:
    """The array whose memory a view looks into."""
    while isinstance(array.base, ndarray):
        array = array.base
    return array


def _name(writing: Writing, part: ndarray, name: str) -> str:
    """The weight a part lies in, else the value's own name."""
    owner = _owner(part)
    for weight, array in writing.facts.weights.items():
        if _owner(array) is owner:
            return weight
    return name


TABLE: Mapping[str, Write] = dict.fromkeys(_GATES, _recurrent)
