"""Layers that bring numbers to a common scale, as the operators that keep what they have learned trainable."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from engram.formats._keras.kind import Drawn, Kind, Task, Variable

__all__ = ["KINDS"]


def _batch_variables(settings: Mapping[str, Any]) -> tuple[Variable, ...]:
    keys = [key for key, said in (("gamma", "scale"), ("beta", "center")) if settings.get(said, True)]
    learned = [Variable(key, f"vars/{place}") for place, key in enumerate(keys)]
    seen = [
        Variable(key, f"vars/{len(keys) + place}", trained=False)
        for place, key in enumerate(("moving_mean", "moving_variance"))
    ]
    return (*learned, *seen)


def _batch(task: Task) -> Drawn:
    sheet, value = task.sheet, task.value
    if task.truth("renorm"):
        raise task.refused("renormalizes, which is not read")
    rank = sheet.rank(value)
    axis = task.axes("axis", rank, -1)
    if len(axis) != 1 or rank < 2 or axis[0] == 0:
        raise task.refused(f"normalizes the axes {axis}, not one of channels")
    order = [0, axis[0], *(place for place in range(1, rank) if place != axis[0])]
    mean = task.weights["moving_mean"]
    scale = task.weights.get("gamma") or sheet.constant(np.ones(sheet.shape(mean)), sheet.dtype(mean))
    shift = task.weights.get("beta") or sheet.constant(np.zeros(sheet.shape(mean)), sheet.dtype(mean))
    made = sheet.node(
        "BatchNormalization", sheet.turned(value, order), scale, shift, mean, task.weights["moving_variance"],
        epsilon=task.number("epsilon", 1e-3), momentum=task.number("momentum", 0.99),
    )  # fmt: skip
    return sheet.turned(made, [order.index(place) for place in range(rank)])


def _scaled(settings: Mapping[str, Any]) -> tuple[Variable, ...]:
    rms = settings.get("rms_scaling", False)
    keys = [key for key, said in (("gamma", "scale"), ("beta", "center")) if settings.get(said, True)]
    keys = ["gamma"] if rms else keys
    return tuple(Variable(key, f"vars/{place}") for place, key in enumerate(keys))


def _layer(task: Task) -> Drawn:
    sheet, value = task.sheet, task.value
    if task.truth("rms_scaling"):
        raise task.refused("has rms_scaling, which Keras itself gave up; use RMSNormalization")
    rank = sheet.rank(value)
    axes = task.axes("axis", rank, -1)
    order = [place for place in range(rank) if place not in axes] + axes
    lengths = [sheet.shape(value)[axis] for axis in axes]
    if None in lengths:
        raise task.refused("normalizes an axis without a length")
    scale = task.weights.get("gamma") or sheet.like(np.ones([length or 0 for length in lengths]), value)
    made = sheet.node(
        "LayerNormalization", sheet.turned(value, order), scale, task.weights.get("beta", ""),
        axis=rank - len(axes), epsilon=task.number("epsilon", 1e-3),
    )  # fmt: skip
    return sheet.turned(made, [order.index(place) for place in range(rank)])


def _rms(task: Task) -> Drawn:
    sheet, value = task.sheet, task.value
    axes = task.axes("axis", sheet.rank(value), -1)
    if axes != list(range(axes[0], sheet.rank(value))):
        raise task.refused(f"normalizes the axes {axes}, which are not the last ones")
    squares = sheet.node("ReduceMean", sheet.node("Mul", value, value), sheet.constant(axes, "int64"), keepdims=1)
    root = sheet.node("Sqrt", sheet.node("Add", squares, sheet.like(task.number("epsilon", 1e-6), value)))
    return sheet.node("Mul", sheet.node("Div", value, root), task.weights["scale"])


def _group(task: Task) -> Drawn:
    """Each group of channels by itself, with the numbers of all places."""
    sheet, value = task.sheet, task.value
    rank = sheet.rank(value)
    axis = task.axes("axis", rank, -1)[0]
    channels = sheet.shape(value)[axis]
    groups = task.settings.get("groups", 32)
    groups = channels if groups == -1 else groups
    if channels is None or type(groups) is not int or groups < 1 or channels % groups:
        raise task.refused(f"cannot make {groups} groups of {channels} channels")
    order = [0, axis, *(place for place in range(1, rank) if place != axis)]
    turned = sheet.turned(value, order)
    flat = sheet.reshaped(turned, [0, groups, -1])
    ones, none = (sheet.like(np.full(groups, number), value) for number in (1.0, 0.0))
    made = sheet.node("InstanceNormalization", flat, ones, none, epsilon=task.number("epsilon", 1e-3))
    lengths = sheet.shape(turned)[1:]
    if None in lengths:
        made = sheet.node("Reshape", made, sheet.node("Shape", turned))
    else:
        made = sheet.reshaped(made, [-1, *(length or 0 for length in lengths)])
    for key, operator in (("gamma", "Mul"), ("beta", "Add")):
        if key in task.weights:
            wide = sheet.reshaped(task.weights[key], [channels, *[1] * (rank - 2)])
            made = sheet.node(operator, made, wide)
    return sheet.turned(made, [order.index(place) for place in range(rank)])


def _unit(task: Task) -> Drawn:
    sheet, value = task.sheet, task.value
    axes = sheet.constant(task.axes("axis", sheet.rank(value), -1), "int64")
    squares = sheet.node("ReduceSumSquare", value, axes, keepdims=1)
    return sheet.node("Div", value, sheet.node("Sqrt", sheet.node("Max", squares, sheet.like(1e-12, value))))


def _fixed_variables(settings: Mapping[str, Any]) -> tuple[Variable, ...]:
    if settings.get("mean") is not None:
        return ()
    keys = ("mean", "variance", "count")
    return tuple(Variable(key, f"vars/{place}", trained=False) for place, key in enumerate(keys))


def _fixed(task: Task) -> Drawn:
    """(x − mean) / deviation, with both as training data had them, or the other way round."""
    sheet, value = task.sheet, task.value
    found = task.settings.get("axis", -1)
    axes = [] if found in (None, []) else task.counted(found, sheet.rank(value))
    shape = [(sheet.shape(value)[place] or 1) if place in axes else 1 for place in range(sheet.rank(value))]
    mean, spread = (_statistic(task, key, shape) for key in ("mean", "variance"))
    deviation = sheet.node("Max", sheet.node("Sqrt", spread), sheet.like(1e-7, spread))
    if task.truth("invert"):
        return sheet.node("Add", sheet.node("Mul", value, deviation), mean)
    return sheet.node("Div", sheet.node("Sub", value, mean), deviation)


def _statistic(task: Task, key: str, shape: list[int]) -> str:
    if key in task.weights:
        return task.sheet.reshaped(task.weights[key], shape)
    try:
        given = np.asarray(task.settings.get(key), dtype=np.float32)
        return task.sheet.constant(np.broadcast_to(given.reshape(-1), (math.prod(shape),)).reshape(shape), "float32")
    except (TypeError, ValueError) as wrong:
        raise task.refused(f"has {key} = {task.settings.get(key)!r}, which does not fit") from wrong


def _rescaling(task: Task) -> Drawn:
    sheet = task.sheet
    value = task.value if sheet.dtype(task.value).startswith("float") else sheet.cast(task.value, "float32")
    try:
        scale, offset = (np.asarray(task.settings.get(key, 0.0), np.float32) for key in ("scale", "offset"))
    except (TypeError, ValueError) as wrong:
        raise task.refused("has a scale or an offset that is no number") from wrong
    return sheet.node("Add", sheet.node("Mul", value, sheet.like(scale, value)), sheet.like(offset, value))


def _layer_scale(task: Task) -> Drawn:
    """Each channel by a number of its own, as in ConvNeXt (Liu et al. 2022)."""
    return task.sheet.node("Mul", task.value, task.weights["gamma"])


KINDS: Mapping[str, Kind] = {
    "BatchNormalization": Kind(_batch, _batch_variables),
    "BatchNormalizationV1": Kind(_batch, _batch_variables),
    "BatchNormalizationV2": Kind(_batch, _batch_variables),
    "GroupNormalization": Kind(_group, _scaled),
    "LayerNormalization": Kind(_layer, _scaled),
    "LayerScale": Kind(_layer_scale, lambda _: (Variable("gamma", "vars/0"),)),
    "Normalization": Kind(_fixed, _fixed_variables, masks="ends"),
    "RMSNormalization": Kind(_rms, lambda _: (Variable("scale", "vars/0"),)),
    "Rescaling": Kind(_rescaling, masks="ends"),
    "UnitNormalization": Kind(_unit),
}
