"""torch's recurrent layers as ONNX's nodes, every parameter as it is.

Between a parameter and the node stand Split, Concat and Unsqueeze with known numbers, which any reader can undo: torch
keeps the gates in another order than ONNX, and one list of arrays where ONNX has three.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engram.formats._aten.call import Call, Operand, Rule, Sheet
from engram.runtime._torch.gates import GRU, LSTM, RELU, TANH, Kind

__all__ = ["TABLE"]


@dataclass(frozen=True, slots=True)
class _Stack:
    """The layers of one module of torch.

    Attributes:
        kind: of its layers.
        parameters: of all layers and directions in order: two weights, and two biases where there are any.
        each: how many parameters a layer and direction has.
        layers, directions: how many.
        dropout: share dropped between two layers.
    """

    kind: Kind
    parameters: Sequence[Operand]
    each: int
    layers: int
    directions: int
    dropout: float


def _layers(kind: Kind) -> Rule:
    def rule(sheet: Sheet, call: Call) -> tuple[str, ...]:
        parameters, layers = call.tensors("params"), call.whole("num_layers", 1)
        directions, each = 1 + call.flag("bidirectional"), 4 if call.flag("has_biases", default=True) else 2
        if len(parameters) != layers * directions * each:
            raise call.refused("has a projection or parameters of another number, which no node of ONNX has")
        if call.tensor("input").rank != 3:
            raise call.refused("reads steps without rows, which is not read; give it a first axis")
        states = call.tensors("hx") if isinstance(call.arguments.get("hx"), list) else [call.tensor("hx")]
        stack = _Stack(kind, parameters, each, layers, directions, float(call.number("dropout", 0.0)))
        return _stacked(sheet, stack, call, states)

    return rule


def _stacked(sheet: Sheet, stack: _Stack, call: Call, states: Sequence[Operand]) -> tuple[str, ...]:
    """The output of the last layer, and the last states of all."""
    value, first = call.tensor("input").name, call.flag("batch_first")
    if first:
        value = sheet.node("Transpose", value, perm=[1, 0, 2])
    ends: list[Sequence[str]] = []
    for layer in range(stack.layers):
        begin = [_part(sheet, stack, state, layer) for state in states]
        value, *last = _layer(sheet, stack, call, (layer, value, begin))
        ends.append(last)
        if stack.dropout and layer + 1 < stack.layers:
            value = sheet.node("Dropout", value, sheet.scalar(stack.dropout, "float32"))
    if first:
        value = sheet.node("Transpose", value, perm=[1, 0, 2])
    return (value, *(_joined(sheet, group) for group in zip(*ends, strict=True)))


def _part(sheet: Sheet, stack: _Stack, state: Operand, layer: int) -> str:
    """The states in which one layer begins."""
    if stack.layers == 1:
        return state.name
    first = layer * stack.directions
    bounds = (sheet.wholes(first), sheet.wholes(first + stack.directions))
    return sheet.node("Slice", state.name, *bounds, sheet.wholes(0))


def _layer(sheet: Sheet, stack: _Stack, call: Call, place: tuple[int, str, Sequence[str]]) -> tuple[str, ...]:
    layer, value, states = place
    first = layer * stack.each * stack.directions
    parts = [
        stack.parameters[first + stack.each * way : first + stack.each * (way + 1)] for way in range(stack.directions)
    ]
    hidden = parts[0][1].shape[-1]
    if hidden is None or any(one.rank not in {1, 2} for part in parts for one in part):
        raise call.refused("has parameters of an unknown shape")
    weights = [_joined(sheet, [_raised(sheet, _ordered(sheet, stack, part[at])) for part in parts]) for at in (0, 1)]
    bias = _joined(sheet, [_bias(sheet, stack, part) for part in parts]) if stack.each == 4 else ""
    said = dict(stack.kind.attributes)
    if "activations" in said:
        said["activations"] = said["activations"] * stack.directions
    direction = "bidirectional" if stack.directions == 2 else None
    inputs = (value, *weights, bias, "", *states)
    made = sheet.nodes(
        stack.kind.operator, *inputs, outputs=1 + len(states), hidden_size=hidden, direction=direction, **said
    )
    if stack.directions == 1:
        return (sheet.node("Squeeze", made[0], sheet.wholes(1)), *made[1:])
    turned = sheet.node("Transpose", made[0], perm=[0, 2, 1, 3])
    return (sheet.node("Reshape", turned, sheet.wholes(0, 0, -1)), *made[1:])


def _bias(sheet: Sheet, stack: _Stack, part: Sequence[Operand]) -> str:
    ordered = [_ordered(sheet, stack, one) for one in part[2:]]
    return _raised(sheet, sheet.node("Concat", *ordered, axis=0))


def _raised(sheet: Sheet, value: str) -> str:
    return sheet.node("Unsqueeze", value, sheet.wholes(0))


def _ordered(sheet: Sheet, stack: _Stack, parameter: Operand) -> str:
    """A parameter of torch with its gates in ONNX's order."""
    order = stack.kind.order
    if len(order) == 1:
        return parameter.name
    gates = sheet.nodes("Split", parameter.name, outputs=len(order), axis=0, num_outputs=len(order))
    return sheet.node("Concat", *(gates[place] for place in order), axis=0)


def _joined(sheet: Sheet, parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else sheet.node("Concat", *parts, axis=0)


TABLE: Mapping[str, Rule] = {
    "gru": _layers(GRU),
    "lstm": _layers(LSTM),
    "rnn_relu": _layers(RELU),
    "rnn_tanh": _layers(TANH),
}
