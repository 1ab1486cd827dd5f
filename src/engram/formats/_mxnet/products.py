"""Products of matrices, alone or one for each row of a batch."""

from __future__ import annotations

from collections.abc import Mapping

from engram.formats._mxnet.task import Draw, Drawn, Task

__all__ = ["TABLE"]


def _turned_pair(task: Task) -> tuple[str, str]:
    made = []
    for place, key in enumerate(("transpose_a", "transpose_b")):
        value = task.value(place)
        rank = task.sheet.rank(value)
        order = [*range(rank - 2), rank - 1, rank - 2]
        made.append(task.sheet.turned(value, order) if task.truth(key) and rank > 1 else value)
    return made[0], made[1]


def _dot(task: Task) -> Drawn:
    if task.sheet.rank(task.value(1)) > 2 or (task.truth("transpose_a") and task.sheet.rank(task.value()) != 2):
        raise task.refused("is a product over more than two axes, which is not read")
    return task.sheet.node("MatMul", *_turned_pair(task))


def _batch_dot(task: Task) -> Drawn:
    made = task.sheet.node("MatMul", *_turned_pair(task))
    scale = task.number("alpha", 1.0)
    return made if scale == 1.0 else task.sheet.node("Mul", made, task.sheet.like(scale, made))


TABLE: Mapping[str, Draw] = {
    "dot": _dot,
    "batch_dot": _batch_dot,
    "_linalg_gemm2": _batch_dot,
    "linalg_gemm2": _batch_dot,
}
