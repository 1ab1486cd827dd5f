"""LSTM, GRU and RNN: torch's own kernels where the node is one that torch has, otherwise cell by cell.

Torch's kernels are many times faster, and give the very numbers of the network that was exported. What they lack
(peepholes, other activations, clipping, a reset before the product) is computed step by step in ``cells``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from engram.runtime._torch import cells
from engram.runtime._torch.call import Call, Operator, Planned, like

__all__ = ["OPERATORS", "ORDERS"]

ORDERS: Mapping[str, tuple[int, ...]] = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
"""Per gate of torch, its place among ONNX's."""
_KERNELS: Mapping[str, Callable[..., Any]] = {
    "LSTM": torch._VF.lstm,  # noqa: SLF001 - what nn.LSTM itself calls
    "GRU": torch._VF.gru,  # noqa: SLF001
    "Tanh": torch._VF.rnn_tanh,  # noqa: SLF001
    "Relu": torch._VF.rnn_relu,  # noqa: SLF001
}
_USUAL = {"LSTM": ["sigmoid", "tanh", "tanh"], "GRU": ["sigmoid", "tanh"]}


@dataclass(frozen=True, slots=True)
class _Layer:
    """One node as torch's kernels see it.

    Attributes:
        kernel: torch's function; None where the node is none that torch has.
        states: 2 for an LSTM, which has a cell beside its state.
        directions: 1 or 2.
        backward: whether the one direction goes from the last step to the first.
        rows_first: whether rows come before steps in its input and output.
        training: of the module.
    """

    kernel: Callable[..., Any] | None
    states: int
    directions: int
    backward: bool
    rows_first: bool
    training: bool

    def run(self, x: Tensor, first: Sequence[Tensor | None], lengths: Tensor | None, params: list[Tensor]) -> Any:  # noqa: ANN401
        """Output and last states in ONNX's shapes; parameters are torch's, in torch's order."""
        assert self.kernel is not None
        if self.rows_first:
            x = x.transpose(0, 1)
            first = [None if state is None else state.transpose(0, 1).contiguous() for state in first]
        if self.backward:
            x = cells.turned(x, lengths)
        width = params[1].shape[1]
        zeros = x.new_zeros(self.directions, x.shape[1], width) if None in first else None
        begin = [zeros if state is None else state for state in first]
        y, *last = self._packed(x, begin, lengths, params) if lengths is not None else self._whole(x, begin, params)
        if self.backward:
            y = cells.turned(y, lengths)
        return self._shaped(y, last)

    def _whole(self, x: Tensor, begin: list[Any], params: list[Tensor]) -> Any:  # noqa: ANN401
        biased = len(params) == 4 * self.directions
        given = tuple(begin) if self.states == 2 else begin[0]
        assert self.kernel is not None
        return self.kernel(x, given, params, biased, 1, 0.0, self.training, self.directions == 2, False)

    def _packed(self, x: Tensor, begin: list[Any], lengths: Tensor, params: list[Tensor]) -> Any:  # noqa: ANN401
        packed = pack_padded_sequence(x, lengths.long().cpu(), enforce_sorted=False)
        begin = [state.index_select(1, packed.sorted_indices) for state in begin]
        biased = len(params) == 4 * self.directions
        given = tuple(begin) if self.states == 2 else begin[0]
        assert self.kernel is not None
        flat, *last = self.kernel(
            packed.data, packed.batch_sizes, given, params, biased, 1, 0.0, self.training, self.directions == 2
        )
        answer = PackedSequence(flat, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
        y, _ = pad_packed_sequence(answer, total_length=x.shape[0])
        return y, *(state.index_select(1, packed.unsorted_indices) for state in last)

    def _shaped(self, y: Tensor, last: Sequence[Tensor]) -> tuple[Tensor, ...]:
        y = y.reshape(*y.shape[:2], self.directions, -1).transpose(1, 2)
        if self.rows_first:
            return y.permute(2, 0, 1, 3), *(state.transpose(0, 1) for state in last)
        return y, *last


def _layer(call: Call, kind: str) -> _Layer:
    direction = call.get("direction", "forward")
    directions = 2 if direction == "bidirectional" else 1
    layout, states = bool(call.get("layout", 0)), 2 if kind == "LSTM" else 1
    return _Layer(_kernel(call, kind, directions), states, directions, direction == "reverse", layout, call.training)


def _kernel(call: Call, kind: str, directions: int) -> Callable[..., Any] | None:
    """Torch's function for this node, if the node does nothing that torch does not."""
    given = [name.lower() for name in call.get("activations", [])]
    peepholes = not call.step.domain and any(call.step.inputs[7:8])
    if call.get("clip") or call.get("input_forget", 0) or peepholes:
        return None
    if kind == "RNN":
        names = set(given or ["tanh"])
        return _KERNELS[names.pop().capitalize()] if names in ({"tanh"}, {"relu"}) else None
    if given and given != _USUAL[kind] * directions:
        return None
    return _KERNELS[kind] if kind == "LSTM" or call.get("linear_before_reset", 0) else None


def _planned(kind: str) -> Planned:
    def plan(call: Call) -> Callable[..., Any]:
        layer = _layer(call, kind)

        def compute(x: Tensor, w: Tensor, r: Tensor, b: Tensor | None = None, *given: Tensor | None) -> Any:  # noqa: ANN401
            lengths, *first = [*given, None, None, None, None][: 1 + layer.states]
            if layer.kernel is None or (lengths is not None and int(lengths.min()) < 1):
                return cells.run(call, kind, x, (w, r, b), given)
            params = [
                part
                for direction in range(layer.directions)
                for part in _parameters((w[direction], r[direction], None if b is None else b[direction]), kind)
            ]
            return layer.run(x, first, None if lengths is None else lengths, params)

        return compute

    return Planned(plan)


def _parameters(parts: tuple[Tensor, Tensor, Tensor | None], kind: str) -> list[Tensor]:
    """The parameters of one direction with their gates in torch's order."""
    w, r, b = parts
    found = [w, r] if b is None else [w, r, *b.chunk(2)]
    order = ORDERS[kind]
    return found if len(order) == 1 else [_ordered(part, order) for part in found]


def _ordered(part: Tensor, order: tuple[int, ...]) -> Tensor:
    gates = part.chunk(len(order))
    return torch.cat([gates[place] for place in order])


def _own(kind: str) -> Planned:
    """A node whose parameters are torch's own, as ``fusion`` found them: x, lengths, states, parameters."""

    def plan(call: Call) -> Callable[..., Any]:
        layer = _layer(call, kind)
        states = layer.states

        def compute(x: Tensor, lengths: Tensor | None, *given: Any) -> Any:  # noqa: ANN401
            return layer.run(x, given[:states], None if lengths is None else like(lengths, x), list(given[states:]))

        return compute

    return Planned(plan)


OPERATORS: dict[str, Operator | Planned] = {
    "GRU": _planned("GRU"),
    "LSTM": _planned("LSTM"),
    "RNN": _planned("RNN"),
    "engram.torch.GRU": _own("GRU"),
    "engram.torch.LSTM": _own("LSTM"),
    "engram.torch.RNN": _own("RNN"),
}
