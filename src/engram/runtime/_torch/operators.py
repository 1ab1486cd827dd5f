"""All operators of ONNX that run in torch, by name."""

from __future__ import annotations

from collections.abc import Mapping

from engram.runtime._torch import (
    activation,
    arithmetic,
    attention,
    control,
    convolution,
    indexing,
    integers,
    losses,
    normalization,
    pooling,
    products,
    quantization,
    random,
    recurrent,
    reduction,
    resizing,
    sampling,
    selection,
    sequences,
    shape,
    signals,
)
from engram.runtime._torch.call import Operator, Planned
from engram.runtime._torch.plan import Controlled

__all__ = ["OPERATORS"]

_KINDS = (
    activation, arithmetic, attention, control, convolution, selection, indexing, integers, losses, normalization,
    pooling, products, quantization, random, recurrent, reduction, resizing, sampling, sequences, shape, signals,
)  # fmt: skip

OPERATORS: Mapping[str, Operator | Planned | Controlled] = {
    name: operator for kind in _KINDS for name, operator in kind.OPERATORS.items()
}
