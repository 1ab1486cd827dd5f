"""Layers as people draw them: what each kind is called, what it holds, and the nodes it becomes.

The words are those of Keras, whose drawings are the most common: Dense weights are [inputs][units], Conv2D weights
[height][width][inputs][filters]. In the graph they lie as torch keeps them, and have torch's names where none is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import FormatError
from engram.graphs.build import Builder
from engram.plugins import nearest

__all__ = ["ACTIVATIONS", "KINDS", "Kind", "Layer", "nodes", "turned"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of layer.

    Attributes:
        roles: what its arrays are called in a drawing → the end of their names in the graph.
        keys: settings it may have, beside ``type``, ``name`` and ``names``.
        ranks: axes of each array, in the order of the roles; 0 for any.
    """

    roles: Mapping[str, str]
    keys: tuple[str, ...] = ()
    ranks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that was read.

    Attributes:
        kind: one of ``KINDS``.
        where: what to call it in an error (``layer 2 (Dense)``).
        settings: what was said of it.
        weights: role → the name in the graph.
    """

    kind: str
    where: str
    settings: Mapping[str, Any]
    weights: Mapping[str, str]


_KERNEL = {"weights": "weight", "biases": "bias"}
_NORM = {"gamma": "weight", "beta": "bias"}
_POOL = ("pool_size", "strides", "padding", "ceil_mode")

KINDS: Mapping[str, Kind] = {
    "Activation": Kind({}, ("activation", "alpha", "beta", "approximate")),
    "AveragePooling2D": Kind({}, (*_POOL, "count_include_pad")),
    "BatchNormalization": Kind(
        {**_NORM, "moving_mean": "running_mean", "moving_variance": "running_var"},
        ("epsilon", "momentum"),
        (1, 1, 1, 1),
    ),
    "Conv2D": Kind(
        _KERNEL,
        ("filters", "kernel_size", "strides", "padding", "dilation_rate", "groups", "activation"),
        (4, 1),
    ),
    "Dense": Kind(_KERNEL, ("units", "activation"), (2, 1)),
    "Dropout": Kind({}, ("rate",)),
    "Flatten": Kind({}),
    "GlobalAveragePooling2D": Kind({}, ("keepdims",)),
    "LayerNormalization": Kind(_NORM, ("epsilon",), (1, 1)),
    "MaxPooling2D": Kind({}, _POOL),
    "Permute": Kind({}, ("dims",)),
    "Rescaling": Kind({"scale": "scale", "offset": "offset"}, (), (0, 0)),
}

ACTIVATIONS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "elu": ("Elu", {"alpha": 1.0}),
    "gelu": ("Gelu", {"approximate": "none"}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}),
    "hard_swish": ("HardSwish", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.01}),
    "linear": ("Identity", {}),
    "mish": ("Mish", {}),
    "relu": ("Relu", {}),
    "selu": ("Selu", {}),
    "sigmoid": ("Sigmoid", {}),
    "silu": ("", {}),
    "softmax": ("Softmax", {}),
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
    "tanh": ("Tanh", {}),
}


def nodes(layer: Layer, builder: Builder, value: str, name: str) -> str:
    """Add the nodes of a layer and return the name of its output.

    Args:
        layer: without an activation of its own, which is a layer by itself here.
        builder: already holds the weights.
        value: the input.
        name: for the output; empty for any.

    Raises:
        FormatError: a setting is of the wrong type.
    """
    return _NODES[layer.kind](layer, builder, value, name)


def turned(kind: str, role: str, array: ndarray, *, back: bool = False) -> ndarray:
    """A drawn array as it lies in the graph, or, with ``back``, the other way."""
    if role != "weights":
        return array
    axes = {"Dense": (1, 0), "Conv2D": (2, 3, 1, 0) if back else (3, 2, 0, 1)}[kind]
    return np.ascontiguousarray(array.transpose(axes))


def _dense(layer: Layer, builder: Builder, value: str, name: str) -> str:
    return builder.node("Gemm", value, *_given(layer), name=name, transB=1)


def _convolution(layer: Layer, builder: Builder, value: str, name: str) -> str:
    said: dict[str, Any] = {
        "strides": _whole(layer, "strides", 2, 1),
        "dilations": _whole(layer, "dilation_rate", 2, 1),
        "group": _whole(layer, "groups", 1, 1)[0],
        **_padding(layer),
    }
    return builder.node("Conv", value, *_given(layer), name=name, **said)


def _batch_norm(layer: Layer, builder: Builder, value: str, name: str) -> str:
    epsilon, momentum = _number(layer, "epsilon", 1e-3), _number(layer, "momentum", 0.99)
    return builder.node("BatchNormalization", value, *_given(layer), name=name, epsilon=epsilon, momentum=momentum)


def _layer_norm(layer: Layer, builder: Builder, value: str, name: str) -> str:
    epsilon = _number(layer, "epsilon", 1e-3)
    return builder.node("LayerNormalization", value, *_given(layer), name=name, axis=-1, epsilon=epsilon)


def _dropout(layer: Layer, builder: Builder, value: str, name: str) -> str:
    rate = _number(layer, "rate", 0.5)
    if not 0 <= rate < 1:
        raise FormatError(f"{layer.where}: rate must be at least 0 and less than 1, not {rate}")
    return builder.node("Dropout", value, builder.constant(np.float32(rate)), name=name)


def _pooling(layer: Layer, builder: Builder, value: str, name: str) -> str:
    size = _whole(layer, "pool_size", 2, 2)
    strides = _whole(layer, "strides", 2) if "strides" in layer.settings else size
    said: dict[str, Any] = {"kernel_shape": size, "strides": strides, **_padding(layer)}
    said["ceil_mode"] = int(bool(layer.settings.get("ceil_mode", False)))
    if layer.kind == "MaxPooling2D":
        return builder.node("MaxPool", value, name=name, **said)
    said["count_include_pad"] = int(bool(layer.settings.get("count_include_pad", False)))
    return builder.node("AveragePool", value, name=name, **said)


def _mean(layer: Layer, builder: Builder, value: str, name: str) -> str:
    keep = int(bool(layer.settings.get("keepdims", False)))
    return builder.node("ReduceMean", value, builder.constant([-2, -1], dtype="int64"), name=name, keepdims=keep)


def _flatten(_: Layer, builder: Builder, value: str, name: str) -> str:
    return builder.node("Flatten", value, name=name, axis=1)


def _permute(layer: Layer, builder: Builder, value: str, name: str) -> str:
    return builder.node("Transpose", value, name=name, perm=[0, *_whole(layer, "dims", 3)])


def _activation(layer: Layer, builder: Builder, value: str, name: str) -> str:
    kind = layer.settings.get("activation", "linear")
    if not isinstance(kind, str) or kind not in ACTIVATIONS:
        raise FormatError(f"{layer.where}: activation {kind!r} does not exist; {nearest(str(kind), ACTIVATIONS)}")
    operator, numbers = ACTIVATIONS[kind]
    if kind == "silu":
        return builder.node("Mul", value, builder.node("Sigmoid", value), name=name)
    if kind == "softmax":
        return builder.node(operator, value, name=name, axis=-1)
    if "approximate" in numbers:
        word = layer.settings.get("approximate", "none")
        if word not in {"none", "tanh"}:
            raise FormatError(f"{layer.where}: approximate must be none or tanh, not {word!r}")
        return builder.node(operator, value, name=name, approximate=word)
    given: dict[str, Any] = {key: _number(layer, key, default) for key, default in numbers.items()}
    return builder.node(operator, value, name=name, **given)


def _rescaling(layer: Layer, builder: Builder, value: str, name: str) -> str:
    scale, offset = layer.weights.get("scale"), layer.weights.get("offset")
    if scale and offset:
        return builder.node("Add", builder.node("Mul", value, scale), offset, name=name)
    if scale or offset:
        return builder.node("Mul" if scale else "Add", value, scale or offset or "", name=name)
    raise FormatError(f"{layer.where}: needs a scale or an offset")


def _given(layer: Layer) -> list[str]:
    """The names of a layer's arrays, in the order in which its operator reads them."""
    return [layer.weights[role] for role in KINDS[layer.kind].roles if role in layer.weights]


def _padding(layer: Layer) -> dict[str, Any]:
    said = layer.settings.get("padding", "valid")
    if said == "same":
        return {"auto_pad": "SAME_UPPER"}
    if said == "valid":
        return {"pads": [0, 0, 0, 0]}
    if isinstance(said, str):
        raise FormatError(f"{layer.where}: padding must be valid, same, or [top, left, bottom, right], not {said!r}")
    return {"pads": _whole(layer, "padding", 4)}


def _whole(layer: Layer, key: str, count: int, default: int | None = None) -> list[int]:
    """A setting of so many whole numbers; a single one stands for all of them."""
    said = layer.settings.get(key, default)
    numbers = said if isinstance(said, list) else [said] * count
    if len(numbers) != count or not all(type(number) is int and 0 <= number < 2**31 for number in numbers):
        wanted = "a whole number" if count == 1 else f"a whole number or {count} of them"
        raise FormatError(f"{layer.where}: {key} must be {wanted}, not {said!r}")
    return list(numbers)


def _number(layer: Layer, key: str, default: float) -> float:
    said = layer.settings.get(key, default)
    if type(said) not in {int, float}:
        raise FormatError(f"{layer.where}: {key} must be a number, not {said!r}")
    return float(said)


_NODES: Mapping[str, Callable[[Layer, Builder, str, str], str]] = {
    "Activation": _activation,
    "AveragePooling2D": _pooling,
    "BatchNormalization": _batch_norm,
    "Conv2D": _convolution,
    "Dense": _dense,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "GlobalAveragePooling2D": _mean,
    "LayerNormalization": _layer_norm,
    "MaxPooling2D": _pooling,
    "Permute": _permute,
    "Rescaling": _rescaling,
}
