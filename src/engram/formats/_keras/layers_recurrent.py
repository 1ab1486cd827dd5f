"""Recurrent layers, as ONNX's own recurrent operators.

Keras keeps the gates side by side in one matrix, (inputs, gates · units), in the order i f c o; ONNX wants them below
each other as i o f c, so the matrix is cut, joined and turned in the graph and stays as it is in the weights. Sequences
run with the time first in ONNX.

A mask may hide any step. Steps that count are moved to the front, the operator is told how many there are, and its
answers are moved back; a hidden step repeats the answer before it, as in Keras, or is 0 where Keras would make it so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from engram.formats._keras.activations import called, recurrent
from engram.formats._keras.config import Layer, layer
from engram.formats._keras.kind import Drawn, Kind, Task, Variable

__all__ = ["KINDS"]

_GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}
_OPERATORS = {"LSTM": "LSTM", "GRU": "GRU", "SimpleRNN": "RNN"}
_STATES = {"LSTM": 2, "GRU": 1, "SimpleRNN": 1}
_CELLS = {"LSTM": "lstm_cell", "GRU": "gru_cell", "SimpleRNN": "simple_rnn_cell"}
_BACK = -(2**63)


@dataclass(frozen=True, slots=True)
class _Cell:
    """One step of a recurrence: its kind, settings, and the values of its arrays."""

    kind: str
    settings: Mapping[str, Any]
    kernel: str
    recurrent: str
    bias: str


@dataclass(frozen=True, slots=True)
class _Run:
    """What goes through a cell, and how.

    Attributes:
        value: (batch, steps, numbers).
        states: where it begins; empty for zeros.
        mask: which steps count; empty for all.
        backwards: from the last step to the first.
        zeros: hidden steps answer 0 instead of repeating.
    """

    value: str
    states: tuple[str, ...] = ()
    mask: str = ""
    backwards: bool = False
    zeros: bool = False


def _cell_variables(start: str, name: str, settings: Mapping[str, Any]) -> tuple[Variable, ...]:
    keys = ("kernel", "recurrent_kernel", *(("bias",) if settings.get("use_bias", True) else ()))
    return tuple(Variable(f"{start}{key}", f"{start}cell/vars/{at}", f"{name}/{key}") for at, key in enumerate(keys))


def _plain_kind(kind: str) -> Kind:
    def draw(task: Task) -> Drawn:
        cell = _Cell(
            kind, task.settings, *(task.weights.get(key, "") for key in ("kernel", "recurrent_kernel", "bias"))
        )
        zeros = task.truth("zero_output_for_mask")
        return _answered(task, *_run(task, cell, _asked(task, task.truth("go_backwards"), zeros=zeros)))

    return Kind(draw, lambda settings: _cell_variables("", _CELLS[kind], settings), masks="own")


def _asked(task: Task, backwards: bool, *, zeros: bool) -> _Run:
    if task.truth("stateful"):
        raise task.refused("keeps its state between calls (stateful), which a graph does not")
    if task.truth("time_major"):
        raise task.refused("takes the time first (time_major), which is not read")
    given = task.named.get("initial_state")
    if given is None and task.arguments and isinstance(task.arguments[0], list) and len(task.arguments[0]) > 1:
        value, *given = task.arguments[0]
    else:
        value = task.value
    states = [given] if isinstance(given, str) else list(given or [])
    mask = task.named.get("mask")
    # Keras 3 hands a mask on to layers that are called with one tensor alone; states are others
    alone = task.version < 3 or not isinstance(task.arguments[0] if task.arguments else value, str) or not states
    mask = mask if isinstance(mask, str) else task.sheet.masks.get(value, "") if alone else ""
    return _Run(value, tuple(states), mask, backwards, zeros)


def _answered(task: Task, sequence: str, states: tuple[str, ...], mask: str = "") -> Drawn:
    """What the layer is asked to return: all steps or the last, and the states."""
    made = sequence if task.truth("return_sequences") else states[0]
    if mask and task.truth("return_sequences"):
        task.sheet.masks[made] = mask
    return (made, *states) if task.truth("return_state") else made


def _run(task: Task, cell: _Cell, asked: _Run, *, aligned: bool = False) -> tuple[str, tuple[str, ...], str]:
    """All steps (batch, steps, units) in the order in which they were computed, the last states, and the mask.

    Args:
        task: for its sheet.
        cell: what is computed.
        asked: on what.
        aligned: give the steps in the order of the input, even if they were computed backwards.
    """
    sheet, value, mask = task.sheet, asked.value, asked.mask
    turned = bool(asked.backwards and mask)
    if turned:
        value, mask = (_flipped(task, one) for one in (value, mask))
    lengths, counted = "", ""
    if mask:
        value, lengths, counted = _gathered(task, value, mask)
    sequence, states = _operator(task, cell, asked, value, lengths)
    if mask:
        sequence = _spread(task, sequence, counted, mask if asked.zeros else "")
    if asked.backwards and turned == aligned:
        sequence = _flipped(task, sequence)
    told = asked.mask if aligned or not asked.backwards else mask
    return sequence, tuple(sheet.node("Squeeze", one, sheet.constant([0], "int64")) for one in states), told


def _flipped(task: Task, value: str) -> str:
    return task.sheet.cut(value, 1, -1, _BACK, -1)


def _operator(task: Task, cell: _Cell, asked: _Run, value: str, lengths: str) -> tuple[str, tuple[str, ...]]:
    sheet = task.sheet
    units = sheet.shape(cell.recurrent)[0]
    backwards = asked.backwards and not asked.mask
    weights = [_gates(task, cell, one) for one in (cell.kernel, cell.recurrent)]
    names, alphas, betas = zip(
        *(recurrent(name, task.part.where, task.version) for name in _names(task, cell)), strict=True
    )
    more: dict[str, Any] = {
        "hidden_size": units,
        "direction": "reverse" if backwards else "forward",
        "activations": list(names),
    }
    if any(alphas) or any(betas):
        more |= {"activation_alpha": list(alphas), "activation_beta": list(betas)}
    if cell.kind == "GRU":
        more["linear_before_reset"] = int(bool(cell.settings.get("reset_after", task.version > 1)))
    first = sheet.constant([0], "int64")
    states = [sheet.node("Unsqueeze", one, first) for one in asked.states]
    inputs = [sheet.turned(value, [1, 0, 2]), *weights, _bias(task, cell), lengths, *states]
    found = sheet.nodes(_OPERATORS[cell.kind], *inputs, outputs=1 + _STATES[cell.kind], **more)
    steps = sheet.node("Squeeze", found[0], sheet.constant([1], "int64"))
    return sheet.turned(steps, [1, 0, 2]), found[1:]


def _names(task: Task, cell: _Cell) -> list[str]:
    """Activations in ONNX's order: gates, candidate and, for an LSTM, output."""
    own = called(cell.settings.get("activation", "tanh"), task.part.where)
    if cell.kind == "SimpleRNN":
        return [own]
    gate = called(cell.settings.get("recurrent_activation", "sigmoid"), task.part.where)
    return [gate, own, own] if cell.kind == "LSTM" else [gate, own]


def _gates(task: Task, cell: _Cell, kernel: str) -> str:
    """(numbers, gates · units) as (1, gates · units, numbers), the gates in ONNX's order."""
    sheet = task.sheet
    if cell.kind == "LSTM":
        kernel = _reordered(task, kernel, 1)
    return sheet.node("Unsqueeze", sheet.turned(kernel, [1, 0]), sheet.constant([0], "int64"))


def _reordered(task: Task, value: str, axis: int) -> str:
    i, f, c, o = task.sheet.nodes("Split", value, outputs=4, axis=axis, num_outputs=4)
    return task.sheet.node("Concat", i, o, f, c, axis=axis)


def _bias(task: Task, cell: _Cell) -> str:
    """The bias of the inputs and behind it that of the states, (1, 2 · gates · units); empty for none."""
    sheet = task.sheet
    if not cell.bias:
        return ""
    if sheet.rank(cell.bias) == 2:
        return sheet.reshaped(cell.bias, [1, -1])
    bias = _reordered(task, cell.bias, 0) if cell.kind == "LSTM" else cell.bias
    none = sheet.constant(np.zeros(sheet.shape(bias)), sheet.dtype(bias))
    return sheet.reshaped(sheet.node("Concat", bias, none, axis=0), [1, -1])


def _gathered(task: Task, value: str, mask: str) -> tuple[str, str, str]:
    """Steps that count at the front, how many there are a row, and how many there were up to each step."""
    sheet = task.sheet
    counted = sheet.node("CumSum", sheet.cast(sheet.cast(mask, "bool"), "int32"), sheet.constant(1, "int64"))
    lengths = sheet.node("Squeeze", sheet.cut(counted, 1, -1, 2**62), sheet.constant([1], "int64"))
    ones = sheet.node("Add", sheet.node("Mul", counted, sheet.like(0, counted)), sheet.like(1, counted))
    steps = sheet.node("CumSum", ones, sheet.constant(1, "int64"))
    far = sheet.node("Add", steps, sheet.like(2**30, steps))
    keys = sheet.node("Where", sheet.cast(mask, "bool"), steps, far)
    many = sheet.node("Shape", keys, start=1, end=2)
    _, order = sheet.nodes("TopK", sheet.cast(keys, "int64"), many, outputs=2, axis=1, largest=0)
    at = sheet.node("Unsqueeze", order, sheet.constant([2], "int64"))
    return sheet.node("GatherND", value, at, batch_dims=1), lengths, counted


def _spread(task: Task, sequence: str, counted: str, zeros: str) -> str:
    """Answers back at their steps; before the first that counts there is 0."""
    sheet = task.sheet
    pads = sheet.constant([0, 1, 0, 0, 0, 0], "int64")
    wide = sheet.node("Pad", sequence, pads, sheet.like(0.0, sequence))
    at = sheet.node("Unsqueeze", sheet.cast(counted, "int64"), sheet.constant([2], "int64"))
    made = sheet.node("GatherND", wide, at, batch_dims=1)
    if not zeros:
        return made
    shown = sheet.node("Unsqueeze", sheet.cast(zeros, "bool"), sheet.constant([2], "int64"))
    return sheet.node("Where", shown, made, sheet.like(0.0, made))


def _cells(settings: Mapping[str, Any], where: str) -> list[tuple[str, Layer]]:
    """The cells of an RNN, each with where Keras keeps it."""
    cell = layer(settings.get("cell"), where)
    if cell.kind != "StackedRNNCells":
        return [("cell", cell)]
    found, used = [], dict[str, int]()
    for one in cell.settings.get("cells", []):
        inner = layer(one, where)
        kind = {"LSTMCell": "lstm_cell", "GRUCell": "gru_cell", "SimpleRNNCell": "simple_rnn_cell"}.get(inner.kind, "")
        used[kind] = used.get(kind, -1) + 1
        found.append((f"cell/cells/{kind}{f'_{used[kind]}' if used[kind] else ''}", inner))
    return found


def _general_variables(settings: Mapping[str, Any]) -> tuple[Variable, ...]:
    made: list[Variable] = []
    stacked = settings.get("cell", {}).get("class_name") == "StackedRNNCells" if settings.get("cell") else False
    for place, cell in _cells(settings, "the cell of an RNN"):
        keys = ("kernel", "recurrent_kernel", *(("bias",) if cell.settings.get("use_bias", True) else ()))
        start = "stacked_rnn_cells/" if stacked else ""
        name = f"{start}{cell.name}"
        made += [Variable(f"{place}/{key}", f"{place}/vars/{at}", f"{name}/{key}") for at, key in enumerate(keys)]
    return tuple(made)


def _general(task: Task) -> Drawn:
    """An RNN around cells, each of which runs over all steps of the one before."""
    asked = _asked(task, task.truth("go_backwards"), zeros=task.truth("zero_output_for_mask"))
    cells = _cells(task.settings, task.part.where)
    if len(cells) > 1 and (asked.states or asked.mask or asked.backwards or task.truth("return_state")):
        raise task.refused("has several cells with states, a mask or steps backwards, which is not read")
    sequence, states, mask = asked.value, tuple[str, ...](), ""
    for place, cell in cells:
        kind = cell.kind.removesuffix("Cell")
        if kind not in _GATES:
            raise task.refused(f"has a cell of the class {cell.kind}, which is not Keras' own")
        keys = [task.weights.get(f"{place}/{key}", "") for key in ("kernel", "recurrent_kernel", "bias")]
        one = _Run(sequence, asked.states, asked.mask, asked.backwards, asked.zeros)
        sequence, states, mask = _run(task, _Cell(kind, cell.settings, *keys), one)
    return _answered(task, sequence, states, mask)


def _both(settings: Mapping[str, Any]) -> tuple[tuple[str, Layer], tuple[str, Layer]]:
    """The layers that run forward and backward; Keras makes the second from the first where none is given."""
    forward = layer(settings.get("layer"), "the layer of a Bidirectional")
    plain = forward.name.removeprefix("forward_")
    given = settings.get("backward_layer")
    if given is None:
        turned = {**forward.settings, "go_backwards": not forward.settings.get("go_backwards", False)}
        backward = Layer(forward.kind, f"backward_{plain}", turned)
    else:
        backward = layer(given, "the backward layer of a Bidirectional")
    return ("forward_layer", Layer(forward.kind, f"forward_{plain}", forward.settings)), ("backward_layer", backward)


def _both_variables(settings: Mapping[str, Any]) -> tuple[Variable, ...]:
    made: list[Variable] = []
    for place, one in _both(settings):
        if one.kind not in _CELLS:
            continue
        keys = ("kernel", "recurrent_kernel", *(("bias",) if one.settings.get("use_bias", True) else ()))
        name = f"{one.name}/{_CELLS[one.kind]}"
        made += [Variable(f"{place}/{key}", f"{place}/cell/vars/{at}", f"{name}/{key}") for at, key in enumerate(keys)]
    return tuple(made)


def _bidirectional(task: Task) -> Drawn:
    sheet, found = task.sheet, []
    sequences = states_wanted = False
    for number, (place, one) in enumerate(_both(task.settings)):
        if one.kind not in _GATES:
            raise task.refused(f"runs a {one.kind} in both directions, which is not read")
        sequences, states_wanted = (bool(one.settings.get(k)) for k in ("return_sequences", "return_state"))
        plain = _asked(task, bool(one.settings.get("go_backwards")), zeros=sequences)
        half = len(plain.states) // 2
        states = plain.states[half:] if number else plain.states[:half]
        asked = _Run(plain.value, states, plain.mask, plain.backwards, plain.zeros)
        keys = [task.weights.get(f"{place}/{key}", "") for key in ("kernel", "recurrent_kernel", "bias")]
        found.append(_run(task, _Cell(one.kind, one.settings, *keys), asked, aligned=True))
    first, second = ((one[0] if sequences else one[1][0]) for one in found)
    made = _merged(task, first, second)
    if sequences and found[0][2]:
        for name in (made,) if isinstance(made, str) else made:
            sheet.masks[name] = found[0][2]
    ends = (*found[0][1], *found[1][1]) if states_wanted else ()
    return (*((made,) if isinstance(made, str) else made), *ends) if ends else made


def _merged(task: Task, first: str, second: str) -> Drawn:
    sheet, mode = task.sheet, task.settings.get("merge_mode", "concat")
    if mode is None:
        return first, second
    if mode == "concat":
        return sheet.node("Concat", first, second, axis=-1)
    if mode == "mul":
        return sheet.node("Mul", first, second)
    if mode not in {"sum", "ave"}:
        raise task.refused(f"has merge_mode = {mode!r}")
    total = sheet.node("Add", first, second)
    return sheet.node("Mul", total, sheet.like(0.5, total)) if mode == "ave" else total


def _inner(one: Layer) -> dict[str, Layer]:
    return {"layer": layer(one.settings.get("layer"), f"the layer inside {one.name!r}")}


_ANY_RANK = frozenset({"Activation", "Dense", "Dropout", "ELU", "Identity", "LeakyReLU", "ReLU"})
"""Layers that do the same for every step by themselves."""


def _each_step(task: Task) -> Drawn:
    """Steps become rows, go through the layer, and become steps again."""
    sheet, value = task.sheet, task.value
    inner = task.part.children["layer"].layer
    if inner.kind in _ANY_RANK:
        return task.draw("layer", value)
    steps, *rest = sheet.shape(value)[1:]
    if steps is None or None in rest:
        raise task.refused("goes over steps whose number or shape is not known")
    made = task.draw("layer", sheet.reshaped(value, [-1, *(length or 0 for length in rest)]))
    if not isinstance(made, str) or None in sheet.shape(made)[1:]:
        raise task.refused(f"goes over steps with a {inner.kind}, whose answer is of no known shape")
    return sheet.reshaped(made, [-1, steps, *(length or 0 for length in sheet.shape(made)[1:])])


KINDS: Mapping[str, Kind] = {
    "Bidirectional": Kind(_bidirectional, _both_variables, masks="own"),
    **{kind: _plain_kind(kind) for kind in _GATES},
    "RNN": Kind(_general, _general_variables, masks="own"),
    "TimeDistributed": Kind(_each_step, children=_inner),
}
