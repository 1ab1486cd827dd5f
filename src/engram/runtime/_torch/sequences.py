"""Sequences, which are lists here, and optionals, which are their content or None."""

from __future__ import annotations

import torch
from torch import Tensor

from engram.errors import ShapeError
from engram.runtime._torch.call import Call, Operator, Planned, Value, together

__all__ = ["OPERATORS"]


def _at(call: Call, sequence: list[Value], place: Tensor) -> Value:
    return sequence[_counted(call, place, len(sequence))]


def _counted(call: Call, place: Tensor, length: int) -> int:
    number = int(place.item())
    if not -length <= number < length:
        raise ShapeError(f"node {call.step.title!r} asks for number {number} of a sequence of {length}")
    return number % length


def _insert(_call: Call, sequence: list[Value], value: Tensor, place: Tensor | None = None) -> list[Value]:
    number = len(sequence) if place is None else int(place.item())
    number += len(sequence) if number < 0 else 0
    return [*sequence[:number], value, *sequence[number:]]


def _erase(call: Call, sequence: list[Value], place: Tensor | None = None) -> list[Value]:
    number = len(sequence) - 1 if place is None else _counted(call, place, len(sequence))
    return [*sequence[:number], *sequence[number + 1 :]]


def _split(call: Call, x: Tensor, lengths: Tensor | None = None) -> list[Tensor]:
    axis = call.get("axis", 0)
    if lengths is None:
        return [part if call.get("keepdims", 1) else part.squeeze(axis) for part in torch.split(x, 1, axis)]
    given = call.numbers(1, lengths) or []
    return list(torch.split(x, given[0] if lengths.ndim == 0 else given, axis))


def _joined(call: Call, sequence: list[Tensor]) -> Tensor:
    join = torch.stack if call.get("new_axis", 0) else torch.cat
    return join(together(*sequence), call.get("axis"))


def _content(call: Call, value: Value = None) -> Value:
    if value is None:
        raise call.refuse("the optional it opens is empty")
    return value


OPERATORS: dict[str, Operator | Planned] = {
    "ConcatFromSequence": _joined,
    "Optional": lambda _call, value=None: value,
    "OptionalGetElement": _content,
    "OptionalHasElement": lambda _call, value=None: torch.tensor(value is not None),
    "SequenceAt": _at,
    "SequenceConstruct": lambda _call, *values: list(values),
    "SequenceEmpty": lambda _call: [],
    "SequenceErase": _erase,
    "SequenceInsert": _insert,
    "SequenceLength": lambda _call, sequence: torch.tensor(len(sequence)),
    "SplitToSequence": _split,
}
