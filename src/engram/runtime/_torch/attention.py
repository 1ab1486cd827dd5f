"""Attention and rotary places, which newer operator sets have as single nodes.

Source: onnx.ai/onnx/operators/onnx__Attention.html and onnx__RotaryEmbedding.html.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from engram.runtime._torch.call import Call, Operator, Planned, Value, dtype

__all__ = ["OPERATORS"]


def _attention(  # noqa: PLR0913, PLR0917 - the inputs of ONNX's operator
    call: Call,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    valid: Tensor | None = None,
) -> Value:
    flat = query.ndim == 3
    if flat:
        query = _heads(query, call.get("q_num_heads"))
        key, value = (_heads(part, call.get("kv_num_heads")) for part in (key, value))
    if past_key is not None and past_value is not None:
        key, value = torch.cat([past_key, key], 2), torch.cat([past_value, value], 2)
    present = key, value
    times = query.shape[1] // key.shape[1]
    if times > 1:
        key, value = (part.repeat_interleave(times, 1) for part in (key, value))
    known = past_key.shape[2] if past_key is not None else 0
    offset: Tensor | int = known if valid is None or past_key is not None else valid.reshape(-1, 1, 1) - query.shape[2]
    bias = _bias(call, (query, key), mask, offset)
    if valid is not None:
        inside = torch.arange(key.shape[2], device=key.device) < valid.reshape(-1, 1, 1, 1)
        bias = bias + _closed(inside, query)
    y, scores = _weighed(call, query, key, value, bias)
    if flat:
        y = y.transpose(1, 2).flatten(2)
    return y, *present, scores


def _heads(x: Tensor, count: int) -> Tensor:
    return x.reshape(*x.shape[:2], count, -1).transpose(1, 2)


def _closed(may: Tensor, other: Tensor) -> Tensor:
    """0 where one may look, -inf where not."""
    return torch.where(may, 0.0, -math.inf).to(other.dtype)


def _bias(call: Call, both: tuple[Tensor, Tensor], mask: Tensor | None, offset: Tensor | int) -> Tensor:
    """What is added to the scores: the mask given, and who may look where by order."""
    query, key = both
    rows, columns = query.shape[2], key.shape[2]
    bias = query.new_zeros(rows, columns)
    if mask is not None:
        given = _closed(mask, query) if mask.dtype == torch.bool else mask
        if given.shape[-1] < columns:
            given = F.pad(given, [0, columns - given.shape[-1]], value=-math.inf)
        bias = bias + given
    left, right = call.get("left_window_size", -1), call.get("right_window_size", -1)
    if call.get("is_causal", 0) or left >= 0 or right >= 0:
        behind = torch.arange(rows, device=key.device).reshape(-1, 1) - torch.arange(columns, device=key.device)
        ahead = behind + offset
        ahead = ahead.unsqueeze(1) if ahead.ndim == 3 else ahead
        may = ahead >= 0 if call.get("is_causal", 0) else torch.ones_like(ahead, dtype=torch.bool)
        may = may & (ahead <= left) if left >= 0 else may
        may = may & (-ahead <= right) if right >= 0 else may
        bias = bias + _closed(may, query)
    return bias


def _weighed(call: Call, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The answer, and the scores as they were at the place that is asked for."""
    factor = math.sqrt(call.get("scale") or 1 / math.sqrt(query.shape[3]))
    scores = (query * factor) @ (key * factor).transpose(-1, -2)
    stages = [scores]
    if call.get("softcap", 0.0) > 0:
        scores = call.get("softcap") * torch.tanh(scores / call.get("softcap"))
    stages.append(scores)
    scores = scores + bias
    stages.append(scores)
    precise = dtype(call.get("softmax_precision"), call) if call.get("softmax_precision") else scores.dtype
    chances = scores.to(precise).softmax(-1).to(query.dtype)
    nothing = (bias.amax(-1, keepdim=True) == -math.inf).expand(chances.shape)
    chances = torch.where(nothing, torch.zeros_like(chances), chances)  # a row that may look at nothing sees nothing
    stages.append(chances)
    return chances @ value, stages[call.get("qk_matmul_output_mode", 0)]


def _rotary(call: Call, x: Tensor, cosine: Tensor, sine: Tensor, places: Tensor | None = None) -> Tensor:
    flat = x.ndim == 3
    steps = x.reshape(*x.shape[:2], call.get("num_heads", 0), -1) if flat else x.transpose(1, 2)
    width = call.get("rotary_embedding_dim", 0) or steps.shape[-1]
    turned, left = steps[..., :width], steps[..., width:]
    if places is not None:
        cosine, sine = (table[places.long()] for table in (cosine, sine))
    cosine, sine = cosine.unsqueeze(2), sine.unsqueeze(2)
    woven = bool(call.get("interleaved", 0))
    first, second = (turned[..., 0::2], turned[..., 1::2]) if woven else turned.chunk(2, -1)
    real, imaginary = cosine * first - sine * second, sine * first + cosine * second
    both = torch.stack([real, imaginary], -1).flatten(-2) if woven else torch.cat([real, imaginary], -1)
    y = torch.cat([both, left], -1)
    return y.reshape(x.shape) if flat else y.transpose(1, 2)


def _fused(call: Call, query: Tensor, key: Tensor, value: Tensor, ratio: Tensor | None = None) -> Tensor:
    """Two products with a Softmax and a Dropout between them, in torch's own kernel."""
    share = call.number(3, ratio, 0.0) if call.training else 0.0
    return F.scaled_dot_product_attention(query, key, value, dropout_p=share, scale=call.get("scale"))


OPERATORS: dict[str, Operator | Planned] = {
    "Attention": _attention,
    "RotaryEmbedding": _rotary,
    "engram.torch.Attention": _fused,
}
