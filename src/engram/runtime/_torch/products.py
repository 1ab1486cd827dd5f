"""Products of matrices, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from engram.runtime._torch.arithmetic import binary
from engram.runtime._torch.call import Call, Operator, Planned, like

__all__ = ["OPERATORS"]


def _gemm(call: Call) -> Callable[..., Tensor]:
    alpha, beta = call.get("alpha", 1.0), call.get("beta", 1.0)
    turn_a, turn_b = call.get("transA", 0), call.get("transB", 0)
    if turn_b and not turn_a and alpha == 1.0 and beta == 1.0:
        return _linear

    def compute(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        product = (a.T if turn_a else a) @ (b.T if turn_b else b)
        if alpha != 1.0:
            product = (alpha * product).to(a.dtype)
        return product if c is None else product + (beta * like(c, a)).to(a.dtype)

    return compute


def _linear(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """The same kernel as nn.Linear, so that training rounds alike."""
    if c is None or (c.ndim == 1 and c.shape[0] == b.shape[0]):
        return F.linear(a, b, c)
    return a @ b.T + like(c, a)


def _einsum(call: Call, *xs: Tensor) -> Tensor:
    product: Tensor = torch.einsum(call.get("equation"), *xs)
    return product


OPERATORS: dict[str, Operator | Planned] = {
    "Det": lambda _call, x: torch.linalg.det(x),
    "Einsum": _einsum,
    "Gemm": Planned(_gemm),
    "MatMul": binary(torch.matmul, np.matmul),
    "engram.torch.Linear": Planned(lambda _call: F.linear),
}
