"""torch itself, in the worker, for files of TorchScript.

``torch.jit.load`` reads a stranger's code into torch's own interpreter. It is called here alone, in a process that the
system confines, and what it read is not run by it: the graph is walked through node by node, each operator is called
by its name, and what is computed with real tensors of a guessed shape becomes a program of ``torch.export``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import nn

from engram.errors import ConversionError, FormatError
from engram.formats._carried import MEMBER
from engram.formats._pt2.job import NOTES, module_of, reason
from engram.formats._pt2.unrolled import put_back
from engram.formats._torchscript.guessing import guessed
from engram.formats._torchscript.walk import Walk
from engram.runtime._torch.examples import example, silence

__all__ = ["convert", "save"]

_FAULTS = (RuntimeError, ValueError, TypeError, SyntaxError, AttributeError, KeyError, IndexError, NotImplementedError)


def save(said: Mapping[str, Any], arrays: Mapping[str, ndarray]) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """Write a traced module.

    Args:
        said: ``path`` of the file.
        arrays: as ``_pt2.job.save`` wants them.

    Raises:
        ConversionError: torch cannot trace the network.
    """
    module, inputs = module_of(arrays)
    with silence(), torch.no_grad():
        try:
            rows = tuple(example(spec, inputs) for spec in inputs)
            traced = torch.jit.trace(module, rows, check_trace=False)  # type: ignore[no-untyped-call]
            torch.jit.save(traced, said["path"], _extra_files={MEMBER: arrays[NOTES].tobytes()})
        except _FAULTS as refused:
            raise ConversionError(f"torch cannot trace the network: {reason(refused)}") from refused
    return {}, {}


def convert(said: Mapping[str, Any], _: Mapping[str, ndarray]) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """The program of a TorchScript file, as the bytes of a file of ``torch.export``.

    Args:
        said: ``path`` of the file; ``inputs``, shape and type of each where they are known.

    Raises:
        FormatError: torch cannot open it, its graph is not pure, or no input is found that it takes.
    """
    with silence(), torch.no_grad():
        try:
            found = torch.jit.load(said["path"], map_location="cpu")  # type: ignore[no-untyped-call]  # noqa: TID251 - confined
        except _FAULTS as refused:
            raise FormatError(f"torch cannot open it: {reason(refused)}") from refused
        walk = Walk(found.eval()).eval()
        rows, free = guessed(walk, said["inputs"])
        program = _program(walk, rows, free)
        place = Path("converted.pt2").resolve()
        torch.export.save(program, place)
    return {}, {"program": np.frombuffer(place.read_bytes(), np.uint8)}


def _program(walk: nn.Module, rows: tuple[Any, ...], free: tuple[dict[int, Any], ...]) -> Any:  # noqa: ANN401
    try:
        made = torch.export.export(walk, rows, dynamic_shapes=free, strict=False)
    except FormatError:
        raise
    except _FAULTS as refused:
        raise FormatError(f"its graph is not one of values alone: {reason(refused)}") from refused
    return put_back(made)
