"""What torch answers from a file of its own that was written a moment ago, in the worker.

``torch.export.load`` and the module that ``torch.jit.load`` makes run what is in a file. Here that is what torch has
just written of a graph that was read, so nobody else's words are in it; a file that came from elsewhere is never asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy import ndarray

from engram.errors import FormatError
from engram.formats._pt2.job import reason
from engram.runtime._torch.examples import silence

__all__ = ["program", "trace"]


def program(said: Mapping[str, Any], arrays: Mapping[str, ndarray]) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """The outputs of a program of ``torch.export``, each by its place.

    Args:
        said: ``path`` of the file.
        arrays: inputs, each by its place.

    Raises:
        FormatError: torch cannot open or run it.
    """
    return {}, _answered(lambda: torch.export.load(said["path"]).module(), arrays)  # noqa: TID251 - ours


def trace(said: Mapping[str, Any], arrays: Mapping[str, ndarray]) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """As ``program``, of a trace."""
    return {}, _answered(lambda: torch.jit.load(said["path"], map_location="cpu"), arrays)  # type: ignore[no-untyped-call]  # noqa: TID251 - ours


def _answered(opened: Callable[[], Any], arrays: Mapping[str, ndarray]) -> dict[str, ndarray]:
    rows = [torch.from_numpy(np.array(arrays[str(place)])) for place in range(len(arrays))]
    with silence(), torch.no_grad():
        try:
            found = opened()(*rows)
        except (RuntimeError, ValueError, TypeError, AttributeError, KeyError, IndexError) as refused:
            raise FormatError(f"torch does not answer: {reason(refused)}") from refused
    outputs = found if isinstance(found, (tuple, list)) else (found,)
    return {str(place): output.numpy() for place, output in enumerate(outputs)}
