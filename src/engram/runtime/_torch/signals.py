"""Transforms of signals into frequencies, and the windows that go with them.

ONNX keeps a complex number as two real ones on the last axis.

Source: Harris 1978, On the Use of Windows; O'Shaughnessy 1987, Speech Communication, for the scale of pitches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from engram.runtime._torch.call import Call, Operator, Planned, dtype

__all__ = ["OPERATORS"]


def _window(shares: Sequence[float]) -> Operator:
    """A sum of cosines, their shares with alternating sign."""

    def compute(call: Call, size: Tensor) -> Tensor:
        count = int(call.number(0, size))
        period = count if call.get("periodic", 1) else count - 1
        angles = torch.arange(count, dtype=torch.float64) * (2 * math.pi / max(period, 1))
        total = sum((-1) ** k * share * torch.cos(k * angles) for k, share in enumerate(shares))
        assert isinstance(total, Tensor)
        return total.to(dtype(call.get("output_datatype", 1), call))

    return compute


def _fourier(call: Call, x: Tensor, length: Tensor | None = None, axis: Tensor | None = None) -> Tensor:
    place = int(call.number(2, axis, -2)) % x.ndim
    count = call.number(1, length)
    onesided, inverse = bool(call.get("onesided", 0)), bool(call.get("inverse", 0))
    signal = x[..., 0] if x.shape[-1] == 1 else torch.view_as_complex(x.contiguous())
    if inverse and onesided:
        real: Tensor = torch.fft.irfft(signal, count, place)
        return real.unsqueeze(-1)
    if onesided and not signal.is_complex():
        return torch.view_as_real(torch.fft.rfft(signal, count, place)).to(x.dtype)
    found = torch.fft.ifft(signal, count, place) if inverse else torch.fft.fft(signal, count, place)
    if onesided:
        found = found.narrow(place, 0, found.shape[place] // 2 + 1)
    return torch.view_as_real(found).to(x.dtype)


def _short_time(
    call: Call, x: Tensor, step: Tensor, window: Tensor | None = None, length: Tensor | None = None
) -> Tensor:
    """(batch, frames, frequencies, 2) of a signal (batch, steps, 1 or 2)."""
    signal = x[..., 0] if x.ndim == 3 and x.shape[-1] == 1 else x
    if signal.ndim == 3:
        signal = torch.view_as_complex(signal.contiguous())
    count = int(call.number(3, length, window.shape[0] if window is not None else signal.shape[-1]))
    frames = signal.unfold(-1, count, int(call.number(1, step)))
    if window is not None:
        frames = frames * window
    if call.get("onesided", 1) and not signal.is_complex():
        return torch.view_as_real(torch.fft.rfft(frames))
    found = torch.fft.fft(frames)
    if call.get("onesided", 1):
        found = found[..., : count // 2 + 1]
    return torch.view_as_real(found)


def _pitch_weights(call: Call, *given: Tensor) -> Tensor:
    """How much of each frequency is in each pitch, triangles of equal width on the scale of pitches."""
    bins, length, rate, low, high = (call.number(place, one) for place, one in enumerate(given))
    first, last = (2595 * math.log10(1 + hertz / 700) for hertz in (low, high))
    step = (last - first) / (bins + 2)
    hertz = [700 * (10 ** ((first + step * number) / 2595) - 1) for number in range(bins + 2)]
    edges = [int((length + 1) * one // rate) for one in hertz]
    frequencies = torch.arange(length // 2 + 1, dtype=torch.float64)
    columns = [_triangle(frequencies, *edges[number : number + 3]) for number in range(bins)]
    return torch.stack(columns, 1).to(dtype(call.get("output_datatype", 1), call))


def _triangle(frequencies: Tensor, left: int, center: int, right: int) -> Tensor:
    zeros = torch.zeros_like(frequencies)
    up = (frequencies - left) / (center - left) if center > left else (frequencies == center).double()
    down = (right - frequencies) / (right - center) if right > center else zeros
    rising = torch.where((frequencies >= left) & (frequencies <= center), up, zeros)
    return torch.where((frequencies >= center) & (frequencies < right), down, rising)


OPERATORS: dict[str, Operator | Planned] = {
    "BlackmanWindow": _window((0.42, 0.5, 0.08)),
    "DFT": _fourier,
    "HammingWindow": _window((25 / 46, 21 / 46)),
    "HannWindow": _window((0.5, 0.5)),
    "MelWeightMatrix": _pitch_weights,
    "STFT": _short_time,
}
