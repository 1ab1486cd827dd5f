"""What several architectures are put together from, so that none of them imports another."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from engram.errors import UnknownName, UsageError
from engram.plugins import nearest
from engram.records import Signature, TensorSpec

__all__ = ["ACTIVATIONS", "Residual", "Unit", "activation", "image_shape", "output_width", "sequence", "table_width"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
}


class Unit(nn.Module):
    """The last step of a regression: from standardized numbers back to the target's own unit.

    The network learns in standardized units, where its starting weights and the usual learning rates fit, and still
    answers in the unit that users know, because this step is part of its graph.
    """

    scale: torch.Tensor
    offset: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(1))
        self.register_buffer("offset", torch.zeros(1))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(batch, 1) standardized → (batch, 1) in the target's unit."""
        return values * self.scale + self.offset


class Residual(nn.Module):
    """``activation(body(x) + shortcut(x))``; the shortcut is a 1×1 convolution where the shape changes."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None, after: nn.Module | None = None) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut if shortcut is not None else nn.Identity()
        self.after = after if after is not None else nn.Identity()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """The same shape as the body gives."""
        result: torch.Tensor = self.after(self.body(values) + self.shortcut(values))
        return result


def activation(name: str) -> nn.Module:
    """A fresh activation of this name; UnknownName if there is none."""
    if name not in ACTIVATIONS:
        raise UnknownName(f"activation {name!r} does not exist; {nearest(name, ACTIVATIONS)}", place="model.activation")
    return ACTIVATIONS[name]()


def sequence(parts: list[tuple[str, nn.Module]], outputs: tuple[TensorSpec, ...]) -> nn.Sequential:
    """The named parts one after the other, with the ``Unit`` of a regression at the end."""
    named = OrderedDict(parts)
    if outputs[0].kind == "value":
        named["unit"] = Unit()
    return nn.Sequential(named)


def table_width(signature: Signature, kind: str) -> int:
    """The number of features, for an architecture that wants one table."""
    spec = _only(signature, kind)
    width = 1
    for axis in spec.shape[1:]:
        if not isinstance(axis, int):
            raise UsageError(
                f"{kind} needs inputs of a fixed size, and {spec.name} is {list(spec.shape)}; set a size to resize to"
            )
        width *= axis
    return width


def image_shape(signature: Signature, kind: str) -> tuple[int, int, int]:
    """(channels, height, width), for an architecture that wants one image."""
    spec = _only(signature, kind)
    if len(spec.shape) != 4:
        raise UsageError(f'{kind} needs images and the data are a table; choose kind = "mlp"', place="model.kind")
    _, channels, height, width = spec.shape
    if not (isinstance(channels, int) and isinstance(height, int) and isinstance(width, int)):
        raise UsageError(f"{kind} needs images of one size, and these vary; add image = {{ resize = 32 }} to [columns]")
    return channels, height, width


def output_width(signature: Signature) -> int:
    """Columns of the network's output."""
    width = signature.outputs[0].shape[-1]
    assert isinstance(width, int)
    return width


def _only(signature: Signature, kind: str) -> TensorSpec:
    if len(signature.inputs) != 1:
        names = ", ".join(spec.name for spec in signature.inputs)
        raise UsageError(f"{kind} takes one input and the data give {names}; ignore one of them in [columns]")
    return signature.inputs[0]
