"""A torch module as canonical graph and weights, its names kept.

``torch.export`` writes down what the module calls, and the table that reads such programs from files makes nodes of it.
That is done in training mode, because in evaluation mode attention forgets its dropout; on a copy on the CPU, so that
no statistics move and no random number is drawn from the caller's generators; and with weights that have a shape and no
numbers, because they come from the module itself.
"""

from __future__ import annotations

import copy
import inspect
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from numpy import ndarray
from torch import Tensor, nn
from torch._decomp import get_decompositions
from torch._ops import OpOverload
from torch.export import ExportedProgram

from engram.errors import ConversionError, FormatError
from engram.formats._aten.table import TABLE
from engram.formats._pt2 import container, program, reading
from engram.formats._pt2.hollow import emptied
from engram.formats._pt2.unrolled import Rolled, put_back
from engram.graphs.naming import rename, unique, values
from engram.graphs.signature import declare
from engram.records import Limits, TensorSpec
from engram.runtime._torch.arrays import array
from engram.runtime._torch.examples import example, free_axes, silence

__all__ = ["export"]

_LIMITS = Limits()
_ROUNDS = 4
_REFUSALS = (RuntimeError, ValueError, TypeError, AttributeError, KeyError, NotImplementedError)


def export(
    module: nn.Module, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
) -> tuple[bytes, dict[str, ndarray]]:
    """The canonical graph of a module without its weights, and its weights.

    Args:
        module: takes one tensor an input, in order, and returns one tensor or a tuple; it is left as it is.
        inputs: named axes are free, numbers are fixed.
        outputs: names, in order.

    Returns:
        The graph, and every entry of the module's ``state_dict`` under its own name, also those the graph does not
        use (the count of batches of a BatchNorm).

    Raises:
        ConversionError: torch cannot export the module, or calls what no node of ONNX does; the message says which.
    """
    weights = {name: array(tensor) for name, tensor in module.state_dict().items()}
    twin = _rows_first(_with_plain_dropout(copy.deepcopy(module)).to("cpu")).train()
    kind = type(module).__name__
    with torch.random.fork_rng(devices=[]), silence():
        try:
            made = _known(put_back(_exported(twin, inputs)), kind)
        except ConversionError:
            raise
        except _REFUSALS as refused:
            raise ConversionError(f"torch cannot export {kind}: {_reason(refused)}") from refused
        try:
            graph = _graph(made, weights)
        except FormatError as refused:
            raise ConversionError(f"{kind} cannot be kept as a graph: {refused}") from refused
    return _declared(graph, inputs, outputs, kind), weights


def _exported(module: nn.Module, inputs: tuple[TensorSpec, ...]) -> ExportedProgram:
    rows = tuple(example(spec, inputs) for spec in inputs)
    with Rolled():
        return torch.export.export(module, rows, dynamic_shapes=_axes(module, inputs), strict=False)


def _axes(module: nn.Module, inputs: tuple[TensorSpec, ...]) -> tuple[Any, ...]:
    """The free axes of each input; of those that a module takes as ``*inputs``, together."""
    free = free_axes(inputs)
    parameters = list(inspect.signature(module.forward).parameters.values())
    start = next((n for n, each in enumerate(parameters) if each.kind is each.VAR_POSITIONAL), len(free))
    return (*free[:start], tuple(free[start:])) if start < len(free) else free


def _known(made: ExportedProgram, kind: str) -> ExportedProgram:
    """The program with what the table does not know taken apart by torch into what it may know.

    Raises:
        ConversionError: something is left, or draws random numbers.
    """
    unknown = _unknown(made)
    if drawn := sorted(name for name, target in unknown.items() if torch.Tag.nondeterministic_seeded in target.tags):
        raise ConversionError(
            f"{kind} draws random numbers when it answers ({drawn[0]}); "
            "use the module nn.Dropout in place of a function of torch"
        )
    for _ in range(_ROUNDS):
        parts = _parts(unknown)
        if not parts:
            break
        made = made.run_decompositions(parts)
        unknown = _unknown(made)
    if unknown:
        raise ConversionError(
            f"{kind} calls {min(unknown)}, for which no node is known; say the same with other operators of torch"
        )
    return made


def _parts(unknown: Mapping[str, OpOverload]) -> dict[Any, Callable[..., Any]]:
    """What torch takes these operators apart into."""
    usual = torch.export.default_decompositions() if unknown else {}
    known = {target: usual[target] for target in unknown.values() if target in usual}
    return {**get_decompositions([target for target in unknown.values() if target not in known]), **known}


def _unknown(made: ExportedProgram) -> dict[str, OpOverload]:
    """Name → operator of those that are called and not in the table."""
    called = {node.target for node in made.graph.nodes if isinstance(node.target, OpOverload)}
    names = {target: target.overloadpacket.__name__ for target in called}
    return {name: target for target, name in names.items() if name.rstrip("_") not in TABLE and name not in TABLE}


def _graph(made: ExportedProgram, weights: Mapping[str, ndarray]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="engram-") as folder:
        path = Path(folder, "program.pt2")
        torch.export.save(emptied(made), path)
        found = container.opened(path, _LIMITS, learned=False)
    graph, _ = reading.graph(program.parsed(found.program, _LIMITS), weights, found.constants, _LIMITS)
    return graph


def _declared(graph: bytes, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], kind: str) -> bytes:
    """The graph with inputs and outputs as they are wanted."""
    model = onnx.ModelProto.FromString(graph)
    _named(model.graph, [value.name for value in model.graph.input], inputs, f"{kind} takes")
    _named(model.graph, [value.name for value in model.graph.output], outputs, f"{kind} returns")
    declare(model, inputs, outputs)
    made: bytes = model.SerializeToString(deterministic=True)
    return made


def _named(graph: onnx.GraphProto, have: list[str], wanted: tuple[TensorSpec, ...], what: str) -> None:
    """Call values what they are to be called; another that is called so gives its name up.

    Raises:
        ConversionError: there are more or fewer, or a weight is called so.
    """
    if len(have) != len(wanted):
        raise ConversionError(f"{what} {len(have)} tensors, and {len(wanted)} are named; name each")
    goals = [spec.name for spec in wanted]
    if both := {tensor.name for tensor in graph.initializer}.intersection(goals):
        raise ConversionError(f"{what} {min(both)!r}, which is also the name of a weight; call one of them otherwise")
    known = values(graph)
    moved = {name: unique(name, known) for name in goals if name in known and name not in have}
    rename(graph, {**moved, **dict(zip(have, goals, strict=True))})


class _ChannelDropout(nn.Module):
    """Dropout of whole channels written with plain Dropout, the only one that a graph can hold."""

    def __init__(self, share: float, axes: int) -> None:
        super().__init__()
        self.share = share
        self.axes = axes

    def forward(self, values: Tensor) -> Tensor:
        corner = values
        for axis in range(values.ndim - self.axes, values.ndim):
            corner = corner.narrow(axis, 0, 1)
        return values * nn.functional.dropout(torch.ones_like(corner), self.share, self.training)


def _with_plain_dropout(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        if isinstance(child, (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)):
            axes = 1 if isinstance(child, nn.Dropout1d) else 2 if isinstance(child, nn.Dropout2d) else 3
            setattr(module, name, _ChannelDropout(child.p, axes))
        else:
            _with_plain_dropout(child)
    return module


def _rows_first(module: nn.Module) -> nn.Module:
    """Weights laid out in memory as their axes are, whatever was fastest to train with.

    A kernel with its channels last gives activations with theirs last, and torch then writes dropout of what was
    flattened from them as a table of places: ten nodes that compute nothing.
    """
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.ndim > 3:
            tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
    return module


def _reason(error: BaseException) -> str:
    """The first cause's last word; the exporter wraps it in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
