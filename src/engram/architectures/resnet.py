"""Residual blocks of convolutions, for images that a plain stack does not learn well enough.

Source: He et al. 2016, Deep Residual Learning for Image Recognition (the small-image form of section 4.2).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from torch import nn

from engram.architectures._parts import Residual, activation, image_shape, output_width, sequence
from engram.records import Signature

__all__ = ["Options", "build", "found"]


@dataclass(frozen=True, slots=True)
class Options:
    """Options of ``kind = "resnet"``.

    Attributes:
        channels: of each stage; found from the size of the images. From the second on, a stage halves the picture.
        blocks: residual blocks in each stage, of two convolutions each.
        activation: inside and after each block.
        dropout: share of features dropped before the output while training.
    """

    channels: tuple[int, ...] | None = None
    blocks: int = 1
    activation: str = "relu"
    dropout: float = 0.0


def found(options: Options, signature: Signature, rows: int) -> tuple[Options, dict[str, str]]:
    """The options with everything left open decided, and why."""
    if options.channels is not None:
        return options, {}
    channels, height, width = image_shape(signature, "resnet")
    stages, side = 1, min(height, width)
    while side >= 14 and stages < 5:
        stages, side = stages + 1, side // 2
    first = 32 if rows >= 5_000 else 16
    chosen = tuple(min(first << stage, 256) for stage in range(stages))
    return replace(options, channels=chosen), {"channels": f"{rows:,} images of {channels}×{height}×{width}"}


def build(options: Options, signature: Signature) -> nn.Module:
    """The network: (batch, channels, height, width) → (batch, outputs)."""
    channels, _, _ = image_shape(signature, "resnet")
    stages = options.channels or (32,)
    first = nn.Conv2d(channels, stages[0], 3, padding=1, bias=False)
    parts: list[tuple[str, nn.Module]] = [("convolution", first), ("norm", nn.BatchNorm2d(stages[0]))]
    parts.append(("activation", activation(options.activation)))
    channels = stages[0]
    for stage, filters in enumerate(stages, start=1):
        for block in range(1, options.blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            parts.append((f"block{stage}_{block}", _block(channels, filters, stride, options.activation)))
            channels = filters
    parts += [("pool", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten())]
    if options.dropout:
        parts.append(("dropout", nn.Dropout(options.dropout)))
    parts.append(("output", nn.Linear(channels, output_width(signature))))
    return sequence(parts, signature.outputs)


def _block(channels: int, filters: int, stride: int, name: str) -> Residual:
    body = OrderedDict[str, nn.Module](
        convolution1=nn.Conv2d(channels, filters, 3, stride=stride, padding=1, bias=False),
        norm1=nn.BatchNorm2d(filters),
        activation1=activation(name),
        convolution2=nn.Conv2d(filters, filters, 3, padding=1, bias=False),
        norm2=nn.BatchNorm2d(filters),
    )
    shortcut: nn.Module | None = None
    if stride != 1 or channels != filters:
        projection = OrderedDict[str, nn.Module](
            convolution=nn.Conv2d(channels, filters, 1, stride=stride, bias=False), norm=nn.BatchNorm2d(filters)
        )
        shortcut = nn.Sequential(projection)
    return Residual(nn.Sequential(body), shortcut, activation(name))
