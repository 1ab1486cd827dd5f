"""Operators that draw: with a seed the same numbers each time, without one from torch's own generator."""

from __future__ import annotations

import struct
from collections.abc import Callable

import torch
from torch import Tensor

from engram.runtime._torch.call import Call, Operator, Planned, dtype

__all__ = ["OPERATORS"]


def _generator(call: Call, device: torch.device | str = "cpu") -> torch.Generator | None:
    seed = call.get("seed")
    if seed is None:
        return None
    (bits,) = struct.unpack("<q", struct.pack("<d", float(seed)))
    return torch.Generator(device).manual_seed(bits)


def _fresh(draw: Callable[[Call, Tensor], Tensor]) -> Operator:
    def compute(call: Call) -> Tensor:
        return draw(call, torch.empty(call.get("shape"), dtype=dtype(call.get("dtype", 1), call)))

    return compute


def _alike(draw: Callable[[Call, Tensor], Tensor]) -> Operator:
    def compute(call: Call, x: Tensor) -> Tensor:
        kind = dtype(call.get("dtype"), call) if call.get("dtype") else x.dtype
        return draw(call, torch.empty_like(x, dtype=kind))

    return compute


def _normal(call: Call, x: Tensor) -> Tensor:
    return x.normal_(call.get("mean", 0.0), call.get("scale", 1.0), generator=_generator(call, x.device))


def _uniform(call: Call, x: Tensor) -> Tensor:
    return x.uniform_(call.get("low", 0.0), call.get("high", 1.0), generator=_generator(call, x.device))


def _bernoulli(call: Call, x: Tensor) -> Tensor:
    kind = dtype(call.get("dtype"), call) if call.get("dtype") else x.dtype
    return torch.bernoulli(x, generator=_generator(call, x.device)).to(kind)


def _multinomial(call: Call, x: Tensor) -> Tensor:
    count = call.get("sample_size", 1)
    drawn = torch.multinomial(x.softmax(-1), count, replacement=True, generator=_generator(call, x.device))
    return drawn.to(dtype(call.get("dtype", 6), call))


OPERATORS: dict[str, Operator | Planned] = {
    "Bernoulli": _bernoulli,
    "Multinomial": _multinomial,
    "RandomNormal": _fresh(_normal),
    "RandomNormalLike": _alike(_normal),
    "RandomUniform": _fresh(_uniform),
    "RandomUniformLike": _alike(_uniform),
}
