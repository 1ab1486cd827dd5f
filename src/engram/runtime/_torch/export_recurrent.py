"""Torch's recurrent layers written as ONNX's, for the exporter.

Torch keeps the gates of a layer in another order than ONNX, and one list of arrays where ONNX has three. The exporter's
own translation cuts them by shapes that are computed when the graph runs, and it unrolls a plain RNN over the length of
the example. Here every parameter stays an initializer under its own name, and what stands between it and the node is
Split, Concat and Unsqueeze with known numbers, which any reader can undo.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnxscript
import torch

from engram.runtime._torch.gates import GRU, LSTM, RELU, TANH, Kind

__all__ = ["TRANSLATIONS"]

op: Any = onnxscript.opset21  # its annotations do not know that it takes numbers, too


@dataclass(frozen=True, slots=True)
class _Stack:
    """The layers of one module of torch, as its operator is called.

    Attributes:
        kind: of its layers.
        parameters: of all layers and directions in order: two weights, and two biases where there are any.
        biased: whether there are biases.
        layers: how many.
        dropout: share dropped between two layers.
        directions: 1 or 2.
        batch_first: whether rows come before steps in its input and output.
    """

    kind: Kind
    parameters: Sequence[Any]
    biased: bool
    layers: int
    dropout: float
    directions: int
    batch_first: bool


def _translation(kind: Kind) -> Callable[..., tuple[Any, ...]]:
    def translated(  # noqa: PLR0913, PLR0917 - the arguments of torch's operator
        x: Any,  # noqa: ANN401 - a value of the graph in the making
        hx: Any,  # noqa: ANN401
        params: Sequence[Any],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,  # noqa: ARG001 - Dropout stays in the graph either way
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[Any, ...]:
        stack = _Stack(kind, params, has_biases, num_layers, dropout, 1 + bidirectional, batch_first)
        if len(params) != num_layers * stack.directions * (4 if has_biases else 2):
            raise ValueError("an LSTM with proj_size has no node in ONNX; put a Linear layer behind it")
        return _stacked(stack, x, hx if isinstance(hx, Sequence) else [hx])

    return translated


def _stacked(stack: _Stack, x: Any, states: Sequence[Any]) -> tuple[Any, ...]:  # noqa: ANN401
    """The output of the last layer, and the last states of all."""
    if stack.batch_first:
        x = op.Transpose(x, perm=[1, 0, 2])
    last: list[tuple[Any, ...]] = []
    for layer in range(stack.layers):
        first = [_part(state, layer, stack) for state in states]
        x, *ends = _layer(stack, layer, x, first)
        last.append(tuple(ends))
        if stack.dropout and layer + 1 < stack.layers:
            x, _ = op.Dropout(x, stack.dropout)
    if stack.batch_first:
        x = op.Transpose(x, perm=[1, 0, 2])
    ends = [group[0] if len(group) == 1 else op.Concat(*group, axis=0) for group in zip(*last, strict=True)]
    return (x, *ends)


def _part(state: Any, layer: int, stack: _Stack) -> Any:  # noqa: ANN401
    """The states in which one layer begins."""
    if stack.layers == 1:
        return state
    first = layer * stack.directions
    return op.Slice(state, [first], [first + stack.directions], [0])


def _layer(stack: _Stack, layer: int, x: Any, states: Sequence[Any]) -> tuple[Any, ...]:  # noqa: ANN401
    each = 4 if stack.biased else 2
    first = layer * each * stack.directions
    directions = [
        stack.parameters[first + each * place : first + each * (place + 1)] for place in range(stack.directions)
    ]
    order = stack.kind.order
    weights = [_joined([op.Unsqueeze(_ordered(one[place], order), [0]) for one in directions]) for place in (0, 1)]
    bias = _joined([_bias(one[2], one[3], order) for one in directions]) if stack.biased else None
    attributes = dict(stack.kind.attributes)
    if "activations" in attributes:
        attributes["activations"] = attributes["activations"] * stack.directions
    answer = getattr(op, stack.kind.operator)(
        x, *weights, bias, None, *states,
        hidden_size=int(stack.parameters[first + 1].shape[1]),
        direction="bidirectional" if stack.directions == 2 else "forward", **attributes,
    )  # fmt: skip
    y, *ends = answer
    if stack.directions == 1:
        return (op.Squeeze(y, [1]), *ends)
    return (op.Reshape(op.Transpose(y, perm=[0, 2, 1, 3]), [0, 0, -1]), *ends)


def _bias(input_bias: Any, hidden_bias: Any, order: tuple[int, ...]) -> Any:  # noqa: ANN401
    return op.Unsqueeze(op.Concat(_ordered(input_bias, order), _ordered(hidden_bias, order), axis=0), [0])


def _ordered(parameter: Any, order: tuple[int, ...]) -> Any:  # noqa: ANN401
    """A parameter of torch with its gates in ONNX's order."""
    if len(order) == 1:
        return parameter
    gates = op.Split(parameter, axis=0, num_outputs=len(order))
    return op.Concat(*(gates[place] for place in order), axis=0)


def _joined(parts: Sequence[Any]) -> Any:  # noqa: ANN401
    return parts[0] if len(parts) == 1 else op.Concat(*parts, axis=0)


_ATEN = torch.ops.aten

TRANSLATIONS: Mapping[Callable[..., Any], Callable[..., Any]] = {
    _ATEN.lstm.input: _translation(LSTM),
    _ATEN.gru.input: _translation(GRU),
    _ATEN.rnn_tanh.input: _translation(TANH),
    _ATEN.rnn_relu.input: _translation(RELU),
}
