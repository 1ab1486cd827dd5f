"""Operators that make one number of many: sums, means, norms, and the places of the largest."""

from __future__ import annotations

from collections.abc import Mapping

from engram.formats._mxnet.task import Draw, Drawn, Task

__all__ = ["TABLE"]

_OPERATORS = {
    "sum": "ReduceSum", "sum_axis": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "max_axis": "ReduceMax",
    "min": "ReduceMin", "min_axis": "ReduceMin", "prod": "ReduceProd",
}  # fmt: skip


def _axes(task: Task) -> list[int]:
    rank = task.sheet.rank(task.value())
    found = () if task.said("axis", None) is None else task.wholes("axis")
    if any(not -rank <= axis < rank for axis in found):
        raise task.refused(f"has the axes {found}, but there are {rank}")
    axes = {axis % rank for axis in found}
    if task.truth("exclude"):
        axes = set(range(rank)) - axes
    return sorted(axes) or list(range(rank))


def _reduced(task: Task, operator: str) -> Drawn:
    """What is left of all axes has one in MXNet, of length 1."""
    sheet, axes, kept = task.sheet, _axes(task), task.truth("keepdims")
    made = sheet.node(operator, task.value(), sheet.constant(axes, "int64"), keepdims=int(kept))
    return sheet.reshaped(made, [1]) if len(axes) == sheet.rank(task.value()) and not kept else made


def _reduction(operator: str) -> Draw:
    return lambda task: _reduced(task, operator)


def _norm(task: Task) -> Drawn:
    order = task.whole("ord", 2)
    if order not in {1, 2}:
        raise task.refused(f"is of order {order}, which is not read")
    return _reduced(task, f"ReduceL{order}")


def _place(operator: str) -> Draw:
    """MXNet answers with a place as a floating number."""

    def draw(task: Task) -> Drawn:
        sheet, value = task.sheet, task.value()
        if task.said("axis", None) is None:
            raise task.refused("looks through all axes at once, which is not read")
        axis = task.axis("axis", 0, sheet.rank(value))
        return sheet.cast(sheet.node(operator, value, axis=axis, keepdims=int(task.truth("keepdims"))), "float32")

    return draw


TABLE: Mapping[str, Draw] = {
    **{name: _reduction(operator) for name, operator in _OPERATORS.items()},
    "norm": _norm,
    "argmax": _place("ArgMax"),
    "argmin": _place("ArgMin"),
}
