"""Operators on the bits of whole numbers; nothing is learned from them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from engram.runtime._torch.arithmetic import binary, unary
from engram.runtime._torch.call import Call, Operator, Planned, dtype

__all__ = ["OPERATORS"]


def _shift(call: Call, x: Tensor, by: Tensor) -> Tensor:
    function = np.left_shift if call.get("direction") == "LEFT" else np.right_shift
    return torch.from_numpy(np.asarray(function(x.cpu().numpy(), by.cpu().numpy()))).to(x.device)


def _reinterpreted(call: Call, x: Tensor) -> Tensor:
    kind = dtype(call.get("to"), call)
    if kind.itemsize != x.element_size():
        raise call.refuse(f"{x.dtype} and {kind} differ in size")
    return x.contiguous().view(kind)


OPERATORS: dict[str, Operator | Planned] = {
    "BitCast": _reinterpreted,
    "BitShift": _shift,
    "BitwiseAnd": binary(torch.bitwise_and, np.bitwise_and),
    "BitwiseNot": unary(torch.bitwise_not, np.bitwise_not),
    "BitwiseOr": binary(torch.bitwise_or, np.bitwise_or),
    "BitwiseXor": binary(torch.bitwise_xor, np.bitwise_xor),
}
