"""The operator ``RNN``: several layers in one, with all their parameters in a row.

Gluon keeps the parameters one by one and joins them in the graph, so that each keeps its name here; the older cells
keep the row itself, and it is cut in the graph. Gates stand below each other as ONNX wants them, in another order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engram.formats._mxnet.task import Draw, Drawn, Task

__all__ = ["TABLE"]

_MODES = {"lstm": ("LSTM", 4), "gru": ("GRU", 3), "rnn_relu": ("RNN", 1), "rnn_tanh": ("RNN", 1)}
_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
"""MXNet's gates are i f c o and r z n; ONNX's are i o f c and z r h."""
_MOST_LAYERS = 1_000


@dataclass(frozen=True, slots=True)
class _Stack:
    """What is the same for all layers of an operator."""

    mode: str
    operator: str
    gates: int
    units: int
    layers: int
    ways: int


def _stack(task: Task) -> _Stack:
    mode = task.word("mode", "", _MODES)
    if task.said("projection_size", None) is not None or task.truth("use_sequence_length"):
        raise task.refused("projects its state or is told how long each row is, which is not read")
    if task.said("lstm_state_clip_min", None) is not None or task.said("lstm_state_clip_max", None) is not None:
        raise task.refused("clips its state, which is not read")
    layers, units = task.whole("num_layers"), task.whole("state_size")
    if not 1 <= layers <= _MOST_LAYERS or units < 1:
        raise task.refused(f"has {layers} layers of {units} units")
    return _Stack(mode, *_MODES[mode], units, layers, 2 if task.truth("bidirectional") else 1)


def _parameters(task: Task, stack: _Stack) -> list[str]:
    """Weights of inputs and of states for each layer and way, then their biases in the same order."""
    row, sheet = task.weight(1), task.sheet
    count = 4 * stack.layers * stack.ways
    joined = task.drawing.joined.get(row)
    if joined is not None:
        if len(joined) != count:
            raise task.refused(f"has {len(joined)} parameters, but needs {count}")
        return joined
    width = sheet.shape(task.value())[2]
    if width is None:
        raise task.refused("takes a number of features that the file does not tell")
    rows = stack.gates * stack.units
    shapes: list[tuple[int, ...]] = []
    for layer in range(stack.layers):
        inputs = stack.ways * stack.units if layer else width
        shapes += [(rows, inputs), (rows, stack.units)] * stack.ways
    shapes += [(rows,)] * (count // 2)
    total = sum(math.prod(shape) for shape in shapes)
    if sheet.shape(row) != (total,):
        raise task.refused(f"has {sheet.shape(row)} parameters, but needs {total:,}")
    made, at = [], 0
    for shape in shapes:
        made.append(sheet.reshaped(sheet.cut(row, 0, at, at + math.prod(shape)), shape))
        at += math.prod(shape)
    return made


def _gates(task: Task, stack: _Stack, values: list[str]) -> str:
    """Parameters of both ways below each other, (ways, gates · units, …), the gates in ONNX's order."""
    sheet, order, made = task.sheet, _ORDER[stack.operator], []
    for value in values:
        turned = value
        if stack.gates > 1:
            parts = sheet.nodes("Split", value, outputs=stack.gates, axis=0, num_outputs=stack.gates)
            turned = sheet.node("Concat", *(parts[place] for place in order), axis=0)
        made.append(sheet.node("Unsqueeze", turned, sheet.constant([0], "int64")))
    return made[0] if len(made) == 1 else sheet.node("Concat", *made, axis=0)


def _biases(task: Task, stack: _Stack, values: list[str]) -> str:
    """(ways, 2 · gates · units)."""
    of_inputs, of_states = (_gates(task, stack, values[start::2]) for start in (0, 1))
    return task.sheet.node("Concat", of_inputs, of_states, axis=1)


def _begun(task: Task, stack: _Stack, place: int, layer: int) -> str:
    """The state that a layer begins with; empty where it is zeros whose batch was left to be found."""
    state = task.inputs[place] if place < len(task.inputs) else ""
    if not state or 0 in task.sheet.shape(state):
        return ""
    return task.sheet.cut(state, 0, layer * stack.ways, (layer + 1) * stack.ways)


def _recurrent(task: Task) -> Drawn:
    sheet, stack = task.sheet, _stack(task)
    parameters = _parameters(task, stack)
    weights, biases = parameters[: len(parameters) // 2], parameters[len(parameters) // 2 :]
    value, ends = task.value(), []
    for layer in range(stack.layers):
        own = slice(2 * layer * stack.ways, 2 * (layer + 1) * stack.ways)
        if layer and task.number("p", 0.0) > 0:
            value = sheet.node("Dropout", value, sheet.constant(np.float32(task.number("p", 0.0))))
        value, *states = _layer(task, stack, layer, value, (weights[own], biases[own]))
        ends.append(states)
    if not task.truth("state_outputs"):
        return value
    return value, *(sheet.node("Concat", *kind, axis=0) for kind in zip(*ends, strict=True))


def _layer(
    task: Task, stack: _Stack, layer: int, value: str, parameters: tuple[list[str], list[str]]
) -> tuple[str, ...]:
    """All steps (steps, batch, ways · units) of one layer, and its last states (ways, batch, units)."""
    sheet, (weights, biases) = task.sheet, parameters
    given = [value, *(_gates(task, stack, weights[start::2]) for start in (0, 1)), _biases(task, stack, biases), ""]
    given += [_begun(task, stack, place, layer) for place in ((2, 3) if stack.operator == "LSTM" else (2,))]
    more: dict[str, object] = {"direction": "bidirectional" if stack.ways > 1 else "forward"}
    if stack.operator == "GRU":
        more["linear_before_reset"] = 1
    if stack.operator == "RNN":
        more["activations"] = ["Relu" if stack.mode == "rnn_relu" else "Tanh"] * stack.ways
    count = 3 if stack.operator == "LSTM" else 2
    steps, *states = sheet.nodes(stack.operator, *given, outputs=count, hidden_size=stack.units, **more)
    if stack.ways == 1:
        return sheet.node("Squeeze", steps, sheet.constant([1], "int64")), *states
    beside = sheet.turned(steps, [0, 2, 1, 3])
    return sheet.reshaped(beside, [0, 0, stack.ways * stack.units]), *states


TABLE: Mapping[str, Draw] = {"RNN": _recurrent}
