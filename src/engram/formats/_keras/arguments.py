"""What a function of ``keras.ops`` is called with.

Keras writes some arguments into the config of an operation and some into its call, and which is which differs by
function. Here both are looked at: the call first, by place and by name.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engram.formats._keras.kind import Task

__all__ = ["both", "first", "given", "numbers_of", "several", "tensor"]


def given(task: Task, place: int, *keys: str) -> Any:  # noqa: ANN401 - of a stranger's file
    """An argument, by its place in the call, its name in it, or its name in the config; None if it is nowhere."""
    if place < len(task.arguments):
        return task.arguments[place]
    for key in keys:
        for where in (task.named, task.settings):
            if where.get(key) is not None:
                return where[key]
    return None


def tensor(task: Task, found: Any, like: str = "") -> str:  # noqa: ANN401 - of a stranger's file
    """An argument as a value: a tensor, or a number of the type of another."""
    if isinstance(found, str):
        return found
    try:
        array = np.asarray(found)
    except (TypeError, ValueError) as wrong:
        raise task.refused(f"takes {str(found)[:60]!r}, which is no tensor") from wrong
    if array.dtype.kind not in "biuf":
        raise task.refused(f"takes {str(found)[:60]!r}, which is no tensor")
    if like and not (array.dtype.kind == "f" and not task.sheet.dtype(like).startswith("float")):
        return task.sheet.like(array, like)
    return task.sheet.constant(array)


def both(task: Task) -> tuple[str, str]:
    """Both operands, in one type."""
    sheet = task.sheet
    found = (given(task, 0, "x1", "x", "x1"), given(task, 1, "x2", "y", "x2"))
    known = next((one for one in found if isinstance(one, str)), "")
    one, other = (tensor(task, value, known) for value in found)
    kinds = [sheet.dtype(value) for value in (one, other)]
    if kinds[0] == kinds[1]:
        return one, other
    common = np.result_type(*(np.dtype(kind) for kind in kinds)).name
    common = "float32" if common == "float64" and "float64" not in kinds else common
    return sheet.cast(one, common), sheet.cast(other, common)


def first(task: Task) -> str:
    """The tensor that is worked on."""
    return tensor(task, given(task, 0, "x", "inputs"))


def several(task: Task) -> list[str]:
    """The tensors that are joined."""
    found = given(task, 0, "xs", "arrays")
    listed = found if isinstance(found, list) else [found]
    known = next((one for one in listed if isinstance(one, str)), "")
    return [tensor(task, one, known) for one in listed]


def numbers_of(task: Task, found: Any) -> list[int]:  # noqa: ANN401 - of a stranger's file
    """An argument of whole numbers, or of one."""
    numbers = found if isinstance(found, list) else [found]
    if not all(type(number) is int and abs(number) < 2**31 for number in numbers):
        raise task.refused(f"takes {str(found)[:60]!r}, where whole numbers are needed")
    return numbers
