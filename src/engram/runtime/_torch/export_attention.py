"""Torch's attention written in ONNX, for the exporter.

The exporter's own translation computes the scale from the shape while the graph runs, in a dozen nodes a layer. The
width of a head is known, so here it is one number, and what is left is what a reader expects: two products with a
Softmax and a Dropout between them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnxscript
import torch
from onnxscript import ir

__all__ = ["TRANSLATIONS"]

op: Any = onnxscript.opset21  # its annotations do not know that it takes numbers, too


def _attention(  # noqa: PLR0913, PLR0917 - the arguments of torch's operator
    query: Any,  # noqa: ANN401 - a value of the graph in the making
    key: Any,  # noqa: ANN401
    value: Any,  # noqa: ANN401
    attn_mask: Any = None,  # noqa: ANN401
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:  # noqa: ANN401
    if enable_gqa:
        key, value = _repeated(key, query), _repeated(value, query)
    factor = scale if scale is not None else 1 / math.sqrt(int(query.shape[-1]))
    scaled = op.Mul(query, op.Constant(value=ir.tensor(np.array(factor, query.dtype.numpy()))))
    scores = op.MatMul(scaled, _turned(key, len(query.shape)))
    if is_causal:
        attn_mask = _causal(query, key)
    chances = _chances(scores, attn_mask)
    if dropout_p:
        chances, _ = op.Dropout(chances, dropout_p)
    return op.MatMul(chances, value)


def _turned(key: Any, rank: int) -> Any:  # noqa: ANN401
    """The key with its last two axes exchanged."""
    return op.Transpose(key, perm=[*range(rank - 2), rank - 1, rank - 2])


def _causal(query: Any, key: Any) -> Any:  # noqa: ANN401
    """Which steps a step may look at: itself and those before."""
    place = len(query.shape) - 2
    lengths = [op.Shape(part, start=place, end=place + 1) for part in (query, key)]
    ones = op.ConstantOfShape(op.Concat(*lengths, axis=0), value=ir.tensor(np.ones(1, np.int64)))
    return op.Cast(op.Trilu(ones, upper=0), to=int(ir.DataType.BOOL))


def _chances(scores: Any, mask: Any) -> Any:  # noqa: ANN401
    if mask is None:
        return op.Softmax(scores, axis=-1)
    if mask.dtype not in {None, ir.DataType.BOOL}:
        return op.Softmax(op.Add(scores, mask), axis=-1)
    kind = scores.dtype.numpy() if scores.dtype is not None else np.dtype(np.float32)
    zero, low = (op.Constant(value=ir.tensor(np.array(number, kind))) for number in (0, -np.inf))
    chances = op.Softmax(op.Where(mask, scores, low), axis=-1)
    # a row that may look at nothing sees nothing, where a Softmax of nothing but -inf is no number
    return op.Where(op.IsNaN(chances), zero, chances)


def _repeated(part: Any, query: Any) -> Any:  # noqa: ANN401
    """Keys or values of few heads, as often as the query has more."""
    heads, times = int(part.shape[-3]), int(query.shape[-3]) // int(part.shape[-3])
    if times == 1:
        return part
    wide = op.Expand(op.Unsqueeze(part, [2]), [1, 1, times, 1, 1])
    return op.Reshape(wide, [0, heads * times, -1, int(part.shape[-1])])


TRANSLATIONS: Mapping[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.scaled_dot_product_attention.default: _attention,
}
