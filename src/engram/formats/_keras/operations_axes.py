"""Functions of ``keras.ops`` that go along axes: they reduce them, put them in order or weigh what is on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engram.formats._keras.arguments import both, first, given, numbers_of
from engram.formats._keras.kind import Drawn, Task

__all__ = ["DRAWN"]


def _along(operator: str) -> Callable[[Task], Drawn]:
    def draw(task: Task) -> Drawn:
        value = first(task)
        axis = given(task, 1, "axis")
        return task.sheet.node(
            operator, value, axis=task.counted(-1 if axis is None else axis, task.sheet.rank(value))[0]
        )

    return draw


def _reduced(operator: str) -> Callable[[Task], Drawn]:
    def draw(task: Task) -> Drawn:
        sheet, value = task.sheet, first(task)
        if sheet.dtype(value) == "bool":
            value = sheet.cast(value, "int32")
        axis = given(task, 1, "axis")
        axes = list(range(sheet.rank(value))) if axis is None else task.counted(axis, sheet.rank(value))
        keep = bool(given(task, 2, "keepdims"))
        return sheet.node(operator, value, sheet.constant(axes, "int64"), keepdims=int(keep))

    return draw


def _any_or_all(operator: str) -> Callable[[Task], Drawn]:
    def draw(task: Task) -> Drawn:
        sheet = task.sheet
        whole = sheet.cast(sheet.cast(first(task), "bool"), "int32")
        axis = given(task, 1, "axis")
        axes = list(range(sheet.rank(whole))) if axis is None else task.counted(axis, sheet.rank(whole))
        keep = int(bool(given(task, 2, "keepdims")))
        return sheet.cast(sheet.node(operator, whole, sheet.constant(axes, "int64"), keepdims=keep), "bool")

    return draw


def _variance(task: Task) -> Drawn:
    sheet, value = task.sheet, first(task)
    axis = given(task, 1, "axis")
    axes = list(range(sheet.rank(value))) if axis is None else task.counted(axis, sheet.rank(value))
    at = sheet.constant(axes, "int64")
    apart = sheet.node("Sub", value, sheet.node("ReduceMean", value, at, keepdims=1))
    keep = int(bool(given(task, 2, "keepdims")))
    return sheet.node("ReduceMean", sheet.node("Mul", apart, apart), at, keepdims=keep)


def _deviation(task: Task) -> Drawn:
    made = _variance(task)
    assert isinstance(made, str)
    return task.sheet.node("Sqrt", made)


def _axes(task: Task, found: Any, value: str) -> list[int]:  # noqa: ANN401 - of a stranger's file
    """Axes counted from the front; all of them for none."""
    rank = task.sheet.rank(value)
    return list(range(rank)) if found is None else task.counted(found, rank)


def _moments(task: Task) -> Drawn:
    """Mean and variance."""
    sheet, value = task.sheet, first(task)
    at = sheet.constant(_axes(task, given(task, 1, "axes"), value), "int64")
    keep = int(bool(given(task, 2, "keepdims")))
    apart = sheet.node("Sub", value, sheet.node("ReduceMean", value, at, keepdims=1))
    spread = sheet.node("ReduceMean", sheet.node("Mul", apart, apart), at, keepdims=keep)
    return sheet.node("ReduceMean", value, at, keepdims=keep), spread


def _norm(task: Task) -> Drawn:
    order, value = given(task, 1, "ord"), first(task)
    axes = _axes(task, given(task, 2, "axis"), value)
    if order not in {None, "fro", 1, 2} or (order in {1, 2} and len(axes) > 1):
        raise task.refused(f"has ord = {order!r} over {len(axes)} axes, which is not read")
    keep = int(bool(given(task, 3, "keepdims")))
    operator = "ReduceL1" if order == 1 else "ReduceL2"
    return task.sheet.node(operator, value, task.sheet.constant(axes, "int64"), keepdims=keep)


def _normalized(task: Task) -> Drawn:
    sheet, value = task.sheet, first(task)
    order, least = given(task, 2, "order"), given(task, 3, "epsilon")
    if order not in {None, 2} or type(least or 0.0) not in {int, float}:
        raise task.refused(f"has order = {order!r}, which is not read")
    axis = given(task, 1, "axis")
    at = sheet.constant(task.counted(-1 if axis is None else axis, sheet.rank(value)), "int64")
    squares = sheet.node("ReduceSumSquare", value, at, keepdims=1)
    bound = sheet.like((1e-7 if least is None else float(least)) ** 2, value)
    return sheet.node("Div", value, sheet.node("Sqrt", sheet.node("Max", squares, bound)))


def _cumulated(task: Task) -> Drawn:
    sheet, value, axis = task.sheet, first(task), given(task, 1, "axis")
    if axis is None:
        value, axis = sheet.reshaped(value, [-1]), 0
    return sheet.node("CumSum", value, sheet.constant(task.counted(axis, sheet.rank(value))[0], "int64"))


def _sorted(place: int) -> Callable[[Task], Drawn]:
    """Numbers along an axis from the smallest on, or where they stood."""

    def draw(task: Task) -> Drawn:
        sheet, value, axis = task.sheet, first(task), given(task, 1, "axis")
        at = task.counted(-1 if axis is None else axis, sheet.rank(value))[0]
        length = sheet.shape(value)[at]
        if length is None:
            raise task.refused("puts an axis of unknown length in order")
        many = sheet.constant([length], "int64")
        made = sheet.nodes("TopK", value, many, outputs=2, axis=at, largest=0)[place]
        return sheet.cast(made, "int32") if place else made

    return draw


def _top(task: Task) -> Drawn:
    sheet = task.sheet
    many = numbers_of(task, given(task, 1, "k"))
    made, places = sheet.nodes("TopK", first(task), sheet.constant(many, "int64"), outputs=2, axis=-1)
    return made, sheet.cast(places, "int32")


def _dot(task: Task) -> Drawn:
    """NumPy's: the last axis with the last but one."""
    one, other = both(task)
    if task.sheet.rank(other) > 2 or not task.sheet.rank(one) or not task.sheet.rank(other):
        raise task.refused("multiplies tensors of more axes than are read")
    return task.sheet.node("MatMul", one, other)


def _pooled(operator: str) -> Callable[[Task], Drawn]:
    def draw(task: Task) -> Drawn:
        sheet, value = task.sheet, first(task)
        count = sheet.rank(value) - 2
        sizes, strides = given(task, 1, "pool_size"), given(task, 2, "strides")
        sizes, strides = (
            numbers_of(task, one if isinstance(one, list) else [one] * count)
            for one in (sizes, sizes if strides is None else strides)
        )
        padding, form = given(task, 3, "padding") or "valid", given(task, 4, "data_format") or "channels_last"
        if padding not in {"valid", "same"} or len(sizes) != count or len(strides) != count or min(sizes + strides) < 1:
            raise task.refused(f"pools {sizes} with padding = {padding!r}, which is not read")
        last = form == "channels_last"
        value = sheet.turned(value, [0, count + 1, *range(1, count + 1)]) if last else value
        more = {"auto_pad": "SAME_UPPER" if padding == "same" else "VALID"}
        made = sheet.node(operator, value, kernel_shape=sizes, strides=strides, **more)
        return sheet.turned(made, [0, *range(2, count + 2), 1]) if last else made

    return draw


def _arg(operator: str) -> Callable[[Task], Drawn]:
    def draw(task: Task) -> Drawn:
        sheet, value = task.sheet, first(task)
        axis = given(task, 1, "axis")
        if axis is None:
            value, axis = sheet.reshaped(value, [-1]), 0
        keep = int(bool(given(task, 2, "keepdims")))
        at = task.counted(axis, sheet.rank(value))[0]
        return sheet.cast(sheet.node(operator, value, axis=at, keepdims=keep), "int32")

    return draw


def _einsum(task: Task) -> Drawn:
    operands = [one for one in task.arguments if isinstance(one, str)]
    equation = task.settings.get("subscripts")
    if not isinstance(equation, str):
        raise task.refused("has no subscripts")
    return task.sheet.node("Einsum", *operands, equation=equation.replace(" ", ""))


def _matmul(task: Task) -> Drawn:
    return task.sheet.node("MatMul", *both(task))


def _one_hot(task: Task) -> Drawn:
    sheet, value = task.sheet, first(task)
    many = numbers_of(task, given(task, 1, "num_classes"))[0]
    axis = given(task, 2, "axis")
    kind = str(task.settings.get("dtype") or "float32")
    columns = sheet.constant([0, 1], kind)
    return sheet.node(
        "OneHot", sheet.cast(value, "int64"), sheet.constant(many, "int64"), columns, axis=-1 if axis is None else axis
    )


_REDUCED = {
    "Amax": "ReduceMax", "Amin": "ReduceMin", "Logsumexp": "ReduceLogSumExp", "Max": "ReduceMax", "Mean": "ReduceMean",
    "Min": "ReduceMin", "Prod": "ReduceProd", "Sum": "ReduceSum",
}  # fmt: skip

DRAWN: Mapping[str, Callable[[Task], Drawn]] = {
    **{name: _reduced(operator) for name, operator in _REDUCED.items()},
    "All": _any_or_all("ReduceMin"),
    "Any": _any_or_all("ReduceMax"),
    "Argmax": _arg("ArgMax"),
    "Argmin": _arg("ArgMin"),
    "Argsort": _sorted(1),
    "AveragePool": _pooled("AveragePool"),
    "Cumsum": _cumulated,
    "Dot": _dot,
    "Einsum": _einsum,
    "LogSoftmax": _along("LogSoftmax"),
    "Matmul": _matmul,
    "MaxPool": _pooled("MaxPool"),
    "Moments": _moments,
    "Norm": _norm,
    "Normalize": _normalized,
    "OneHot": _one_hot,
    "Softmax": _along("Softmax"),
    "Sort": _sorted(0),
    "Std": _deviation,
    "TopK": _top,
    "Var": _variance,
}
