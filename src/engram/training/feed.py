"""Rows on their way into the network.

Inputs are prepared once and kept in memory where they fit, because preparing them again for every epoch would cost
more than the training of a small network; otherwise they are prepared batch by batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from numpy import ndarray
from torch import Tensor

__all__ = ["Feed", "MemoryFeed", "StreamFeed", "order"]


class Feed(Protocol):
    """Prepared rows by number."""

    targets: Tensor
    """Of every row: int64 (rows,) class numbers, or float32 (rows,)."""

    def __len__(self) -> int:
        """Rows."""
        ...

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (batch, …) float32 and targets (batch,) of the rows with these numbers, int64 (batch,)."""
        ...


class MemoryFeed:
    """All rows prepared and in memory, on the device they are used on."""

    def __init__(self, inputs: ndarray, targets: ndarray, device: str = "cpu") -> None:
        stored = torch.from_numpy(inputs)
        if stored.ndim == 4:  # channels last is what convolutions are fastest on, and rows stay contiguous
            stored = stored.permute(0, 2, 3, 1).contiguous()
        self._inputs = stored.to(device)
        self.targets = torch.from_numpy(targets).to(device)

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Feed.batch``."""
        inputs = self._inputs.index_select(0, rows)
        return (inputs.permute(0, 3, 1, 2) if inputs.ndim == 4 else inputs), self.targets.index_select(0, rows)


class StreamFeed:
    """Rows prepared as they are asked for; only the targets are in memory."""

    def __init__(self, prepare: Callable[[ndarray], ndarray], targets: ndarray, device: str = "cpu") -> None:
        self._prepare = prepare
        self._device = device
        self.targets = torch.from_numpy(targets).to(device)

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Feed.batch``."""
        inputs = torch.from_numpy(self._prepare(rows.cpu().numpy())).to(self._device)
        if inputs.ndim == 4:  # the very strides of MemoryFeed, which ``channels_last`` leaves open for grey images
            last = inputs.permute(0, 2, 3, 1)
            inputs = torch.empty(last.shape, device=last.device).copy_(last).permute(0, 3, 1, 2)
        return inputs, self.targets.index_select(0, rows)


def order(rows: int, *, seed: int, epoch: int) -> Tensor:
    """The order of the training rows in an epoch, int64 (rows,): the same for the same seed and epoch, always."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(rows, generator=generator)
