"""ONNX's recurrent nodes as Keras' recurrent layers, one for each direction.

ONNX runs time first and answers with all directions in one tensor; Keras runs the batch first and has a layer for each.
A bias of ONNX has two halves that are only ever added up, for inputs and for states. Keras' GRU keeps both, its LSTM
keeps the sum; so two learned halves become one array, and the halves themselves are kept beside the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engram.formats._keras.learned import Array
from engram.formats._keras.lowering import Lowering
from engram.formats._keras.said_layers import Said, called
from engram.formats._keras.words import Tensor
from engram.graphs.walk import Step

__all__ = ["RECURRENCES"]

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_CELLS = {"LSTM": ("LSTM", "lstm_cell"), "GRU": ("GRU", "gru_cell"), "RNN": ("SimpleRNN", "simple_rnn_cell")}
_NAMES = {"Sigmoid": "sigmoid", "Tanh": "tanh", "Relu": "relu", "Softsign": "softsign", "Softplus": "softplus"}


def _said(low: Lowering, step: Step) -> None:
    said = dict(step.attributes)
    inputs = [*step.inputs, *[""] * (8 - len(step.inputs))]
    directions = 2 if said.get("direction", "forward") == "bidirectional" else 1
    if said.get("layout", 0) or said.get("clip") or said.get("input_forget") or inputs[4] or inputs[7]:
        raise low.refused(step, "has lengths, peepholes, a clip or the batch first, which Keras' layer has not")
    steps = low.words.operation("Transpose", [low.first(inputs[0])], {"axes": [1, 0, 2]})
    shape = low.shape(inputs[0])
    value = Tensor(steps, 0, (shape[1], shape[0], shape[2]), low.dtype(inputs[0]))
    ends = [_one(low, step, inputs, value, number) for number in range(directions)]
    _answered(low, step, ends)


def _one(low: Lowering, step: Step, inputs: list[str], value: Tensor, number: int) -> tuple[Tensor, list[Tensor]]:
    """One direction: all steps in the order of the input, (batch, steps, units), and the last states."""
    kind, said = step.operator, dict(step.attributes)
    layer, cell = _CELLS[kind]
    units = int(said["hidden_size"])
    backwards = said.get("direction", "forward") == "reverse" or number == 1
    kernel, recurrent = (low.array(name, step).part(number).turned(1, 0) for name in inputs[1:3])
    arrays = {"kernel": kernel, "recurrent_kernel": recurrent}
    if inputs[3]:
        arrays["bias"] = _bias(step, low.array(inputs[3], step).part(number), units)
    if kind == "LSTM":
        arrays = {key: _reordered(array, units) for key, array in arrays.items()}
    settings: dict[str, Any] = {
        "units": units, "use_bias": "bias" in arrays, "return_sequences": True, "return_state": True,
        "go_backwards": backwards, "stateful": False, "unroll": False, **_activations(low, step, number),
    }  # fmt: skip
    if kind == "GRU":
        settings["reset_after"] = bool(said.get("linear_before_reset", 0))
    named = _states(low, step, inputs, number)
    name = called(low, inputs[1], layer) + ("_reverse" if number else "")
    made = low.words.layer(
        layer, settings, [value], name=name, named=named, arrays={f"{cell}/{key}": a for key, a in arrays.items()}
    )
    steps = Tensor(made, 0, (value.shape[0], value.shape[1], units), value.dtype)
    if backwards:
        steps = Tensor(low.words.operation("Flip", [steps], {"axis": 1}), 0, steps.shape, steps.dtype)
    many = 2 if kind == "LSTM" else 1
    return steps, [Tensor(made, 1 + place, (value.shape[0], units), value.dtype) for place in range(many)]


def _states(low: Lowering, step: Step, inputs: list[str], number: int) -> dict[str, Any]:
    """Where a direction begins; nothing for zeros."""
    found = [name for name in inputs[5:7] if name]
    if all(name in low.known and not low.known[name].any() for name in found):
        return {}
    if any(low.is_static(name) for name in found) or len(found) != (2 if step.operator == "LSTM" else 1):
        raise low.refused(step, "begins with states that were learned, which Keras' layer does not")
    states = []
    for name in found:
        shape = low.shape(name)[1:]
        picked = low.words.operation("Take", [low.first(name), number], {"axis": 0})
        states.append(Tensor(picked, 0, shape, low.dtype(name)))
    return {"initial_state": states}


def _bias(step: Step, both: Array, units: int) -> Array:
    size = _GATES[step.operator] * units
    one, other = both.part(slice(0, size)), both.part(slice(size, None))
    if step.operator == "GRU" and step.attributes.get("linear_before_reset", 0):
        return one.reshaped(1, size).joined([other.reshaped(1, size)], 0)
    if not other.learned and not other.values.any():
        return one
    if not one.learned and not one.values.any():
        return other
    return one.plus(other)


def _reordered(array: Array, units: int) -> Array:
    """Gates from ONNX's i o f c to Keras' i f c o, along the last axis."""
    i, o, f, c = (array.part((..., slice(gate * units, (gate + 1) * units))) for gate in range(4))
    return i.joined([f, c, o], -1)


def _activations(low: Lowering, step: Step, number: int) -> dict[str, str]:
    usual = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}[step.operator]
    found = list(step.attributes.get("activations", [])) or usual * 2
    names = found[number * len(usual) : (number + 1) * len(usual)]
    for name in names:
        slope = step.attributes.get("activation_alpha", [])
        if name not in _NAMES and not (name == "HardSigmoid" and slope and abs(slope[0] - 1 / 6) < 1e-6):
            raise low.refused(step, f"has the activation {name}, which Keras' layer has not")
    words = [_NAMES.get(name, "hard_sigmoid") for name in names]
    if step.operator == "RNN":
        return {"activation": words[0]}
    if step.operator == "LSTM" and words[1] != words[2]:
        raise low.refused(step, "has two activations where Keras' layer has one")
    return {"activation": words[1], "recurrent_activation": words[0]}


def _answered(low: Lowering, step: Step, ends: list[tuple[Tensor, list[Tensor]]]) -> None:
    """ONNX's outputs: all steps (steps, directions, batch, units), and the states (directions, batch, units)."""
    outputs = [*step.outputs, *[""] * (3 - len(step.outputs))]
    if outputs[0]:
        turned = []
        for steps, _ in ends:
            moved = low.words.operation("Transpose", [steps], {"axes": [1, 0, 2]})
            turned.append(Tensor(moved, 0, (steps.shape[1], steps.shape[0], steps.shape[2]), steps.dtype))
        low.put(outputs[0], low.words.operation("Stack", [turned], {"axis": 1}))
    for place, name in enumerate(outputs[1:]):
        if name:
            low.put(name, low.words.operation("Stack", [[states[place] for _, states in ends]], {"axis": 0}))


RECURRENCES: Mapping[str, Said] = dict.fromkeys(_GATES, _said)
