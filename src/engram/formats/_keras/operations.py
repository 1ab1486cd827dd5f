"""Functions of ``keras.ops`` inside functional models, where ONNX has them.

Keras writes some arguments into the config of an operation and some into its call, and which is which differs by
function. Here both are looked at: the call first, by place and by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from engram.formats._keras.activations import activation
from engram.formats._keras.kind import Drawn, Kind, Task
from engram.graphs.build import element_type

__all__ = ["OPERATIONS"]

_END = 2**62


def _given(task: Task, place: int, *keys: str) -> Any:  # noqa: ANN401 - of a stranger's file
    """An argument, by its place in the call, its name in it, or its name in the config; None if it is nowhere."""
    if place < len(task.arguments):
        return task.arguments[place]
    for key in keys:
        for where in (task.named, task.settings):
            if where.get(key) is not None:
                return where[key]
    return None


def _tensor(task: Task, found: Any, like: str = "") -> str:  # noqa: ANN401 - of a stranger's file
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


def _two(task: Task) -> tuple[str, str]:
    """Both operands, in one type."""
    sheet = task.sheet
    found = (_given(task, 0, "x1", "x", "x1"), _given(task, 1, "x2", "y", "x2"))
    known = next((one for one in found if isinstance(one, str)), "")
    one, other = (_tensor(task, value, known) for value in found)
    kinds = [sheet.dtype(value) for value in (one, other)]
    if kinds[0] == kinds[1]:
        return one, other
    common = np.result_type(*(np.dtype(kind) for kind in kinds)).name
    common = "float32" if common == "float64" and "float64" not in kinds else common
    return sheet.cast(one, common), sheet.cast(other, common)


def _unary(operator: str, **more: Any) -> Callable[[Task], Drawn]:  # noqa: ANN401 - any attribute
    return lambda task: task.sheet.node(operator, _real(task), **more)


def _real(task: Task) -> str:
    return _tensor(task, _given(task, 0, "x", "inputs"))


def _binary(operator: str) -> Callable[[Task], Drawn]:
    return lambda task: task.sheet.node(operator, *_two(task))


def _divide(task: Task) -> Drawn:
    one, other = (
        value if task.sheet.dtype(value).startswith("float") else task.sheet.cast(value, "float32")
        for value in _two(task)
    )
    return task.sheet.node("Div", one, other)


def _not_equal(task: Task) -> Drawn:
    return task.sheet.node("Not", task.sheet.node("Equal", *_two(task)))


def _floor_divide(task: Task) -> Drawn:
    one, other = _two(task)
    if not task.sheet.dtype(one).startswith("float"):
        raise task.refused("divides whole numbers downwards, which is not read")
    return task.sheet.node("Floor", task.sheet.node("Div", one, other))


def _composed(*operators: str) -> Callable[[Task], Drawn]:
    def draw(task: Task) -> Drawn:
        value = _real(task)
        for operator in operators:
            value = task.sheet.node(operator, value)
        return value

    return draw


def _log1p(task: Task) -> Drawn:
    value = _real(task)
    return task.sheet.node("Log", task.sheet.node("Add", value, task.sheet.like(1.0, value)))


def _expm1(task: Task) -> Drawn:
    made = task.sheet.node("Exp", _real(task))
    return task.sheet.node("Sub", made, task.sheet.like(1.0, made))


def _square(task: Task) -> Drawn:
    value = _real(task)
    return task.sheet.node("Mul", value, value)


def _activated(name: str) -> Callable[[Task], Drawn]:
    return lambda task: activation(task.sheet, name, _real(task))


def _gelu(task: Task) -> Drawn:
    near = _given(task, 1, "approximate")
    return task.sheet.node("Gelu", _real(task), approximate="tanh" if near or near is None else "none")


def _sloped(operator: str, key: str, default: float) -> Callable[[Task], Drawn]:
    def draw(task: Task) -> Drawn:
        slope = _given(task, 1, key, "alpha")
        return task.sheet.node(operator, _real(task), alpha=float(default if slope is None else slope))

    return draw


def _along(operator: str) -> Callable[[Task], Drawn]:
    def draw(task: Task) -> Drawn:
        value = _real(task)
        axis = _given(task, 1, "axis")
        return task.sheet.node(
            operator, value, axis=task.counted(-1 if axis is None else axis, task.sheet.rank(value))[0]
        )

    return draw


def _reduced(operator: str) -> Callable[[Task], Drawn]:
    def draw(task: Task) -> Drawn:
        sheet, value = task.sheet, _real(task)
        if sheet.dtype(value) == "bool":
            value = sheet.cast(value, "int32")
        axis = _given(task, 1, "axis")
        axes = list(range(sheet.rank(value))) if axis is None else task.counted(axis, sheet.rank(value))
        keep = bool(_given(task, 2, "keepdims"))
        return sheet.node(operator, value, sheet.constant(axes, "int64"), keepdims=int(keep))

    return draw


def _any_or_all(operator: str) -> Callable[[Task], Drawn]:
    def draw(task: Task) -> Drawn:
        sheet = task.sheet
        whole = sheet.cast(sheet.cast(_real(task), "bool"), "int32")
        axis = _given(task, 1, "axis")
        axes = list(range(sheet.rank(whole))) if axis is None else task.counted(axis, sheet.rank(whole))
        keep = int(bool(_given(task, 2, "keepdims")))
        return sheet.cast(sheet.node(operator, whole, sheet.constant(axes, "int64"), keepdims=keep), "bool")

    return draw


def _variance(task: Task) -> Drawn:
    sheet, value = task.sheet, _real(task)
    axis = _given(task, 1, "axis")
    axes = list(range(sheet.rank(value))) if axis is None else task.counted(axis, sheet.rank(value))
    at = sheet.constant(axes, "int64")
    apart = sheet.node("Sub", value, sheet.node("ReduceMean", value, at, keepdims=1))
    keep = int(bool(_given(task, 2, "keepdims")))
    return sheet.node("ReduceMean", sheet.node("Mul", apart, apart), at, keepdims=keep)


def _deviation(task: Task) -> Drawn:
    made = _variance(task)
    assert isinstance(made, str)
    return task.sheet.node("Sqrt", made)


def _arg(operator: str) -> Callable[[Task], Drawn]:
    def draw(task: Task) -> Drawn:
        sheet, value = task.sheet, _real(task)
        axis = _given(task, 1, "axis")
        if axis is None:
            value, axis = sheet.reshaped(value, [-1]), 0
        keep = int(bool(_given(task, 2, "keepdims")))
        at = task.counted(axis, sheet.rank(value))[0]
        return sheet.cast(sheet.node(operator, value, axis=at, keepdims=keep), "int32")

    return draw


def _list(task: Task, found: Any) -> list[int]:  # noqa: ANN401 - of a stranger's file
    numbers = found if isinstance(found, list) else [found]
    if not all(type(number) is int and abs(number) < 2**31 for number in numbers):
        raise task.refused(f"takes {str(found)[:60]!r}, where whole numbers are needed")
    return numbers


def _reshape(task: Task) -> Drawn:
    found = _given(task, 1, "newshape", "target_shape", "shape")
    sizes = found if isinstance(found, list) else [found]
    return task.sheet.reshaped(_real(task), _list(task, [-1 if size is None else size for size in sizes]))


def _transpose(task: Task) -> Drawn:
    value = _real(task)
    axes = _given(task, 1, "axes")
    order = list(reversed(range(task.sheet.rank(value)))) if axes is None else _list(task, axes)
    if sorted(order) != list(range(task.sheet.rank(value))):
        raise task.refused(f"has axes = {order}, which is no order of {task.sheet.rank(value)} axes")
    return task.sheet.turned(value, order)


def _swapped(task: Task) -> Drawn:
    value = _real(task)
    rank = task.sheet.rank(value)
    one, other = (task.counted(_given(task, place, f"axis{place}"), rank)[0] for place in (1, 2))
    order = list(range(rank))
    order[one], order[other] = other, one
    return task.sheet.turned(value, order)


def _expanded(task: Task) -> Drawn:
    return task.sheet.node("Unsqueeze", _real(task), task.sheet.constant(_list(task, _given(task, 1, "axis")), "int64"))


def _squeezed(task: Task) -> Drawn:
    value, axis = _real(task), _given(task, 1, "axis")
    if axis is None:
        axis = [place for place, length in enumerate(task.sheet.shape(value)) if length == 1]
    return task.sheet.node("Squeeze", value, task.sheet.constant(_list(task, axis), "int64"))


def _several(task: Task) -> list[str]:
    found = _given(task, 0, "xs", "arrays")
    listed = found if isinstance(found, list) else [found]
    known = next((one for one in listed if isinstance(one, str)), "")
    return [_tensor(task, one, known) for one in listed]


def _concatenate(task: Task) -> Drawn:
    values = _several(task)
    axis = _given(task, 1, "axis")
    return task.sheet.node(
        "Concat", *values, axis=task.counted(-1 if axis is None else axis, task.sheet.rank(values[0]))[0]
    )


def _stack(task: Task) -> Drawn:
    sheet, values = task.sheet, _several(task)
    axis = task.counted(_given(task, 1, "axis") or 0, sheet.rank(values[0]) + 1)[0]
    wide = [sheet.node("Unsqueeze", value, sheet.constant([axis], "int64")) for value in values]
    return sheet.node("Concat", *wide, axis=axis)


def _split(task: Task) -> Drawn:
    sheet, value = task.sheet, _real(task)
    axis = task.counted(_given(task, 2, "axis") or 0, sheet.rank(value))[0]
    found = _given(task, 1, "indices_or_sections")
    length = sheet.shape(value)[axis]
    if length is None:
        raise task.refused("splits an axis of unknown length")
    if isinstance(found, list):
        bounds = [0, *_list(task, found), length]
        sizes = [end - begin for begin, end in pairwise(bounds)]
    else:
        many = _list(task, found)[0]
        if many < 1 or length % many:
            raise task.refused(f"cannot split {length} into {many}")
        sizes = [length // many] * many
    if min(sizes) < 0 or len(sizes) > length + 1:
        raise task.refused(f"cannot split {length} at {found}")
    return sheet.nodes("Split", value, sheet.constant(sizes, "int64"), outputs=len(sizes), axis=axis)


def _item(task: Task) -> Drawn:
    """``x[…]`` with numbers, slices, nothing and an ellipsis."""
    sheet, value = task.sheet, _real(task)
    axis, dropped, added = 0, list[int](), list[int]()
    for one in _keys(task, sheet.rank(value)):
        if one is None:
            added.append(axis - len(dropped) + len(added))
            continue
        if isinstance(one, slice):
            value = _sliced(task, value, axis, one)
        else:
            value = sheet.cut(value, axis, one, one + 1 if one != -1 else _END)
            dropped.append(axis)
        axis += 1
    if dropped:
        value = sheet.node("Squeeze", value, sheet.constant(dropped, "int64"))
    return sheet.node("Unsqueeze", value, sheet.constant(added, "int64")) if added else value


def _keys(task: Task, rank: int) -> list[int | slice | None]:
    """What stands between the brackets, with whole axes in the place of an ellipsis."""
    key = _given(task, 1, "key")
    found: list[int | slice | None] = []
    listed = key if isinstance(key, list) else [key]
    used = sum(type(one) is int or isinstance(one, slice) for one in listed)
    for one in listed:
        if one is Ellipsis:
            found += [slice(None)] * (rank - used)
        elif one is None or type(one) is int or isinstance(one, slice):
            found.append(one)
        else:
            raise task.refused(f"is indexed by {str(one)[:40]!r}, which is not read")
    return found


def _sliced(task: Task, value: str, axis: int, key: slice) -> str:
    if key == slice(None):
        return value
    step = 1 if key.step is None else key.step
    start = (0 if step > 0 else -1) if key.start is None else key.start
    stop = (_END if step > 0 else -_END) if key.stop is None else key.stop
    if not all(type(number) is int for number in (start, stop, step)) or not step:
        raise task.refused("is cut at tensors or by no steps, which is not read")
    return task.sheet.cut(value, axis, start, stop, step)


def _cast(task: Task) -> Drawn:
    kind = _given(task, 1, "dtype")
    try:
        number = element_type(str(kind))
    except ValueError as wrong:
        raise task.refused(f"casts to {kind!r}, which is no type") from wrong
    return task.sheet.node("Cast", _real(task), to=number)


def _clip(task: Task) -> Drawn:
    sheet, value = task.sheet, _real(task)
    bounds = [_tensor(task, _given(task, place, key), value) for place, key in ((1, "x_min"), (2, "x_max"))]
    return sheet.node("Min", sheet.node("Max", value, bounds[0]), bounds[1])


def _where(task: Task) -> Drawn:
    sheet = task.sheet
    found = [_given(task, 1, "x1"), _given(task, 2, "x2")]
    known = next((one for one in found if isinstance(one, str)), "")
    one, other = (_tensor(task, value, known) for value in found)
    return sheet.node("Where", sheet.cast(_tensor(task, _given(task, 0, "condition")), "bool"), one, other)


def _einsum(task: Task) -> Drawn:
    operands = [one for one in task.arguments if isinstance(one, str)]
    equation = task.settings.get("subscripts")
    if not isinstance(equation, str):
        raise task.refused("has no subscripts")
    return task.sheet.node("Einsum", *operands, equation=equation.replace(" ", ""))


def _matmul(task: Task) -> Drawn:
    return task.sheet.node("MatMul", *_two(task))


def _flip(task: Task) -> Drawn:
    value = _real(task)
    axis = _given(task, 1, "axis")
    rank = task.sheet.rank(value)
    for place in range(rank) if axis is None else task.counted(axis, rank):
        value = task.sheet.cut(value, place, -1, -(2**63), -1)
    return value


def _take(task: Task) -> Drawn:
    sheet, value = task.sheet, _real(task)
    places, axis = _given(task, 1, "indices"), _given(task, 2, "axis")
    if axis is None:
        value, axis = sheet.reshaped(value, [-1]), 0
    at = places if isinstance(places, str) else sheet.constant(np.asarray(places), "int64")
    return sheet.node("Gather", value, at, axis=task.counted(axis, sheet.rank(value))[0])


def _tile(task: Task) -> Drawn:
    value = _real(task)
    many = _list(task, _given(task, 1, "repeats"))
    many = [1] * (task.sheet.rank(value) - len(many)) + many
    return task.sheet.node("Tile", value, task.sheet.constant(many, "int64"))


def _repeat(task: Task) -> Drawn:
    sheet, value = task.sheet, _real(task)
    many, axis = _given(task, 1, "repeats"), _given(task, 2, "axis")
    if type(many) is not int or axis is None or not 0 < many < 2**20:
        raise task.refused("repeats by other than one number along an axis, which is not read")
    axis = task.counted(axis, sheet.rank(value))[0]
    length = sheet.shape(value)[axis]
    if length is None:
        raise task.refused("repeats along an axis of unknown length")
    return sheet.node("Gather", value, sheet.constant(np.repeat(np.arange(length), many), "int64"), axis=axis)


def _pad(task: Task) -> Drawn:
    sheet, value = task.sheet, _real(task)
    found, number = _given(task, 1, "pad_width"), _given(task, 2, "constant_values")
    mode = task.settings.get("mode", "constant")
    if mode not in {"constant", "reflect"} or not isinstance(found, list):
        raise task.refused(f"pads in the mode {mode!r}, which is not read")
    pairs = found if isinstance(found[0], list) else [found] * sheet.rank(value)
    pads = _list(task, [pair[0] for pair in pairs] + [pair[1] for pair in pairs])
    return sheet.node("Pad", value, sheet.constant(pads, "int64"), sheet.like(number or 0, value), mode=mode)


def _one_hot(task: Task) -> Drawn:
    sheet, value = task.sheet, _real(task)
    many = _list(task, _given(task, 1, "num_classes"))[0]
    axis = _given(task, 2, "axis")
    kind = str(task.settings.get("dtype") or "float32")
    columns = sheet.constant([0, 1], kind)
    return sheet.node(
        "OneHot", sheet.cast(value, "int64"), sheet.constant(many, "int64"), columns, axis=-1 if axis is None else axis
    )


def _filled(number: float) -> Callable[[Task], Drawn]:
    def draw(task: Task) -> Drawn:
        value = _real(task)
        return task.sheet.node(
            "Add", task.sheet.node("Mul", value, task.sheet.like(0, value)), task.sheet.like(number, value)
        )

    return draw


def _logical(operator: str) -> Callable[[Task], Drawn]:
    return lambda task: task.sheet.node(operator, *(task.sheet.cast(one, "bool") for one in _two(task)))


def _same(task: Task) -> Drawn:
    return _real(task)


_ACTIVATIONS = {
    "Celu": "celu", "Glu": "glu", "HardShrink": "hard_shrink", "HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu",
    "HardTanh": "hard_tanh", "LogSigmoid": "log_sigmoid", "Relu": "relu", "Relu6": "relu6", "Selu": "selu",
    "Sigmoid": "sigmoid", "Silu": "silu", "SoftShrink": "soft_shrink", "Softplus": "softplus", "Softsign": "softsign",
    "SparsePlus": "sparse_plus", "Sparsemax": "sparsemax", "Squareplus": "squareplus", "TanhShrink": "tanh_shrink",
}  # fmt: skip
_UNARY = {
    "Absolute": "Abs", "Arccos": "Acos", "Arccosh": "Acosh", "Arcsin": "Asin", "Arcsinh": "Asinh", "Arctan": "Atan",
    "Arctanh": "Atanh", "Ceil": "Ceil", "Cos": "Cos", "Cosh": "Cosh", "Erf": "Erf", "Exp": "Exp", "Floor": "Floor",
    "Isinf": "IsInf", "Isnan": "IsNaN", "Log": "Log", "Negative": "Neg", "Reciprocal": "Reciprocal", "Round": "Round",
    "Sign": "Sign", "Sin": "Sin", "Sinh": "Sinh", "Sqrt": "Sqrt", "Tan": "Tan", "Tanh": "Tanh",
}  # fmt: skip
_BINARY = {
    "Add": "Add", "Equal": "Equal", "Greater": "Greater", "GreaterEqual": "GreaterOrEqual", "Less": "Less",
    "LessEqual": "LessOrEqual", "Maximum": "Max", "Minimum": "Min", "Multiply": "Mul", "Power": "Pow",
    "Subtract": "Sub",
}  # fmt: skip
_REDUCED = {
    "Amax": "ReduceMax", "Amin": "ReduceMin", "Logsumexp": "ReduceLogSumExp", "Max": "ReduceMax", "Mean": "ReduceMean",
    "Min": "ReduceMin", "Prod": "ReduceProd", "Sum": "ReduceSum",
}  # fmt: skip

OPERATIONS: Mapping[str, Kind] = {
    name: Kind(draw, masks="ends")
    for name, draw in {
        **{name: _unary(operator) for name, operator in _UNARY.items()},
        **{name: _binary(operator) for name, operator in _BINARY.items()},
        **{name: _reduced(operator) for name, operator in _REDUCED.items()},
        **{name: _activated(word) for name, word in _ACTIVATIONS.items()},
        "Abs": _unary("Abs"),
        "All": _any_or_all("ReduceMin"),
        "Any": _any_or_all("ReduceMax"),
        "Argmax": _arg("ArgMax"),
        "Argmin": _arg("ArgMin"),
        "Cast": _cast,
        "Clip": _clip,
        "Concatenate": _concatenate,
        "Copy": _same,
        "Divide": _divide,
        "Einsum": _einsum,
        "Elu": _sloped("Elu", "alpha", 1.0),
        "ExpandDims": _expanded,
        "Expm1": _expm1,
        "Flip": _flip,
        "FloorDivide": _floor_divide,
        "Gelu": _gelu,
        "GetItem": _item,
        "LeakyRelu": _sloped("LeakyRelu", "negative_slope", 0.2),
        "Log1p": _log1p,
        "LogSoftmax": _along("LogSoftmax"),
        "LogicalAnd": _logical("And"),
        "LogicalNot": lambda task: task.sheet.node("Not", task.sheet.cast(_real(task), "bool")),
        "LogicalOr": _logical("Or"),
        "Matmul": _matmul,
        "NotEqual": _not_equal,
        "OneHot": _one_hot,
        "OnesLike": _filled(1.0),
        "Pad": _pad,
        "Repeat": _repeat,
        "Reshape": _reshape,
        "Rsqrt": _composed("Sqrt", "Reciprocal"),
        "Softmax": _along("Softmax"),
        "Split": _split,
        "Square": _square,
        "Squeeze": _squeezed,
        "Stack": _stack,
        "Std": _deviation,
        "StopGradient": _same,
        "SwapAxes": _swapped,
        "Swapaxes": _swapped,
        "Take": _take,
        "Tile": _tile,
        "Transpose": _transpose,
        "TrueDivide": _divide,
        "Var": _variance,
        "Where": _where,
        "ZerosLike": _filled(0.0),
    }.items()
}
