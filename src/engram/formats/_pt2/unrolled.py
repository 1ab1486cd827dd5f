"""Layers of time, as the exporter meets them: with as many steps as there will be.

torch computes the shapes of an LSTM by going through its steps, so that ``torch.export`` makes their number of the
moment a fixed one. Here each such layer is an operator whose shapes are known, and in the program that comes out it
takes the place of torch's own again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.overrides import TorchFunctionMode

__all__ = ["Rolled", "called", "put_back"]

_LAYERS: Final = ("rnn_tanh", "rnn_relu", "gru")
_OPTIONS = "Tensor[] weights, bool biases, int layers, float dropout, bool train, bool two, bool first"


def called(name: str) -> Callable[..., Any] | None:
    """What is called in the place of torch's operator of this name; None where it is no layer of time."""
    return _OURS.get(name)


def _shape(rows: Tensor, state: Tensor, *, two: bool) -> Tensor:
    """What comes out at every step: as many steps and rows as went in, as wide as a state, projected or not."""
    return rows.new_empty(rows.shape[0], rows.shape[1], (2 if two else 1) * state.shape[2])


def _simple(name: str) -> Any:  # noqa: ANN401 - torch's own record
    schema = f"(Tensor rows, Tensor state, {_OPTIONS}) -> (Tensor, Tensor)"
    packet = getattr(torch.ops.aten, name)

    @torch.library.custom_op(f"engram::{name}", mutates_args=(), schema=schema)
    def layer(rows: Tensor, state: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401 - the schema says them
        made = packet.input(rows, state, *rest)
        return made[0].clone(), made[1].clone()

    @layer.register_fake
    def _(rows: Tensor, state: Tensor, _weights: list[Tensor], *rest: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        return _shape(rows, state, two=rest[4]), torch.empty_like(state)

    return layer


@torch.library.custom_op(
    "engram::lstm", mutates_args=(), schema=f"(Tensor rows, Tensor[] states, {_OPTIONS}) -> (Tensor, Tensor, Tensor)"
)
def _lstm(rows: Tensor, states: list[Tensor], *rest: Any) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401
    made = torch.ops.aten.lstm.input(rows, states, *rest)
    return made[0].clone(), made[1].clone(), made[2].clone()


@_lstm.register_fake
def _(rows: Tensor, states: list[Tensor], _weights: list[Tensor], *rest: Any) -> tuple[Tensor, ...]:  # noqa: ANN401
    made = _shape(rows, states[0], two=rest[4])
    return made, torch.empty_like(states[0]), torch.empty_like(states[1])


_OURS: Final[Mapping[str, Any]] = {"lstm": _lstm, **{name: _simple(name) for name in _LAYERS}}

_THEIRS: Final[Mapping[Any, Any]] = {
    getattr(torch.ops.engram, name).default: getattr(torch.ops.aten, name).input for name in _OURS
}
"""Our operator → torch's, which takes the same and makes the same."""


def put_back(made: ExportedProgram) -> ExportedProgram:
    """A program with torch's operators in the place of ours; in place."""
    for node in made.graph.nodes:
        node.target = _THEIRS.get(node.target, node.target)
    return made


class Rolled(TorchFunctionMode):
    """While this is entered, modules call our operators where they would call torch's."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever torch answers
        layer = called(getattr(func, "__name__", ""))
        padded = len(args) > 1 and isinstance(args[1], Tensor) and layer is _OURS["lstm"]  # rows packed by length
        packed = len(args) > 3 and not isinstance(args[3], bool)
        return (func if layer is None or padded or packed else layer)(*args, **(kwargs or {}))
