"""What torch's exporters are shown of a network's inputs: a tensor for each, and which of its axes are free."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from engram.records import TensorSpec

__all__ = ["example", "free_axes", "silence"]

_ROWS = 3
"""Rows of the example: a batch of one would be taken for an axis of length one."""


def example(spec: TensorSpec, inputs: tuple[TensorSpec, ...]) -> Tensor:
    """A tensor of the right type and shape; free axes get lengths that no fixed axis is likely to have."""
    names = sorted({axis for s in inputs for axis in s.shape if isinstance(axis, str)} - {"batch"})
    lengths = {"batch": _ROWS} | {name: 7 + 4 * place for place, name in enumerate(names)}
    shape = [axis if isinstance(axis, int) else lengths[axis] for axis in spec.shape]
    dtype = getattr(torch, spec.dtype)
    if not dtype.is_floating_point:
        return torch.zeros(shape, dtype=dtype)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


def free_axes(inputs: tuple[TensorSpec, ...]) -> tuple[dict[int, torch.export.Dim], ...]:
    """For each input the places of its free axes, as ``torch.export`` wants to be told; one name is one length."""
    free: dict[str, torch.export.Dim] = {}
    return tuple(
        {
            place: free.setdefault(axis, torch.export.Dim(f"axis_{len(free)}"))
            for place, axis in enumerate(spec.shape)
            if isinstance(axis, str)
        }
        for spec in inputs
    )


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """The exporter warns of things no caller can change."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
