"""Layers that multiply with a matrix, or look up in one; and activations as layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from engram.formats._keras.activations import activation, called
from engram.formats._keras.kind import Drawn, Kind, Task, Variable

__all__ = ["KINDS", "activated", "kernel_and_bias"]


def kernel_and_bias(settings: Mapping[str, Any]) -> tuple[Variable, ...]:
    """A kernel, and a bias unless there is none."""
    bias = (Variable("bias", "vars/1"),) if settings.get("use_bias", True) else ()
    return (Variable("kernel", "vars/0"), *bias)


def activated(task: Task, value: str, key: str = "activation") -> str:
    """The value after the activation that the layer has of its own."""
    return activation(task.sheet, called(task.settings.get(key), task.part.where), value, task.version)


def _dense(task: Task) -> Drawn:
    made = task.sheet.node("MatMul", task.value, task.weights["kernel"])
    if "bias" in task.weights:
        made = task.sheet.node("Add", made, task.weights["bias"])
    return activated(task, made)


def _einsum_variables(settings: Mapping[str, Any]) -> tuple[Variable, ...]:
    bias = (Variable("bias", "vars/1"),) if settings.get("bias_axes") else ()
    return (Variable("kernel", "vars/0"), *bias)


def _einsum(task: Task) -> Drawn:
    sheet, equation = task.sheet, task.text("equation", "").replace(" ", "")
    made = sheet.node("Einsum", task.value, task.weights["kernel"], equation=equation)
    if "bias" in task.weights:
        answer = equation.partition("->")[2].replace("...", "")
        axes = [axis for axis in task.text("bias_axes", "") if axis in answer]
        if not axes:
            raise task.refused(f"has bias_axes that are not in {equation!r}")
        behind = answer[answer.index(axes[0]) :]
        lengths = iter(sheet.shape(task.weights["bias"]))
        shape = [next(lengths, None) or 1 if axis in axes else 1 for axis in behind]
        made = sheet.node("Add", made, sheet.reshaped(task.weights["bias"], [length or 1 for length in shape]))
    return activated(task, made)


def _embedding(task: Task) -> Drawn:
    sheet = task.sheet
    numbers = task.value
    if not sheet.dtype(numbers).startswith(("int32", "int64")):
        numbers = sheet.cast(numbers, "int32")
    made = sheet.node("Gather", task.weights["embeddings"], numbers, axis=0)
    if task.truth("mask_zero"):
        none = sheet.node("Equal", numbers, sheet.like(0, numbers))
        sheet.masks[made] = sheet.node("Not", none)
    return made


def _activation(task: Task) -> Drawn:
    return activated(task, task.value)


def _relu(task: Task) -> Drawn:
    """f(x) = max_value above it, x from the threshold on, negative_slope · (x − threshold) below."""
    sheet, value = task.sheet, task.value
    top = task.settings.get("max_value")
    slope = _slope(task, "negative_slope", 0.0)
    threshold = task.number("threshold", 0.0) if task.settings.get("threshold") is not None else 0.0
    if threshold:
        edge = sheet.like(threshold, value)
        below = sheet.node("Mul", sheet.node("Sub", value, edge), sheet.like(slope, value))
        made = sheet.node("Where", sheet.node("GreaterOrEqual", value, edge), value, below)
    else:
        made = sheet.node("LeakyRelu", value, alpha=slope) if slope else sheet.node("Relu", value)
    return made if top is None else sheet.node("Min", made, sheet.like(task.number("max_value", 0.0), value))


def _slope(task: Task, key: str, default: float) -> float:
    """A setting that Keras 2 wrote as a number, and its early releases as an array in an object."""
    found = task.settings.get(key, task.settings.get("alpha", default))
    if isinstance(found, Mapping) and found.get("class_name") == "__numpy__":
        found = found.get("config", {}).get("value", default)
    if isinstance(found, Mapping) and found.get("type") == "ndarray":
        found = found.get("value", default)
    if found is None:
        return 0.0
    if type(found) not in {int, float}:
        raise task.refused(f"has {key} = {found!r}, which is no number")
    return float(found)


def _leaky_relu(task: Task) -> Drawn:
    return task.sheet.node("LeakyRelu", task.value, alpha=_slope(task, "negative_slope", 0.3))


def _elu(task: Task) -> Drawn:
    return task.sheet.node("Elu", task.value, alpha=_slope(task, "alpha", 1.0))


def _thresholded_relu(task: Task) -> Drawn:
    return task.sheet.node("ThresholdedRelu", task.value, alpha=_slope(task, "theta", 1.0))


def _prelu(task: Task) -> Drawn:
    return task.sheet.node("PRelu", task.value, task.weights["alpha"])


def _softmax(task: Task) -> Drawn:
    sheet, value = task.sheet, task.value
    rank = sheet.rank(value)
    axes = task.axes("axis", rank, -1)
    mask = task.named.get("mask")
    if isinstance(mask, str):
        most = sheet.like(-np.finfo(sheet.dtype(value)).max / 2, value)
        value = sheet.node("Where", sheet.cast(mask, "bool"), value, most)
    if len(axes) == 1:
        return sheet.node("Softmax", value, axis=axes[0])
    at = sheet.constant(axes, "int64")
    powers = sheet.node("Exp", sheet.node("Sub", value, sheet.node("ReduceMax", value, at, keepdims=1)))
    return sheet.node("Div", powers, sheet.node("ReduceSum", powers, at, keepdims=1))


KINDS: Mapping[str, Kind] = {
    "Activation": Kind(_activation),
    "Dense": Kind(_dense, kernel_and_bias),
    "ELU": Kind(_elu),
    "EinsumDense": Kind(_einsum, _einsum_variables, masks="ends"),
    "Embedding": Kind(_embedding, lambda _: (Variable("embeddings", "vars/0"),), masks="own"),
    "LeakyReLU": Kind(_leaky_relu),
    "PReLU": Kind(_prelu, lambda _: (Variable("alpha", "vars/0"),)),
    "ReLU": Kind(_relu),
    "Softmax": Kind(_softmax),
    "ThresholdedReLU": Kind(_thresholded_relu),
}
