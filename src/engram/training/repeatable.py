"""Kernels that give the same bits every time; else a resumed run ends in other bits than one that was never stopped.

A processor's kernels do so anyway; a GPU's fastest sum in whichever order its threads arrive. What has no other kernel
is used all the same, and torch warns of it by name: a network that trains is worth more than a refusal.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.backends import cudnn
from torch.utils import deterministic

__all__ = ["repeatable"]


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Let what runs inside on this device give the same bits every time; torch is afterwards as it was."""
    if device.type != "cuda":
        yield
        return
    # cuBLAS reads it when it is first used; sums of several streams have one order only in memory of a fixed size
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    found, filled = cudnn.benchmark, deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    cudnn.benchmark = False  # which tries kernels and takes the one that happens to be fastest
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # nobody reads what was never written
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        cudnn.benchmark = found
        deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
