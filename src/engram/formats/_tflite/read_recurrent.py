"""The whole recurrent layers that TFLite has, as ONNX's."""

from __future__ import annotations

from collections.abc import Mapping

from engram.formats._tflite.parts import Operator
from engram.formats._tflite.reading import Read, Reading

__all__ = ["TABLE"]

_LSTM_EXTRA = (9, 10, 11, 16, 17, 20, 21, 22, 23)
"""Places of peepholes, projection and layer normalization."""
_ORDER = (0, 3, 1, 2)
"""TFLite has the gates input, forget, cell, output; ONNX input, output, forget, cell."""


def _lstm(operator: Operator, reading: Reading) -> None:
    inputs = [*operator.inputs, *([-1] * (24 - len(operator.inputs)))]
    options = operator.options
    extra = [place for place in _LSTM_EXTRA if inputs[place] >= 0]
    clipped = options.get("cell_clip") or options.get("proj_clip") or options.get("diagonal_recurrent_tensors")
    if extra or clipped or inputs[1] < 0 or options.get("fused_activation_function", 0) != 4:
        raise reading.refused(
            f"{operator.kind} has peepholes, a projection, a clip or coupled gates, which is not read"
        )
    one = reading.constant([0])
    weights, recurrent, biases = (
        reading.node("Concat", *(reading.get(inputs[first + gate]) for gate in _ORDER), axis=0) for first in (1, 5, 12)
    )
    nothing = reading.node("Mul", biases, reading.constant(0.0, "float32"))
    both = reading.node("Concat", biases, nothing, axis=0)
    units = reading.shape(inputs[8])[0]
    packed = [reading.node("Unsqueeze", value, one) for value in (weights, recurrent, both)]
    states = [reading.node("Unsqueeze", reading.get(inputs[place]), one) for place in (18, 19)]
    made = reading.node("LSTM", _time_first(operator, reading), *packed, "", *states, hidden_size=units)
    _finish(operator, reading, made)


def _rnn(operator: Operator, reading: Reading) -> None:
    _, weights, recurrent, bias, state = operator.inputs[:5]
    kinds = {1: "Relu", 4: "Tanh"}
    code = int(operator.options.get("fused_activation_function", 0))
    if code not in kinds:
        raise reading.refused(f"{operator.kind} has the activation {code}, which is not read")
    one = reading.constant([0])
    nothing = reading.node("Mul", reading.get(bias), reading.constant(0.0, "float32"))
    both = reading.node("Concat", reading.get(bias), nothing, axis=0)
    packed = [reading.node("Unsqueeze", value, one) for value in (reading.get(weights), reading.get(recurrent), both)]
    start = reading.node("Unsqueeze", reading.get(state), one)
    x, units = _time_first(operator, reading), reading.shape(recurrent)[0]
    made = reading.node("RNN", x, *packed, "", start, hidden_size=units, activations=[kinds[code]])
    _finish(operator, reading, made)


def _time_first(operator: Operator, reading: Reading) -> str:
    return reading.get(operator.inputs[0], None if operator.options.get("time_major") else (1, 0, 2))


def _finish(operator: Operator, reading: Reading, made: str) -> None:
    """All states, (time, 1, batch, units), as the tensor has them."""
    states = reading.node("Squeeze", made, reading.constant([1]))
    reading.give(operator.outputs[0], states, None if operator.options.get("time_major") else (1, 0, 2))


TABLE: Mapping[str, Read] = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm,
    "UNIDIRECTIONAL_SEQUENCE_RNN": _rnn,
}
