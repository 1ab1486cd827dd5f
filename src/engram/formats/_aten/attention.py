"""Attention: two products with a Softmax and a Dropout between them, as our own exporter writes it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from engram.formats._aten.call import Call, Operand, Rule, Sheet

__all__ = ["TABLE"]


def _attention(sheet: Sheet, call: Call) -> str:
    query, key, value = (call.tensor(name) for name in ("query", "key", "value"))
    width = query.shape[-1] if query.rank else None
    if width is None or not width or query.rank != key.rank:
        raise call.refused("has heads of a width that is not known")
    if call.flag("enable_gqa") and query.shape[-3:-2] != key.shape[-3:-2]:
        raise call.refused("shares keys among heads, which is not read")
    factor = call.number("scale", 1 / math.sqrt(width))
    scaled = sheet.node("Mul", query.name, sheet.scalar(float(factor), query.dtype))
    axes = list(range(query.rank))
    turned = sheet.node("Transpose", key.name, perm=[*axes[:-2], axes[-1], axes[-2]])
    chances = _chances(sheet, call, sheet.node("MatMul", scaled, turned))
    share = call.number("dropout_p", 0.0)
    if share:
        chances = sheet.node("Dropout", chances, sheet.scalar(share, "float32"))
    return sheet.node("MatMul", chances, value.name)


def _chances(sheet: Sheet, call: Call, scores: str) -> str:
    query, mask = call.tensor("query"), call.maybe("attn_mask")
    allowed = mask.name if mask is not None else ""
    if call.flag("is_causal"):
        allowed = _causal(sheet, query, call.tensor("key"))
    elif mask is None:
        return sheet.node("Softmax", scores, axis=-1)
    elif mask.dtype != "bool":
        return sheet.node("Softmax", sheet.node("Add", scores, sheet.cast(mask, query.dtype)), axis=-1)
    low = sheet.scalar(-math.inf, query.dtype)
    made = sheet.node("Softmax", sheet.node("Where", allowed, scores, low), axis=-1)
    # a row that may look at nothing sees nothing, where a Softmax of nothing but -inf is no number
    return sheet.node("Where", sheet.node("IsNaN", made), sheet.scalar(0.0, query.dtype), made)


def _causal(sheet: Sheet, query: Operand, key: Operand) -> str:
    """Which steps a step may look at: itself and those before."""
    shape = sheet.lengths([sheet.length(part, part.rank - 2) for part in (query, key)])
    ones = sheet.node("Expand", sheet.constant(1, "int64"), shape)
    return sheet.cast(sheet.node("Trilu", ones, upper=0), "bool")


TABLE: Mapping[str, Rule] = {
    "_scaled_dot_product_attention_math": _attention,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "scaled_dot_product_attention": _attention,
}
