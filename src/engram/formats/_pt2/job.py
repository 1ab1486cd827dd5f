"""Making torch's own files of a network, in the worker: torch takes seconds to import, and hangs on nothing here.

The network is the module that trains it, so that its parameters keep their names. What torch calls its inputs is what
they are called here, as far as Python can say it.
"""

from __future__ import annotations

import inspect
import keyword
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor, nn

from engram.errors import ConversionError
from engram.formats._carried import MEMBER
from engram.formats._pt2.hollow import emptied
from engram.graphs.naming import unique
from engram.graphs.signature import signature
from engram.records import TensorSpec
from engram.runtime import torch as runtime
from engram.runtime._torch.examples import example, free_axes, silence

__all__ = ["NOTES", "WEIGHT", "export", "module_of", "reason"]

WEIGHT = "weight:"
NOTES, GRAPH = "notes", "graph"
_INDICES = re.compile(r"\W")


def export(said: Mapping[str, Any], arrays: Mapping[str, ndarray]) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """The file of a program of ``torch.export`` whose weights have a place each, but no numbers there.

    Args:
        said: ``blank``, the shape and type of each weight that does not come along.
        arrays: ``graph`` and ``notes`` as bytes, and every other weight behind ``weight:``.

    Returns:
        The file as ``file``.

    Raises:
        ConversionError: torch cannot export the network.
    """
    blank = {f"{WEIGHT}{name}": np.zeros(shape, dtype) for name, (shape, dtype) in said["blank"].items()}
    module, inputs = module_of({**arrays, **blank})
    notes = {MEMBER: arrays[NOTES].tobytes().decode()}
    place = Path("program.pt2").resolve()
    with silence():
        try:
            rows = tuple(example(spec, inputs) for spec in inputs)
            program = torch.export.export(module, rows, dynamic_shapes=free_axes(inputs), strict=False)
            torch.export.save(emptied(program), place, extra_files=notes)
        except (RuntimeError, ValueError, TypeError, SyntaxError, AttributeError, KeyError) as refused:
            raise ConversionError(f"torch cannot export the network: {reason(refused)}") from refused
    return {}, {"file": np.frombuffer(place.read_bytes(), np.uint8)}


def module_of(arrays: Mapping[str, ndarray]) -> tuple[nn.Module, tuple[TensorSpec, ...]]:
    """The network as a module that answers, its inputs by name, and what they are.

    Raises:
        ConversionError: torch has no operator for a node.
    """
    weights = {name.removeprefix(WEIGHT): array for name, array in arrays.items() if name.startswith(WEIGHT)}
    graph = arrays[GRAPH].tobytes()
    inputs = signature(graph).inputs
    network = runtime.module(graph, weights).eval()
    taken: set[str] = set()
    names = [unique(_identifier(spec.name), taken) for spec in inputs]
    order = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    told = inspect.Signature(order)

    def forward(*rows: Tensor, **named: Tensor) -> Any:  # noqa: ANN401 - a tensor, or a tuple of them
        return type(network).forward(network, *told.bind(*rows, **named).args)

    forward.__signature__ = told  # type: ignore[attr-defined]
    network.forward = forward  # type: ignore[method-assign]
    return network, inputs


def reason(refused: BaseException) -> str:
    """The first line that says something."""
    lines = [line.strip() for line in str(refused).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(refused).__name__


def _identifier(name: str) -> str:
    made = _INDICES.sub("_", name)
    return made if made.isidentifier() and not keyword.iskeyword(made) else f"input_{made}"
