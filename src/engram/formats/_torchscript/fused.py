"""What torch computes in one piece where nothing is learned, taken apart again into layers that everybody knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["APART"]


@dataclass(frozen=True, slots=True)
class _Layer:
    """What torch hands over, in its order."""

    rows: Tensor
    width: int
    heads: int
    qkv: Tensor
    qkv_bias: Tensor
    out: Tensor
    out_bias: Tensor
    gelu: bool
    first: bool
    epsilon: float
    norm1: Tensor
    norm1_bias: Tensor
    norm2: Tensor
    norm2_bias: Tensor
    up: Tensor
    up_bias: Tensor
    down: Tensor
    down_bias: Tensor
    mask: Tensor | None = None
    kind: int | None = None

    def attended(self, rows: Tensor) -> Tensor:
        """Every step with what it looks at."""
        split = (self.heads, self.width // self.heads)
        query, key, value = (
            torch.unflatten(one, -1, split).transpose(1, 2)
            for one in functional.linear(rows, self.qkv, self.qkv_bias).chunk(3, dim=-1)
        )
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=self.unseen())
        return functional.linear(found.transpose(1, 2).flatten(2), self.out, self.out_bias)

    def fed(self, rows: Tensor) -> Tensor:
        """Every step by itself."""
        inside = functional.linear(rows, self.up, self.up_bias)
        inside = functional.gelu(inside) if self.gelu else functional.relu(inside)
        return functional.linear(inside, self.down, self.down_bias)

    def normed(self, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Every step on one scale."""
        return functional.layer_norm(rows, (self.width,), weight, bias, self.epsilon)

    def unseen(self) -> Tensor | None:
        """What is added to the scores: a mask of torch's says True where nobody looks.

        Of steps that are filled up it has an axis for rows and one for steps, else for all that scores have.
        """
        if self.mask is None:
            return None
        wide = self.mask[:, None, None, :] if self.kind == 1 else self.mask
        if wide.dtype is not torch.bool:
            return wide
        return torch.zeros_like(wide, dtype=self.rows.dtype).masked_fill(wide, float("-inf"))


def _encoder_layer(*given: Any) -> Tensor:  # noqa: ANN401 - as a graph hands them over
    """A layer of a Transformer's encoder, as ``torch.nn.TransformerEncoderLayer`` computes it."""
    layer = _Layer(*given)
    rows = layer.rows
    if layer.first:
        rows = rows + layer.attended(layer.normed(rows, layer.norm1, layer.norm1_bias))
        return rows + layer.fed(layer.normed(rows, layer.norm2, layer.norm2_bias))
    rows = layer.normed(rows + layer.attended(rows), layer.norm1, layer.norm1_bias)
    return layer.normed(rows + layer.fed(rows), layer.norm2, layer.norm2_bias)


APART: Final[Mapping[str, Callable[..., Any]]] = {"_transformer_encoder_layer_fwd": _encoder_layer}
"""Name of torch's operator → what computes the same in layers."""
