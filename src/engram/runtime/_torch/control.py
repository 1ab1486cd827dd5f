"""Nodes that run graphs within them: once, as often as a condition holds, or along an axis.

Rounds are Python's; autograd follows what was computed, so that gradients are those of the rounds that were run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from engram.runtime._torch.call import Call, Value
from engram.runtime._torch.plan import Controlled, State

__all__ = ["OPERATORS"]


def _if(call: Call, state: State, condition: Tensor, *captured: Value) -> Value:
    branch = call.bodies["then_branch" if bool(condition) else "else_branch"]
    return tuple(branch.run((), captured, state))


def _loop(call: Call, state: State, *given: Value) -> Value:
    count = len(call.step.inputs)
    most, going, *carried = [*given[:2], *given[2:count]]
    captured, body = given[count:], call.bodies["body"]
    limit = None if most is None else int(most)
    number, goes_on = 0, going is None or bool(going)
    gathered = _Gathered(call, state, len(call.step.outputs) - len(carried))
    while goes_on and (limit is None or number < limit):
        found = body.run([torch.tensor(number), torch.tensor(True), *carried], captured, state)
        goes_on, carried = bool(found[0]), found[1 : len(carried) + 1]
        gathered.add(found[len(carried) + 1 :])
        number += 1
    return (*carried, *gathered.stacked([0] * gathered.count))


def _scan(call: Call, state: State, *given: Value) -> Value:
    count, scanned = len(call.step.inputs), call.get("num_scan_inputs")
    carried, swept = list(given[: count - scanned]), given[count - scanned : count]
    captured, body = given[count:], call.bodies["body"]
    axes, turned = call.get("scan_input_axes", [0] * scanned), call.get("scan_input_directions", [0] * scanned)
    rounds = [_unbound(x, axis, turn) for x, axis, turn in zip(swept, axes, turned, strict=True)]
    outputs = len(call.step.outputs) - len(carried)
    gathered = _Gathered(call, state, outputs)
    for parts in zip(*rounds, strict=True):
        found = body.run([*carried, *parts], captured, state)
        carried = found[: len(carried)]
        gathered.add(found[len(carried) :])
    return (
        *carried,
        *gathered.stacked(
            call.get("scan_output_axes", [0] * outputs), call.get("scan_output_directions", [0] * outputs)
        ),
    )


def _unbound(x: Tensor, axis: int, turned: int) -> Sequence[Tensor]:
    parts = x.unbind(axis)
    return parts[::-1] if turned else parts


def _mapped(call: Call, state: State, *given: Value) -> Value:
    count = len(call.step.inputs)
    inputs, captured, body = given[:count], given[count:], call.bodies["body"]
    made: list[list[Value]] = [[] for _ in call.step.outputs]
    for number in range(len(inputs[0])):
        parts = [value[number] if isinstance(value, list) else value for value in inputs]
        for place, value in zip(made, body.run(parts, captured, state), strict=True):
            place.append(value)
    return tuple(made)


class _Gathered:
    """What each round leaves behind, to become one tensor in the end."""

    def __init__(self, call: Call, state: State, count: int) -> None:
        self.call, self.state, self.count = call, state, max(count, 0)
        self._alive = state.meter.alive if state.meter is not None else 0
        self._rounds: list[list[Tensor]] = [[] for _ in range(self.count)]

    def add(self, values: Iterable[Any]) -> None:
        """One value an output.

        Raises:
            FormatError: all rounds together take more than the bound of the run.
        """
        for place, value in zip(self._rounds, values, strict=False):
            if self.state.meter is not None:
                self.state.meter.keep(self.call, value)
            place.append(value)

    def stacked(self, axes: Sequence[int], turned: Sequence[int] = ()) -> list[Tensor]:
        if self.state.meter is not None:
            self.state.meter.alive = self._alive
        return [
            self._stack(parts[::-1] if place < len(turned) and turned[place] else parts, axes[place])
            for place, parts in enumerate(self._rounds)
        ]

    @staticmethod
    def _stack(parts: Sequence[Tensor], axis: int) -> Tensor:
        return torch.stack(tuple(parts), axis) if parts else torch.zeros(0)


OPERATORS: dict[str, Controlled] = {
    "If": Controlled(_if),
    "Loop": Controlled(_loop),
    "Scan": Controlled(_scan),
    "SequenceMap": Controlled(_mapped),
}
