"""What an operator is told about the node it computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from engram.errors import ConversionError
from engram.graphs.walk import Step

if TYPE_CHECKING:
    from engram.runtime._torch.plan import Body

__all__ = ["Call", "Operator", "Planned", "Value", "dtype", "like", "number_of", "together"]

Value: TypeAlias = Any
"""A tensor; a list of values, which is ONNX's sequence; or None, which is an optional without content."""

Operator: TypeAlias = Callable[..., Value]
"""Called with a ``Call`` and the node's inputs; returns its output, or a tuple where there are several."""

# ONNX's numbers of types (onnx.proto, TensorProto.DataType)
_DTYPES = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 4: torch.uint16, 5: torch.int16, 6: torch.int32, 7: torch.int64,
    9: torch.bool, 10: torch.float16, 11: torch.float64, 12: torch.uint32, 13: torch.uint64, 14: torch.complex64,
    15: torch.complex128, 16: torch.bfloat16, 17: torch.float8_e4m3fn, 18: torch.float8_e4m3fnuz,
    19: torch.float8_e5m2, 20: torch.float8_e5m2fnuz,
}  # fmt: skip
_NUMBERS = {kind: number for number, kind in _DTYPES.items()}


@dataclass(frozen=True, slots=True)
class Planned:
    """An operator that reads its attributes once, when the module is made.

    Attributes:
        plan: takes the ``Call`` and returns what is called with the inputs.
    """

    plan: Callable[[Call], Callable[..., Value]]


@dataclass(frozen=True, slots=True)
class Call:
    """One node, as its operator sees it.

    Attributes:
        step: the node.
        known: per input, its numbers where they were known when the module was made; shapes and axes mostly are.
        training: whether the module is in training mode.
        bodies: the graphs within it, by the name of the attribute.
    """

    step: Step
    known: tuple[Any, ...]
    training: bool = False
    bodies: Mapping[str, Body] = field(default_factory=dict)

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - whatever an attribute may hold
        """An attribute, or what it is where nothing is said."""
        return self.step.attributes.get(name, default)

    def numbers(self, place: int, tensor: Tensor | None) -> list[Any] | None:
        """An input that is a list of numbers (a shape, axes), as Python's own; None where it is left out."""
        if place < len(self.known) and self.known[place] is not None:
            found = self.known[place]
            return list(found) if isinstance(found, list) else [found]
        return None if tensor is None else list(tensor.reshape(-1).tolist())

    def number(self, place: int, tensor: Tensor | None, default: Any = None) -> Any:  # noqa: ANN401 - of any type
        """An input that is a single number."""
        found = self.numbers(place, tensor)
        return found[0] if found else default

    def axes(self, place: int, tensor: Tensor | None) -> list[int] | None:
        """The axes of a node: an input today, an attribute in older operator sets."""
        found = self.numbers(place, tensor)
        return self.get("axes") if found is None else found

    def wants(self, place: int) -> bool:
        """Whether somebody may read an output."""
        return place < len(self.step.outputs) and bool(self.step.outputs[place])

    def refuse(self, why: str) -> ConversionError:
        """The error that says why this node cannot be computed."""
        return ConversionError(f"node {self.step.title!r} ({self.step.operator}) cannot run in torch: {why}")


def dtype(number: int, call: Call) -> torch.dtype:
    """Torch's type for ONNX's number of a type.

    Raises:
        ConversionError: torch has no such type.
    """
    if number not in _DTYPES:
        raise call.refuse(f"torch has no type for ONNX's {number}")
    return _DTYPES[number]


def number_of(kind: torch.dtype) -> int:
    """ONNX's number for torch's type."""
    return _NUMBERS[kind]


def like(tensor: Tensor, other: Tensor) -> Tensor:
    """A tensor on the device of another; constants of whole numbers stay on the CPU, where shapes are read."""
    return tensor if tensor.device == other.device else tensor.to(other.device)


def together(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Tensors on one device, the first that is not the CPU."""
    devices = [tensor.device for tensor in tensors if tensor.device.type != "cpu"]
    return tuple(tensor.to(devices[0]) for tensor in tensors) if devices else tensors
