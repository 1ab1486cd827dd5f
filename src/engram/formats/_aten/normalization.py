"""Operators that normalize, and those that make shares of a whole out of any numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from engram.formats._aten.call import Call, Operand, Rule, Sheet

__all__ = ["TABLE"]


def _batch_norm(sheet: Sheet, call: Call) -> str:
    """As it answers when serving, also where the file was made while training: its statistics are what was learned."""
    value, mean, variance = call.tensor("input"), call.maybe("running_mean"), call.maybe("running_var")
    if mean is None or variance is None:
        raise call.refused("keeps no statistics, which no node of ONNX does; set track_running_stats")
    width = value.shape[1] if value.rank > 1 else None
    scale = _or_filled(sheet, call.maybe("weight"), width, (1.0, value.dtype), call)
    shift = _or_filled(sheet, call.maybe("bias"), width, (0.0, value.dtype), call)
    said = {"epsilon": float(call.number("eps", 1e-5))}
    if call.arguments.get("momentum") is not None:
        said["momentum"] = 1 - float(call.number("momentum"))
    return sheet.node("BatchNormalization", value.name, scale, shift, mean.name, variance.name, **said)


def _or_filled(sheet: Sheet, given: Operand | None, width: int | None, fill: tuple[float, str], call: Call) -> str:
    if given is not None:
        return given.name
    if width is None or width > 2**20:
        raise call.refused("normalizes channels of which the number is not known")
    return sheet.constant(np.full(width, fill[0]), fill[1])


def _layer_norm(sheet: Sheet, call: Call) -> str:
    value, lengths = call.tensor("input"), call.wholes("normalized_shape")
    count = len(lengths)
    if not 0 < count <= value.rank or max(lengths) > 2**20:
        raise call.refused("normalizes axes that are not there")
    weight, bias = call.maybe("weight"), call.maybe("bias")
    scale = weight.name if weight else sheet.constant(np.ones(lengths), value.dtype)
    return sheet.node(
        "LayerNormalization", value.name, scale, bias.name if bias else "",
        axis=-count, epsilon=float(call.number("eps", 1e-5)),
    )  # fmt: skip


def _rms_norm(sheet: Sheet, call: Call) -> str:
    value, count = call.tensor("input"), len(call.wholes("normalized_shape"))
    if not 0 < count <= value.rank:
        raise call.refused("normalizes axes that are not there")
    eps = call.number("eps", float(np.finfo("float32").eps))
    square = sheet.node("Mul", value.name, value.name)
    mean = sheet.node("ReduceMean", square, sheet.wholes(*range(-count, 0)), keepdims=1)
    root = sheet.node("Sqrt", sheet.node("Add", mean, sheet.scalar(eps, value.dtype)))
    made, weight = sheet.node("Div", value.name, root), call.maybe("weight")
    return sheet.node("Mul", made, weight.name) if weight else made


def _group_norm(sheet: Sheet, call: Call) -> str:
    value = call.tensor("input")
    groups = call.whole("num_groups") if "num_groups" in call.arguments else call.whole("group")
    width = value.shape[1] if value.rank > 1 else None
    if width is None or groups < 1 or width % groups:
        raise call.refused(f"parts {width} channels into {groups} groups")
    shape = sheet.node("Shape", value.name)
    parted = sheet.node("Reshape", value.name, sheet.wholes(0, groups, -1))
    normal = [sheet.constant(np.full(groups, fill), value.dtype) for fill in (1.0, 0.0)]
    made = sheet.node("InstanceNormalization", parted, *normal, epsilon=float(call.number("eps", 1e-5)))
    made = sheet.node("Reshape", made, shape)
    return _scaled(sheet, made, (call.maybe("weight"), call.maybe("bias")), value.rank)


def _scaled(sheet: Sheet, value: str, factors: Sequence[Operand | None], rank: int) -> str:
    """A value times the first plus the second, a number a channel."""
    for kind, factor in zip(("Mul", "Add"), factors, strict=True):
        if factor is not None:
            raised = (
                sheet.node("Unsqueeze", factor.name, sheet.wholes(*range(1, rank - 1))) if rank > 2 else factor.name
            )
            value = sheet.node(kind, value, raised)
    return value


def _instance_norm(sheet: Sheet, call: Call) -> str:
    value = call.tensor("input")
    if not call.flag("use_input_stats", default=True):
        return _batch_norm(sheet, call)
    width = value.shape[1] if value.rank > 1 else None
    scale = _or_filled(sheet, call.maybe("weight"), width, (1.0, value.dtype), call)
    shift = _or_filled(sheet, call.maybe("bias"), width, (0.0, value.dtype), call)
    return sheet.node("InstanceNormalization", value.name, scale, shift, epsilon=float(call.number("eps", 1e-5)))


def _shares(kind: str) -> Rule:
    def rule(sheet: Sheet, call: Call) -> str:
        value = call.tensor("self")
        axis = call.axis(value.rank)
        last = axis == value.rank - 1  # said as such, because that holds for any number of axes
        return sheet.node(kind, sheet.cast(value, call.result.dtype), axis=-1 if last else axis)

    return rule


TABLE: Mapping[str, Rule] = {
    **dict.fromkeys(("_batch_norm_no_update", "_batch_norm_with_update", "_batch_norm_with_update_functional",
                     "_native_batch_norm_legit", "_native_batch_norm_legit_functional",
                     "_native_batch_norm_legit_no_training", "batch_norm", "cudnn_batch_norm", "native_batch_norm"),
                    _batch_norm),
    **dict.fromkeys(("_log_softmax", "log_softmax", "special_log_softmax"), _shares("LogSoftmax")),
    **dict.fromkeys(("_safe_softmax", "_softmax", "softmax", "special_softmax"), _shares("Softmax")),
    **dict.fromkeys(("_fused_rms_norm", "rms_norm"), _rms_norm),
    **dict.fromkeys(("layer_norm", "native_layer_norm"), _layer_norm),
    **dict.fromkeys(("group_norm", "native_group_norm"), _group_norm),
    "instance_norm": _instance_norm,
}  # fmt: skip
