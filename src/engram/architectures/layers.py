"""A free list of layers, written in the pipeline file.

Sizes that follow from the layer before are never written: each layer is built knowing the shape that reaches it.

    [model]
    kind = "layers"
    layers = [
      { type = "convolution", filters = 16, activation = "relu" },
      { type = "residual", layers = [{ type = "convolution", filters = 16 }, { type = "batch_norm" }] },
      { type = "max_pool" },
      { type = "flatten" },
      { type = "dense", units = 32, activation = "relu" },
    ]

The output layer is added by itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn

from engram.architectures._parts import Residual, activation, output_width, sequence
from engram.errors import UnknownName, UsageError
from engram.plugins import nearest, options
from engram.records import Signature

__all__ = ["TYPES", "Options", "build", "found"]

_PLACE = "model.layers"


@dataclass(frozen=True, slots=True)
class Options:
    """Options of ``kind = "layers"``.

    Attributes:
        layers: one table a layer, ``type`` and its own keys (see ``TYPES``).
    """

    layers: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Dense:
    """``dense``: every input to every unit. Pictures are flattened first."""

    units: int
    activation: str = ""


@dataclass(frozen=True, slots=True)
class Convolution:
    """``convolution``: ``filters`` of ``kernel`` × ``kernel``; ``same`` padding keeps the size at stride 1."""

    filters: int
    kernel: int = 3
    stride: int = 1
    padding: str = "same"
    activation: str = ""


@dataclass(frozen=True, slots=True)
class Pool:
    """``max_pool`` and ``average_pool``: one value for each ``size`` × ``size`` window."""

    size: int = 2
    stride: int | None = None


@dataclass(frozen=True, slots=True)
class Plain:
    """``batch_norm``, ``layer_norm``, ``flatten`` and ``global_average_pool`` have no keys."""


@dataclass(frozen=True, slots=True)
class Dropout:
    """``dropout``: ``rate`` of the values are dropped while training."""

    rate: float = 0.5


@dataclass(frozen=True, slots=True)
class Activation:
    """``activation``: by ``name``."""

    name: str = "relu"


@dataclass(frozen=True, slots=True)
class Block:
    """``residual``: its input is added to what ``layers`` make of it, then the ``activation``."""

    layers: tuple[dict[str, Any], ...]
    activation: str = "relu"


Shape = tuple[int, ...]
TYPES: Mapping[str, type] = {
    "dense": Dense,
    "convolution": Convolution,
    "max_pool": Pool,
    "average_pool": Pool,
    "global_average_pool": Plain,
    "batch_norm": Plain,
    "layer_norm": Plain,
    "dropout": Dropout,
    "activation": Activation,
    "flatten": Plain,
    "residual": Block,
}


def found(options: Options, signature: Signature, rows: int) -> tuple[Options, dict[str, str]]:  # noqa: ARG001 - contract
    """Nothing is left open: what is written is what is built."""
    return options, {}


def build(options: Options, signature: Signature) -> nn.Module:
    """The network that the list describes.

    Raises:
        UsageError: a layer does not fit the shape that reaches it; named by its number.
    """
    spec = signature.inputs[0]
    if any(not isinstance(axis, int) for axis in spec.shape[1:]):
        raise UsageError(
            f"layers needs inputs of a fixed size, and {spec.name} is {list(spec.shape)}; set a size to resize to"
        )
    shape: Shape = tuple(int(axis) for axis in spec.shape[1:])
    parts, shape = _stack(options.layers, shape, "")
    if len(shape) > 1:
        parts.append(("flatten", nn.Flatten()))
    parts.append(("output", nn.Linear(prod(shape), output_width(signature))))
    return sequence(parts, signature.outputs)


def _stack(layers: tuple[dict[str, Any], ...], shape: Shape, prefix: str) -> tuple[list[tuple[str, nn.Module]], Shape]:
    """The named layers, and the shape that leaves the last."""
    parts: list[tuple[str, nn.Module]] = []
    for number, written in enumerate(layers, start=1):
        label = f"{prefix}{number}"
        kind, record = _record(written, label)
        for name, module in _MAKERS[kind](record, shape, label):
            shape = _shape_after(module, shape, f"layer {label} ({kind})")
            parts.append((f"{name}{number}", module))
    return parts, shape


def _record(written: Mapping[str, Any], label: str) -> tuple[str, Any]:
    kind = written.get("type")
    if not isinstance(kind, str) or kind not in TYPES:
        raise UnknownName(f"layer {label} has type {kind!r}; {nearest(str(kind), TYPES)}", place=_PLACE)
    rest = {key: value for key, value in written.items() if key != "type"}
    try:
        return kind, options(TYPES[kind], rest, _PLACE)
    except UsageError as wrong:
        raise type(wrong)(f"layer {label} ({kind}): {wrong}", place=_PLACE) from None


def _shape_after(module: nn.Module, shape: Shape, name: str) -> Shape:
    """Tried on zeros in evaluation mode, which torch knows best."""
    module.eval()
    try:
        with torch.no_grad():
            result = module(torch.zeros(2, *shape))
    except (RuntimeError, ValueError) as wrong:
        reason = str(wrong).splitlines()[0]
        raise UsageError(f"{name} does not fit values of shape {list(shape)}: {reason}", place=_PLACE) from None
    finally:
        module.train()
    return tuple(result.shape[1:])


Made = list[tuple[str, nn.Module]]


def _activated(made: Made, name: str) -> Made:
    return [*made, ("activation", activation(name))] if name else made


def _dense(record: Dense, shape: Shape, label: str) -> Made:
    _positive(record.units, "units", label)
    made: Made = [("flatten", nn.Flatten())] if len(shape) > 1 else []
    return _activated([*made, ("dense", nn.Linear(prod(shape), record.units))], record.activation)


def _convolution(record: Convolution, shape: Shape, label: str) -> Made:
    _picture(shape, label, "convolution")
    for key in ("filters", "kernel", "stride"):
        _positive(getattr(record, key), key, label)
    if record.padding not in {"same", "valid"}:
        raise UsageError(f'layer {label}: padding = {record.padding!r} is neither "same" nor "valid"', place=_PLACE)
    around = record.kernel // 2 if record.padding == "same" else 0
    made = nn.Conv2d(shape[0], record.filters, record.kernel, stride=record.stride, padding=around)
    return _activated([("convolution", made)], record.activation)


def _max_pool(record: Pool, shape: Shape, label: str) -> Made:
    _picture(shape, label, "max_pool")
    return [("pool", nn.MaxPool2d(record.size, record.stride))]


def _average_pool(record: Pool, shape: Shape, label: str) -> Made:
    _picture(shape, label, "average_pool")
    return [("pool", nn.AvgPool2d(record.size, record.stride))]


def _global_average_pool(record: Plain, shape: Shape, label: str) -> Made:  # noqa: ARG001 - table of one shape
    _picture(shape, label, "global_average_pool")
    return [("pool", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten())]


def _batch_norm(record: Plain, shape: Shape, label: str) -> Made:  # noqa: ARG001 - table of one shape
    return [("norm", nn.BatchNorm2d(shape[0]) if len(shape) == 3 else nn.BatchNorm1d(shape[0]))]


def _layer_norm(record: Plain, shape: Shape, label: str) -> Made:  # noqa: ARG001 - table of one shape
    return [("norm", nn.LayerNorm(list(shape)))]


def _dropout(record: Dropout, shape: Shape, label: str) -> Made:  # noqa: ARG001 - table of one shape
    if not 0 <= record.rate < 1:
        raise UsageError(f"layer {label}: rate = {record.rate} is not a share from 0 to below 1", place=_PLACE)
    return [("dropout", nn.Dropout(record.rate))]


def _activation(record: Activation, shape: Shape, label: str) -> Made:  # noqa: ARG001 - table of one shape
    return [("activation", activation(record.name))]


def _flatten(record: Plain, shape: Shape, label: str) -> Made:  # noqa: ARG001 - table of one shape
    return [("flatten", nn.Flatten())]


def _residual(record: Block, shape: Shape, label: str) -> Made:
    parts, after = _stack(record.layers, shape, f"{label}.")
    body = nn.Sequential(OrderedDict(parts))
    return [("residual", Residual(body, _shortcut(shape, after, label), activation(record.activation)))]


def _shortcut(before: Shape, after: Shape, label: str) -> nn.Module | None:
    if before == after:
        return None
    if len(before) == 3 and len(after) == 3 and before[1] % after[1] == 0:
        return nn.Conv2d(before[0], after[0], 1, stride=before[1] // after[1])
    if len(before) == 1 and len(after) == 1:
        return nn.Linear(before[0], after[0])
    raise UsageError(f"layer {label}: a residual block cannot add {list(before)} to {list(after)}", place=_PLACE)


def _picture(shape: Shape, label: str, kind: str) -> None:
    if len(shape) != 3:
        raise UsageError(
            f"layer {label} ({kind}) needs pictures, and values of shape {list(shape)} reach it", place=_PLACE
        )


def _positive(value: int, key: str, label: str) -> None:
    if value < 1:
        raise UsageError(f"layer {label}: {key} = {value} must be at least 1", place=_PLACE)


_MAKERS: Mapping[str, Callable[[Any, Shape, str], Made]] = {
    "dense": _dense,
    "convolution": _convolution,
    "max_pool": _max_pool,
    "average_pool": _average_pool,
    "global_average_pool": _global_average_pool,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "dropout": _dropout,
    "activation": _activation,
    "flatten": _flatten,
    "residual": _residual,
}
