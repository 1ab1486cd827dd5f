"""Seeing a list of layers in a graph, where it is one.

Only what reads back as the same computation is drawn: a setting that a drawing has no word for, a value that is used
twice, a weight that is shared, and the graph is carried as a graph instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy import ndarray

from engram.formats import _tensors
from engram.formats._layers import ACTIVATIONS, KINDS, turned
from engram.graphs.walk import Step, Steps, steps

__all__ = ["draw", "weights_of"]

_Drawn = dict[str, Any]
_OPERATORS = {operator: name for name, (operator, _) in ACTIVATIONS.items() if operator}


class _Undrawable(Exception):
    """The graph is not a list of layers that a drawing has words for."""


def draw(graph: bytes, weights: Mapping[str, ndarray]) -> list[_Drawn] | None:
    """The layers of a sequential network for ``_document.text``; None where the network is none.

    Args:
        graph: canonical, without its weights.
        weights: by name.
    """
    found = steps(graph)
    used = [name for node in found.nodes for name in node.inputs if name in found.weights]
    single = len(found.inputs) == 1 and len(found.outputs) == 1
    if not single or sorted(used) != sorted(found.weights) or any(weights[n].dtype != np.float32 for n in used):
        return None
    try:
        return _walk(found, weights)
    except _Undrawable:
        return None


def weights_of(graph: bytes) -> tuple[str, ...]:
    """The names of the weights that a graph holds a place for."""
    return steps(graph).weights


def _walk(found: Steps, weights: Mapping[str, ndarray]) -> list[_Drawn]:
    value, at, drawn = found.inputs[0], 0, list[_Drawn]()
    while at < len(found.nodes):
        taken = _silu(found.nodes[at : at + 2], value)
        if taken:
            _append(drawn, {"type": "Activation", "activation": "silu"})
        else:
            taken = 1
            if not _changes_nothing(found.nodes[at], value, found.constants):
                _append(drawn, _layer(found.nodes[at], value, found.constants, weights))
        value = found.nodes[at + taken - 1].outputs[0]
        at += taken
    if value != found.outputs[0] or not drawn:
        raise _Undrawable
    return drawn


def _changes_nothing(node: Step, value: str, constants: Mapping[str, ndarray]) -> bool:
    """Exporters write an ELU between two multiplications by one."""
    if node.operator == "Identity":
        return node.inputs == (value,)
    factor = constants.get(node.inputs[1]) if node.operator in {"Mul", "Div"} else None
    return factor is not None and node.inputs[0] == value and factor.shape == () and bool(factor == 1)


def _append(drawn: list[_Drawn], layer: _Drawn) -> None:
    """A plain activation becomes a setting of the layer before it, as people draw it."""
    before = drawn[-1] if drawn else {}
    plain = layer.keys() == {"type", "activation"}
    if plain and before.get("type") in {"Dense", "Conv2D"} and "activation" not in before:
        arrays = {role: before.pop(role) for role in KINDS[before["type"]].roles if role in before}
        before.update(activation=layer["activation"], **arrays)
    else:
        drawn.append(layer)


def _layer(node: Step, value: str, constants: Mapping[str, ndarray], weights: Mapping[str, ndarray]) -> _Drawn:
    if node.domain or [name for name in node.inputs if name == value] != [node.inputs[0]] or any(node.outputs[1:]):
        raise _Undrawable
    if node.operator in _OPERATORS and node.operator != "Identity":
        return _activation(node)
    reader = _READERS.get(node.operator)
    if reader is None:
        raise _Undrawable
    layer, roles = reader(node, constants)
    given = list(zip(roles, node.inputs[1:], strict=False))
    return {**layer, **_arrays(layer["type"], {role: name for role, name in given if name}, weights)}


def _arrays(kind: str, names: Mapping[str, str], weights: Mapping[str, ndarray]) -> _Drawn:
    """Name and arrays of a layer; single names only where they do not follow from the layer's."""
    if not names:
        return {}
    ranks = dict(zip(KINDS[kind].roles, KINDS[kind].ranks, strict=True))
    if any(
        name not in weights or weights[name].ndim != (ranks[role] or weights[name].ndim) for role, name in names.items()
    ):
        raise _Undrawable
    ends = KINDS[kind].roles
    first, name = next(iter(names.items()))
    own = name.removesuffix(ends[first]).removesuffix(".")
    usual = all(name == (f"{own}.{ends[role]}" if own else ends[role]) for role, name in names.items())
    said = {"name": own} if usual else {"names": dict(names)}
    drawn = {role: _tensors.values(turned(kind, role, weights[name], back=True)) for role, name in names.items()}
    return {**said, **drawn}


def _silu(pair: tuple[Step, ...], value: str) -> int:
    if [node.operator for node in pair] != ["Sigmoid", "Mul"] or pair[0].inputs != (value,):
        return 0
    return 2 if set(pair[1].inputs) == {value, pair[0].outputs[0]} else 0


def _activation(node: Step) -> _Drawn:
    kind = _OPERATORS[node.operator]
    allowed = dict(ACTIVATIONS[kind][1])
    if kind == "softmax":
        _only(node, axis=-1)
    elif kind == "selu":
        _only(node)
    said = {key: node.attributes.get(key, default) for key, default in allowed.items()}
    exact = {key: np.float32(v) if isinstance(v, float) else v for key, v in said.items() if v != allowed[key]}
    return {"type": "Activation", "activation": kind, **exact}


def _dense(node: Step, constants: Mapping[str, ndarray]) -> tuple[_Drawn, tuple[str, ...]]:  # noqa: ARG001 - as the others
    _only(node, transB=(1,), transA=0, alpha=1.0, beta=1.0)
    return {"type": "Dense"}, ("weights", "biases")


def _convolution(node: Step, constants: Mapping[str, ndarray]) -> tuple[_Drawn, tuple[str, ...]]:  # noqa: ARG001
    said = {
        "strides": node.attributes.get("strides", [1, 1]),
        "padding": _padding(node),
        "dilation_rate": node.attributes.get("dilations", [1, 1]),
        "groups": node.attributes.get("group", 1),
    }
    plain = {"strides": [1, 1], "padding": "valid", "dilation_rate": [1, 1], "groups": 1}
    return {"type": "Conv2D", **_different(said, plain)}, ("weights", "biases")


def _batch_norm(node: Step, constants: Mapping[str, ndarray]) -> tuple[_Drawn, tuple[str, ...]]:  # noqa: ARG001
    if len(node.inputs) != 5 or node.attributes.get("training_mode", 0):
        raise _Undrawable
    epsilon, momentum = node.attributes.get("epsilon", 1e-5), node.attributes.get("momentum", 0.9)
    layer = {"type": "BatchNormalization", "epsilon": np.float32(epsilon), "momentum": np.float32(momentum)}
    return layer, ("gamma", "beta", "moving_mean", "moving_variance")


def _layer_norm(node: Step, constants: Mapping[str, ndarray]) -> tuple[_Drawn, tuple[str, ...]]:  # noqa: ARG001
    if node.attributes.get("axis", -1) != -1 or node.attributes.get("stash_type", 1) != 1:
        raise _Undrawable
    return {"type": "LayerNormalization", "epsilon": np.float32(node.attributes.get("epsilon", 1e-5))}, (
        "gamma",
        "beta",
    )


def _dropout(node: Step, constants: Mapping[str, ndarray]) -> tuple[_Drawn, tuple[str, ...]]:
    _only(node)
    rate = constants.get(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] else np.float32(0.5)
    if rate is None or rate.size != 1 or rate.dtype != np.float32 or any(node.inputs[2:]):
        raise _Undrawable
    return {"type": "Dropout", "rate": np.float32(rate.reshape(()))}, ()


def _pooling(node: Step, constants: Mapping[str, ndarray]) -> tuple[_Drawn, tuple[str, ...]]:  # noqa: ARG001
    size = node.attributes.get("kernel_shape", [])
    dilations = set(node.attributes.get("dilations", [1]))
    if len(size) != 2 or dilations != {1} or node.attributes.get("storage_order", 0):
        raise _Undrawable
    said = {
        "strides": node.attributes.get("strides", [1, 1]),
        "padding": _padding(node),
        "ceil_mode": bool(node.attributes.get("ceil_mode", 0)),
        "count_include_pad": bool(node.attributes.get("count_include_pad", 0)),
    }
    plain = {"strides": size, "padding": "valid", "ceil_mode": False, "count_include_pad": False}
    kind = "MaxPooling2D" if node.operator == "MaxPool" else "AveragePooling2D"
    return {"type": kind, "pool_size": size, **_different(said, plain)}, ()


def _pooled(node: Step, constants: Mapping[str, ndarray]) -> tuple[_Drawn, tuple[str, ...]]:  # noqa: ARG001
    _only(node)
    return {"type": "GlobalAveragePooling2D", "keepdims": True}, ()


def _mean(node: Step, constants: Mapping[str, ndarray]) -> tuple[_Drawn, tuple[str, ...]]:
    axes = constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
    if axes is None or sorted(int(axis) % 4 for axis in axes.ravel()) != [2, 3] or min(axes.ravel()) >= 0:
        raise _Undrawable
    layer: _Drawn = {"type": "GlobalAveragePooling2D"}
    return (layer | {"keepdims": True} if node.attributes.get("keepdims", 1) else layer), ()


def _flatten(node: Step, constants: Mapping[str, ndarray]) -> tuple[_Drawn, tuple[str, ...]]:
    if node.operator == "Flatten":
        _only(node, axis=1)
        return {"type": "Flatten"}, ()
    shape = constants.get(node.inputs[1])
    flat = shape is not None and len(shape) == 2 and (shape.tolist() == [0, -1] or (shape[0] == -1 and shape[1] > 0))
    if not flat or node.attributes.get("allowzero", 0):
        raise _Undrawable
    return {"type": "Flatten"}, ()


def _permute(node: Step, constants: Mapping[str, ndarray]) -> tuple[_Drawn, tuple[str, ...]]:  # noqa: ARG001
    order = node.attributes.get("perm", [])
    if len(order) != 4 or order[0] != 0:
        raise _Undrawable
    return {"type": "Permute", "dims": order[1:]}, ()


def _scale(node: Step, constants: Mapping[str, ndarray]) -> tuple[_Drawn, tuple[str, ...]]:
    if node.inputs[1] in constants:
        raise _Undrawable
    return {"type": "Rescaling"}, ("scale" if node.operator == "Mul" else "offset",)


_READERS: Mapping[str, Callable[[Step, Mapping[str, ndarray]], tuple[_Drawn, tuple[str, ...]]]] = {
    "Add": _scale,
    "AveragePool": _pooling,
    "BatchNormalization": _batch_norm,
    "Conv": _convolution,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Gemm": _dense,
    "GlobalAveragePool": _pooled,
    "LayerNormalization": _layer_norm,
    "MaxPool": _pooling,
    "Mul": _scale,
    "ReduceMean": _mean,
    "Reshape": _flatten,
    "Transpose": _permute,
}


def _only(node: Step, **allowed: Any) -> None:  # noqa: ANN401 - any attribute
    """Refuse attributes that say something else; a value in a tuple must be said, any other is the default."""
    for key, value in allowed.items():
        wanted, default = (value[0], None) if isinstance(value, tuple) else (value, value)
        if node.attributes.get(key, default) != wanted:
            raise _Undrawable
    if node.attributes.keys() - allowed.keys():
        raise _Undrawable


def _padding(node: Step) -> str | list[int]:
    word = node.attributes.get("auto_pad", "NOTSET")
    if word == "SAME_UPPER":
        return "same"
    pads = node.attributes.get("pads", [0, 0, 0, 0])
    if word not in {"NOTSET", "VALID"} or len(pads) != 4:
        raise _Undrawable
    return "valid" if not any(pads) or word == "VALID" else list(pads)


def _different(said: _Drawn, plain: _Drawn) -> _Drawn:
    return {key: value for key, value in said.items() if value != plain[key]}
