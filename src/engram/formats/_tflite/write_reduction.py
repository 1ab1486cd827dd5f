"""Operators that look along axes: reductions, the softmaxes, and the normalizations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engram.errors import ConversionError
from engram.formats._tflite.draft import Layout, natural, turned
from engram.formats._tflite.write_elementwise import Sum
from engram.formats._tflite.write_folding import absorb_scale
from engram.formats._tflite.writing import Write, Writing
from engram.graphs.walk import Step

__all__ = ["TABLE"]

_KINDS = {
    "ReduceMean": "MEAN", "ReduceSum": "SUM", "ReduceMax": "REDUCE_MAX", "ReduceMin": "REDUCE_MIN",
    "ReduceProd": "REDUCE_PROD",
}  # fmt: skip


def _axes(node: Step, writing: Writing) -> list[int] | None:
    """The axes a node reduces; None where it leaves its input alone."""
    rank = len(writing.shape(node.inputs[0]))
    given = writing.option(node, 1, "the axes")
    chosen = node.attributes.get("axes") if given is None else given.reshape(-1).tolist()
    if not chosen:
        return None if node.attributes.get("noop_with_empty_axes", 0) else list(range(rank))
    return sorted({int(axis) % rank for axis in chosen})


def _reduced(writing: Writing, kind: str, x: int, axes: Sequence[int], *, keep: bool) -> int:
    """A tensor reduced along some of its own axes."""
    draft = writing.draft
    shape = [1 if axis in axes else size for axis, size in enumerate(draft.shape(x)) if keep or axis not in axes]
    return draft.emit(kind, [x, draft.integers(axes)], shape, draft.dtype(x), keep_dims=keep)


def _reduce(node: Step, writing: Writing) -> None:
    axes = _axes(node, writing)
    if axes is None:
        writing.alias(node.outputs[0], node.inputs[0])
        return
    keep = bool(node.attributes.get("keepdims", 1))
    layout = writing.any_layout(node.inputs[0])
    x = writing.get(node.inputs[0], layout)
    inside = sorted(layout.index(axis) for axis in axes)
    made = _combined(node, writing, x, inside, keep)
    writing.give(node.outputs[0], made, layout if keep else _without(layout, axes))


def _without(layout: Layout, axes: Sequence[int]) -> Layout:
    left = [axis for axis in layout if axis not in axes]
    ranked = sorted(left)
    return tuple(ranked.index(axis) for axis in left)


def _combined(node: Step, writing: Writing, x: int, axes: list[int], keep: bool) -> int:
    kind = _KINDS.get(node.operator)
    if kind is not None:
        return _reduced(writing, kind, x, axes, keep=keep)
    at = Sum(writing, writing.draft.shape(x), writing.draft.dtype(x))
    if node.operator == "ReduceLogSumExp":
        return _log_sum_exp(writing, x, axes, at, keep)
    size = at("ABS", x) if node.operator == "ReduceL1" else x
    size = at("MUL", x, x) if node.operator in {"ReduceL2", "ReduceSumSquare"} else size
    total = _reduced(writing, "SUM", size, axes, keep=keep)
    after = Sum(writing, writing.draft.shape(total), writing.draft.dtype(x))
    if node.operator == "ReduceL2":
        return after("SQRT", total)
    return after("LOG", total) if node.operator == "ReduceLogSum" else total


def _log_sum_exp(writing: Writing, x: int, axes: list[int], at: Sum, keep: bool) -> int:
    top = _reduced(writing, "REDUCE_MAX", x, axes, keep=True)
    total = _reduced(writing, "SUM", at("EXP", at("SUB", x, top)), axes, keep=keep)
    after = Sum(writing, writing.draft.shape(total))
    peak = top if keep else writing.draft.reshape(top, writing.draft.shape(total))
    return after("ADD", after("LOG", total), peak)


def _softmax(kind: str) -> Write:
    def write(node: Step, writing: Writing) -> None:
        rank = len(writing.shape(node.inputs[0]))
        axis = node.attributes.get("axis", -1) % rank
        last = (*(one for one in range(rank) if one != axis), axis)
        layout = writing.layout_for(node.inputs[:1], rank, lambda one: one[-1] == axis)
        layout = layout if layout[-1] == axis else last
        options = {"beta": 1.0} if kind == "SOFTMAX" else {}
        writing.emit(kind, [writing.get(node.inputs[0], layout)], node, layout, **options)

    return write


def _arg(kind: str) -> Write:
    def write(node: Step, writing: Writing) -> None:
        if node.attributes.get("select_last_index", 0):
            raise ConversionError(f"{node.operator} {node.name!r} takes the last of equals, TFLite the first")
        rank = len(writing.shape(node.inputs[0]))
        axis = node.attributes.get("axis", 0) % rank
        layout = writing.any_layout(node.inputs[0])
        x, draft = writing.get(node.inputs[0], layout), writing.draft
        inside = layout.index(axis)
        shape = [size for place, size in enumerate(draft.shape(x)) if place != inside]
        made = draft.emit(kind, [x, draft.constant(np.array(inside, np.int32))], shape, "int64", output_type=4)
        left = _without(layout, [axis])
        keep = node.attributes.get("keepdims", 1)
        kept = turned(writing.shape(node.outputs[0]), layout) if keep else shape
        writing.give(node.outputs[0], draft.reshape(made, kept), layout if keep else left)

    return write


def _top(node: Step, writing: Writing) -> None:
    rank = len(writing.shape(node.inputs[0]))
    axis = node.attributes.get("axis", -1) % rank
    if axis != rank - 1 or not node.attributes.get("largest", 1):
        raise ConversionError(f"TopK {node.name!r} is not for the largest along the last axis, as TFLite's is")
    count = writing.fixed(node.inputs[1], f"the number of TopK {node.name!r}").reshape(())
    draft = writing.draft
    tensors = [writing.get(node.inputs[0]), draft.constant(np.array(count, np.int32))]
    shape = writing.shape(node.outputs[0])
    made = [
        draft.tensor(f"{node.name}/{n}", kind, shape) for n, kind in enumerate((writing.dtype(node.inputs[0]), "int32"))
    ]
    draft.put("TOPK_V2", tensors, made, {})
    if node.outputs[0]:
        writing.give(node.outputs[0], made[0])
    if len(node.outputs) > 1 and node.outputs[1]:
        wide = draft.emit("CAST", [made[1]], shape, "int64", in_data_type=2, out_data_type=4)
        writing.give(node.outputs[1], wide)


def _running_sum(node: Step, writing: Writing) -> None:
    rank = len(writing.shape(node.inputs[0]))
    axis = int(writing.fixed(node.inputs[1], f"the axis of CumSum {node.name!r}").reshape(())) % rank
    flags: dict[str, Any] = {name: bool(node.attributes.get(name, 0)) for name in ("exclusive", "reverse")}
    where = writing.draft.constant(np.array(axis, np.int32))
    writing.emit("CUMSUM", [writing.get(node.inputs[0]), where], node, **flags)


def _batch_norm(node: Step, writing: Writing) -> None:
    """Into the layer before where that may be, else a product and a sum."""
    scale, bias, mean, variance = (
        writing.fixed(name, f"a weight of BatchNormalization {node.name!r}").astype(np.float64)
        for name in node.inputs[1:5]
    )
    factor = scale / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    offset = (bias - mean * factor).astype(np.float32)
    factor = factor.astype(np.float32)
    writing.folded.append(node.name or node.outputs[0])
    if absorb_scale(node, writing, factor, offset):
        return
    rank = len(writing.shape(node.inputs[0]))
    layout = writing.any_layout(node.inputs[0])
    x = writing.get(node.inputs[0], layout)
    at = Sum(writing, writing.draft.shape(x))
    wide = [1] * rank
    wide[layout.index(1)] = len(factor)
    constants = [writing.draft.constant(array.reshape(wide), f"{node.outputs[0]}/norm") for array in (factor, offset)]
    made = at("MUL", x, constants[0], fused_activation_function=0)
    writing.emit("ADD", [made, constants[1]], node, layout, fused_activation_function=0)


def _standardized(writing: Writing, x: int, axes: Sequence[int], epsilon: float) -> int:
    """A tensor less its mean and over its deviation, along some of its own axes."""
    at = Sum(writing, writing.draft.shape(x))
    rest = at("SUB", x, _reduced(writing, "MEAN", x, axes, keep=True))
    spread = _reduced(writing, "MEAN", at("MUL", rest, rest), axes, keep=True)
    along = Sum(writing, writing.draft.shape(spread))
    return at("MUL", rest, along("RSQRT", along("ADD", spread, epsilon)))


def _layer_norm(node: Step, writing: Writing) -> None:
    if any(node.outputs[1:]):
        raise ConversionError(f"LayerNormalization {node.name!r} also answers its mean, which is not written")
    rank = len(writing.shape(node.inputs[0]))
    first = node.attributes.get("axis", -1) % rank
    layout = writing.any_layout(node.inputs[0])
    x = writing.get(node.inputs[0], layout)
    inside = sorted(layout.index(axis) for axis in range(first, rank))
    made = _standardized(writing, x, inside, node.attributes.get("epsilon", 1e-5))
    _scaled(node, writing, made, layout)


def _scaled(node: Step, writing: Writing, made: int, layout: Layout) -> None:
    """The learned scale and bias of a normalization, spread as ONNX spreads them."""
    rank = len(layout)
    at = Sum(writing, writing.draft.shape(made))
    made = at("MUL", made, writing.spread(node.inputs[1], rank, layout), fused_activation_function=0)
    if len(node.inputs) > 2 and node.inputs[2]:
        made = at("ADD", made, writing.spread(node.inputs[2], rank, layout), fused_activation_function=0)
    writing.give(node.outputs[0], made, layout)


def _instance_norm(node: Step, writing: Writing) -> None:
    rank = len(writing.shape(node.inputs[0]))
    layout = writing.any_layout(node.inputs[0])
    x = writing.get(node.inputs[0], layout)
    inside = sorted(layout.index(axis) for axis in range(2, rank))
    made = _standardized(writing, x, inside, node.attributes.get("epsilon", 1e-5))
    writing.give(node.outputs[0], _by_channel(node, writing, made, layout), layout)


def _by_channel(node: Step, writing: Writing, made: int, layout: Layout) -> int:
    at = Sum(writing, writing.draft.shape(made))
    wide = [1] * len(layout)
    wide[layout.index(1)] = -1
    for name, kind in zip(node.inputs[1:3], ("MUL", "ADD"), strict=True):
        array = writing.fixed(name, f"a weight of {node.operator} {node.name!r}").reshape(wide)
        made = at(kind, made, writing.draft.constant(array, name), fused_activation_function=0)
    return made


def _group_norm(node: Step, writing: Writing) -> None:
    shape, draft = writing.shape(node.inputs[0]), writing.draft
    groups = node.attributes["num_groups"]
    rest = int(np.prod(shape[1:])) // groups
    x = draft.reshape(writing.get(node.inputs[0]), (shape[0], groups, rest))
    made = _standardized(writing, x, [2], node.attributes.get("epsilon", 1e-5))
    layout = natural(len(shape))
    writing.give(node.outputs[0], _by_channel(node, writing, draft.reshape(made, shape), layout), layout)


def _lp_norm(node: Step, writing: Writing) -> None:
    """Over the length of the vector, where zero stays zero."""
    rank = len(writing.shape(node.inputs[0]))
    axis = node.attributes.get("axis", -1) % rank
    layout = writing.any_layout(node.inputs[0])
    x = writing.get(node.inputs[0], layout)
    at = Sum(writing, writing.draft.shape(x))
    two = node.attributes.get("p", 2) == 2
    total = _reduced(writing, "SUM", at("MUL", x, x) if two else at("ABS", x), [layout.index(axis)], keep=True)
    along = Sum(writing, writing.draft.shape(total))
    size = along("SQRT", total) if two else total
    writing.give(node.outputs[0], at("DIV", x, along("MAXIMUM", size, 1e-30)), layout)


TABLE: Mapping[str, Write] = {
    **dict.fromkeys(_KINDS, _reduce),
    **dict.fromkeys(("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"), _reduce),
    "Softmax": _softmax("SOFTMAX"),
    "LogSoftmax": _softmax("LOG_SOFTMAX"),
    "ArgMax": _arg("ARG_MAX"),
    "ArgMin": _arg("ARG_MIN"),
    "TopK": _top,
    "CumSum": _running_sum,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "InstanceNormalization": _instance_norm,
    "GroupNormalization": _group_norm,
    "LpNormalization": _lp_norm,
}
