"""Stages of convolutions that halve the picture, for images."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from engram.architectures._parts import activation, image_shape, output_width, sequence
from engram.errors import UsageError
from engram.records import Signature

__all__ = ["Options", "build", "found"]


@dataclass(frozen=True, slots=True)
class Options:
    """Options of ``kind = "cnn"``.

    Attributes:
        channels: of each stage; found from the size of the images.
        depth: convolutions in each stage.
        kernel: side of a convolution, odd.
        activation: after each convolution.
        dropout: share of features dropped before the output while training.
    """

    channels: tuple[int, ...] | None = None
    depth: int = 1
    kernel: int = 3
    activation: str = "relu"
    dropout: float = 0.1


def found(options: Options, signature: Signature, rows: int) -> tuple[Options, dict[str, str]]:
    """The options with everything left open decided, and why."""
    if options.channels is not None:
        return options, {}
    channels, height, width = image_shape(signature, "cnn")
    stages, side = 1, min(height, width)
    while side >= 14 and stages < 5:
        stages, side = stages + 1, side // 2
    first = 32 if rows >= 5_000 else 16
    chosen = tuple(min(first << stage, 256) for stage in range(max(stages, 2)))
    return replace(options, channels=chosen), {"channels": f"{rows:,} images of {channels}×{height}×{width}"}


def build(options: Options, signature: Signature) -> nn.Module:
    """The network: (batch, channels, height, width) → (batch, outputs)."""
    if options.kernel % 2 == 0:
        raise UsageError(f"[model] kernel = {options.kernel} is refused: it must be odd", place="model.kernel")
    channels, height, width = image_shape(signature, "cnn")
    parts: list[tuple[str, nn.Module]] = []
    side = min(height, width)
    for stage, filters in enumerate(options.channels or (), start=1):
        for repeat in range(1, options.depth + 1):
            name = f"{stage}" if options.depth == 1 else f"{stage}_{repeat}"
            convolution = nn.Conv2d(channels, filters, options.kernel, padding=options.kernel // 2, bias=False)
            parts += [(f"convolution{name}", convolution), (f"norm{name}", nn.BatchNorm2d(filters))]
            parts.append((f"activation{name}", activation(options.activation)))
            channels = filters
        if side >= 2:
            parts.append((f"pool{stage}", nn.MaxPool2d(2)))
            side //= 2
    parts += [("pool", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten())]
    if options.dropout:
        parts.append(("dropout", nn.Dropout(options.dropout)))
    parts.append(("output", nn.Linear(channels, output_width(signature))))
    return sequence(parts, signature.outputs)
