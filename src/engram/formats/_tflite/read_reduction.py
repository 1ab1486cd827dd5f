"""Operators that look along an axis: reductions, the place of the largest, running sums.

Axes are said of the tensor as it lies in the file, so a reduction that keeps its axes may be made in any layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnx import TensorProto

from engram.formats._tflite.parts import Operator
from engram.formats._tflite.reading import Layout, Read, Reading, code_of

__all__ = ["TABLE"]

_KINDS = {
    "MEAN": "ReduceMean", "SUM": "ReduceSum", "REDUCE_MAX": "ReduceMax", "REDUCE_MIN": "ReduceMin",
    "REDUCE_PROD": "ReduceProd", "REDUCE_ANY": "ReduceMax", "REDUCE_ALL": "ReduceMin",
}  # fmt: skip
_LOGICAL = {"REDUCE_ANY", "REDUCE_ALL"}


def _reduce(operator: Operator, reading: Reading) -> None:
    x = operator.inputs[0]
    rank = max(reading.rank(x), 1)
    axes = [int(axis) % rank for axis in reading.fixed(operator.inputs[1], f"the axes of {operator.kind}").reshape(-1)]
    keep = int(bool(operator.options.get("keep_dims", 0)))
    layout = _there(reading, x) if keep else None
    inside = axes if layout is None else [layout.index(axis) for axis in axes]
    value = reading.get(x, layout)
    if operator.kind in _LOGICAL:
        value = reading.node("Cast", value, to=TensorProto.INT32)
    made = reading.node(_KINDS[operator.kind], value, reading.constant(sorted(inside)), keepdims=keep)
    if operator.kind in _LOGICAL:
        made = reading.node("Cast", made, to=TensorProto.BOOL)
    reading.finish(operator, made, layout)


def _there(reading: Reading, number: int) -> Layout | None:
    found = reading.layouts(number)
    natural = tuple(range(reading.rank(number)))
    return None if not found or natural in found else next(iter(found))


def _arg(operator: Operator, reading: Reading) -> None:
    x = operator.inputs[0]
    axis = int(reading.fixed(operator.inputs[1], f"the axis of {operator.kind}").reshape(-1)[0])
    made = reading.node("ArgMax" if operator.kind == "ARG_MAX" else "ArgMin", reading.get(x), axis=axis, keepdims=0)
    kind = reading.tensor(operator.outputs[0]).type
    reading.finish(operator, made if kind == "INT64" else reading.node("Cast", made, to=code_of(kind)))


def _top(operator: Operator, reading: Reading) -> None:
    x, count = operator.inputs
    number = reading.fixed(count, "the number of TOPK_V2").reshape(-1)[:1]
    names = [reading.shared.unique(one) for one in ("largest", "places")]
    reading.many("TopK", reading.get(x), reading.constant(number), names=names, axis=-1)
    reading.give(operator.outputs[0], names[0])
    if len(operator.outputs) > 1:
        kind = reading.tensor(operator.outputs[1]).type
        reading.give(operator.outputs[1], reading.node("Cast", names[1], to=code_of(kind)))


def _running_sum(operator: Operator, reading: Reading) -> None:
    x, axis = operator.inputs
    where = reading.constant(int(reading.fixed(axis, "the axis of CUMSUM").reshape(-1)[0]))
    flags: dict[str, Any] = {name: int(bool(operator.options.get(name, 0))) for name in ("exclusive", "reverse")}
    reading.put("CumSum", operator, reading.get(x), where, **flags)


TABLE: Mapping[str, Read] = {
    **dict.fromkeys(_KINDS, _reduce),
    "ARG_MAX": _arg,
    "ARG_MIN": _arg,
    "TOPK_V2": _top,
    "CUMSUM": _running_sum,
}
