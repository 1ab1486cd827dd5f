"""Recurrent layers step by step, for everything that torch's kernels do not know.

The formulas are those of onnx.ai/onnx/operators/onnx__LSTM.html, onnx__GRU.html and onnx__RNN.html.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from engram.runtime._torch.activation import named
from engram.runtime._torch.call import Call

__all__ = ["run", "turned"]

_States: TypeAlias = list[Tensor]
_USUAL: Mapping[str, list[str]] = {
    "LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"],
}  # fmt: skip

_ALPHA = {"affine", "elu", "hardsigmoid", "leakyrelu", "scaledtanh", "thresholdedrelu"}
_BETA = {"affine", "hardsigmoid", "scaledtanh"}


@dataclass(frozen=True, slots=True)
class _Direction:
    """One direction of a layer.

    Attributes:
        w, r: weights of input and state, gates in ONNX's order.
        wb, rb: their biases.
        p: peepholes, input, output, forget; None where there are none.
        functions: activations in ONNX's order, clipped already.
        call: the node.
    """

    w: Tensor
    r: Tensor
    wb: Tensor
    rb: Tensor
    p: Tensor | None
    functions: list[Callable[[Tensor], Tensor]]
    call: Call


def run(
    call: Call, kind: str, x: Tensor, weights: tuple[Tensor, Tensor, Tensor | None], given: Sequence[Tensor | None]
) -> tuple[Tensor, ...]:
    """A whole node.

    Args:
        call: the node.
        kind: LSTM, GRU or RNN.
        x: (steps, rows, features), or rows first where ``layout`` says so.
        weights: W, R and B of the node.
        given: what follows them: lengths, first state, first cell, peepholes.
    """
    lengths, *states = [*given, None, None, None][: 3 if kind == "LSTM" else 2]
    p = given[3] if len(given) > 3 else None
    rows_first = bool(call.get("layout", 0))
    if rows_first:
        x, states = x.transpose(0, 1), [None if state is None else state.transpose(0, 1) for state in states]
    w, r, b = weights
    directions, rows, width = w.shape[0], x.shape[1], r.shape[-1]
    begin = [x.new_zeros(directions, rows, width) if state is None else state for state in states]
    made, last = [], []
    for place in range(directions):
        bias = torch.zeros(2 * w.shape[1], dtype=x.dtype, device=x.device) if b is None else b[place]
        wb, rb = bias.chunk(2)
        peep = None if p is None else p[place]
        one = _Direction(w[place], r[place], wb, rb, peep, _functions(call, kind, place), call)
        backward = place == 1 or call.get("direction", "forward") == "reverse"
        y, ends = _swept(one, kind, turned(x, lengths) if backward else x, [state[place] for state in begin], lengths)
        made.append(turned(y, lengths) if backward else y)
        last.append(ends)
    y = torch.stack(made, 1)
    ends = [torch.stack(group) for group in zip(*last, strict=True)]
    if rows_first:
        return y.permute(2, 0, 1, 3), *(state.transpose(0, 1) for state in ends)
    return y, *ends


def turned(x: Tensor, lengths: Tensor | None) -> Tensor:
    """The steps of each row in the other order, as many as the row has; (steps, rows, …)."""
    if lengths is None:
        return x.flip(0)
    steps = torch.arange(x.shape[0], device=x.device).unsqueeze(-1)
    given = lengths.to(device=x.device, dtype=torch.int64)
    places = torch.where(steps < given, given - 1 - steps, steps)
    return x.gather(0, places.reshape(*places.shape, *[1] * (x.ndim - 2)).expand(x.shape))


def _swept(one: _Direction, kind: str, x: Tensor, states: _States, lengths: Tensor | None) -> tuple[Tensor, _States]:
    """All steps of one direction; a row that has ended keeps its states and answers zeros."""
    cell = _CELLS[kind]
    inputs = x @ one.w.T + one.wb
    made = []
    for step, each in enumerate(inputs):
        fresh = cell(one, each, states)
        if lengths is not None:
            going = (step < lengths.to(x.device)).unsqueeze(-1)
            made.append(torch.where(going, fresh[0], torch.zeros_like(fresh[0])))
            fresh = [torch.where(going, new, old) for new, old in zip(fresh, states, strict=True)]
        else:
            made.append(fresh[0])
        states = fresh
    return (torch.stack(made) if made else x.new_zeros(0, x.shape[1], one.r.shape[-1])), states


def _lstm(one: _Direction, x: Tensor, states: _States) -> _States:
    h, c = states
    f, g, last = one.functions
    i, o, forget, new = (x + h @ one.r.T + one.rb).chunk(4, -1)
    pi, po, pf = one.p.chunk(3) if one.p is not None else (0, 0, 0)
    opened = f(i + pi * c)
    kept = 1 - opened if one.call.get("input_forget", 0) else f(forget + pf * c)
    c = kept * c + opened * g(new)
    return [f(o + po * c) * last(c), c]


def _gru(one: _Direction, x: Tensor, states: _States) -> _States:
    (h,) = states
    f, g = one.functions
    xz, xr, xh = x.chunk(3, -1)
    rz, rr, rh = one.r.chunk(3)
    bz, br, bh = one.rb.chunk(3)
    z, r = f(xz + h @ rz.T + bz), f(xr + h @ rr.T + br)
    before = one.call.get("linear_before_reset", 0)
    new = g(xh + r * (h @ rh.T + bh)) if before else g(xh + (r * h) @ rh.T + bh)
    return [(1 - z) * new + z * h]


def _rnn(one: _Direction, x: Tensor, states: _States) -> _States:
    (h,) = states
    return [one.functions[0](x + h @ one.r.T + one.rb)]


_CELLS: Mapping[str, Callable[[_Direction, Tensor, _States], _States]] = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}


def _functions(call: Call, kind: str, direction: int) -> list[Callable[[Tensor], Tensor]]:
    """The activations of one direction; the lists of their numbers are used up in order.

    What comes out of the cell of an LSTM is not clipped: onnxruntime clips the gates alone.
    """
    usual, clip = _USUAL[kind], call.get("clip")
    names = call.get("activations") or usual * (direction + 1)
    alphas, betas = iter(call.get("activation_alpha", [])), iter(call.get("activation_beta", []))
    found: list[Callable[[Tensor], Tensor]] = []
    for name in names:
        numbers: dict[str, Any] = {}
        for key, takers, given in (("alpha", _ALPHA, alphas), ("beta", _BETA, betas)):
            value = next(given, None) if name.lower() in takers else None
            if value is not None:
                numbers[key] = value
        try:
            function = named(name, numbers.get)
        except KeyError:
            raise call.refuse(f"there is no activation {name!r}") from None
        found.append(_clipped(function, clip) if clip and len(found) % len(usual) < 2 else function)
    return found[direction * len(usual) : (direction + 1) * len(usual)]


def _clipped(function: Callable[[Tensor], Tensor], limit: float) -> Callable[[Tensor], Tensor]:
    return lambda x: function(x.clamp(-limit, limit))
