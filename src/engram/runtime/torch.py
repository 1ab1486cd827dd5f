"""Running a graph in torch, and training it again.

An interpreter of our own: each node is one call of a small function, so that BatchNormalization and Dropout act as in
training when they should, and the parameters keep the names, values and layout they came with. It never builds Python
code from a graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy import ndarray

from engram.errors import ConversionError, EngramError, FormatError, ShapeError
from engram.graphs.walk import steps
from engram.runtime._torch.arrays import array, tensor
from engram.runtime._torch.meter import Bounds, Meter
from engram.runtime._torch.network import Network
from engram.runtime._torch.operators import OPERATORS
from engram.runtime._torch.plan import State

__all__ = ["OPERATORS", "VERSION", "Bounds", "Network", "module", "run"]

VERSION = f"torch {torch.__version__}"

_TRUSTED = Bounds()
_REFUSED = (
    RuntimeError, IndexError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError, AssertionError,
    MemoryError,
)  # fmt: skip


def module(graph: bytes, weights: Mapping[str, ndarray]) -> Network:
    """A network that can be trained, from its canonical graph and weights.

    Floating weights become parameters; running statistics, buffers of the source and everything the graph does not
    read become buffers. The arrays are copied.

    Raises:
        ConversionError: the graph has an operator that torch does not run here.
        FormatError: a weight that the graph needs is missing, or the graph is damaged.
    """
    return Network(steps(graph), weights)


def run(graph: bytes, inputs: Mapping[str, Any], threads: int = 1, *, bounds: Bounds = _TRUSTED) -> dict[str, Any]:
    """What a graph answers, every output by name.

    Args:
        graph: a serialized ModelProto with its weights inside.
        inputs: all rows at once, by the graph's names; a list of arrays for a sequence, None for an empty optional.
        threads: taken for the sake of the contract; torch's threads are set once for a process.
        bounds: what it may take; a stranger's graph may ask for more rounds and memory than there are.

    Returns:
        Arrays; lists of arrays for sequences.

    Raises:
        ConversionError: the graph has an operator, or strings, that torch does not run here.
        FormatError: the graph is damaged, or asks for more than the bounds.
        ShapeError: the inputs do not fit the graph.
    """
    del threads
    known = steps(graph)
    network = Network(known, {}).eval()
    absent = [name for name in known.inputs if name not in inputs]
    if absent:
        raise ShapeError(f"input {absent[0]!r} is missing; the graph takes {', '.join(known.inputs)}")
    given = [_value(inputs[name], name) for name in known.inputs]
    with torch.no_grad():
        try:
            answers = network.compute(given, State(meter=Meter(bounds)))
        except EngramError:
            raise
        except RecursionError as refused:
            raise FormatError("graphs are nested too deep to be run; flatten the model") from refused
        except _REFUSED as refused:
            raise _said(refused) from refused
    return {name: _plain(answer) for name, answer in zip(known.outputs, answers, strict=True)}


def _value(given: Any, name: str) -> Any:  # noqa: ANN401 - an array, a list of them, or None
    if isinstance(given, list):
        return [_value(part, name) for part in given]
    return None if given is None else tensor(np.asarray(given), name)


def _plain(answer: Any) -> Any:  # noqa: ANN401 - a tensor, a list of them, or None
    if isinstance(answer, list):
        return [_plain(part) for part in answer]
    return None if answer is None else array(answer)


def _said(refused: BaseException) -> EngramError:
    """The error of ours for one of torch's, with the node it came from."""
    reason = str(refused).strip().split("\n", maxsplit=1)[0] or type(refused).__name__
    place = " ".join(getattr(refused, "__notes__", [])[:1])
    if isinstance(refused, NotImplementedError) or "not implemented for" in reason:
        return ConversionError(f"torch cannot compute this graph: {reason} {place}".rstrip())
    return ShapeError(f"torch refuses the inputs: {reason} {place}".rstrip())
