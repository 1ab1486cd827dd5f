"""A torch module as canonical graph and weights, its names kept.

The exporter runs unoptimized and in training mode, because in evaluation mode it drops Dropout and because its
optimizer folds BatchNormalization into the convolution before it and renames most weights. It works on a copy on the
CPU, so that no statistics move and no random number is drawn from the caller's generators.
"""

from __future__ import annotations

import copy

import torch
from numpy import ndarray
from torch import Tensor, nn

from engram.errors import ConversionError
from engram.graphs.build import OPSET
from engram.graphs.canonical import canonical
from engram.graphs.signature import declare
from engram.graphs.walk import RANDOM, operators
from engram.graphs.weights import FIXED, detach, note
from engram.records import TensorSpec
from engram.runtime._torch import export_attention, export_recurrent
from engram.runtime._torch.arrays import array
from engram.runtime._torch.examples import example, free_axes, silence
from engram.runtime._torch.export_domains import domains

__all__ = ["export"]


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
        ConversionError: torch cannot export the module; the message carries its reason.
    """
    weights = {name: array(tensor) for name, tensor in module.state_dict().items()}
    twin = _rows_first(_with_plain_dropout(copy.deepcopy(module)).to("cpu")).train()
    with torch.random.fork_rng(devices=[]), silence(), domains():
        try:
            program = torch.onnx.export(
                twin,
                tuple(example(spec, inputs) for spec in inputs),
                dynamo=True,
                optimize=False,
                training=torch.onnx.TrainingMode.PRESERVE,
                opset_version=OPSET,
                input_names=[spec.name for spec in inputs],
                output_names=[spec.name for spec in outputs],
                dynamic_shapes=free_axes(inputs),
                custom_translation_table={**export_attention.TRANSLATIONS, **export_recurrent.TRANSLATIONS},
                verbose=False,
            )
        except (RuntimeError, torch.onnx.errors.OnnxExporterError) as refused:
            raise ConversionError(f"torch cannot export {type(module).__name__}: {_reason(refused)}") from refused
    assert program is not None
    model = canonical(program.model_proto, names=weights)
    declare(model, inputs, outputs)
    drawn = RANDOM & operators(model)
    if drawn:
        raise ConversionError(
            f"{type(module).__name__} draws random numbers when it answers ({min(drawn)}); "
            "use the module nn.Dropout in place of a function of torch"
        )
    note(model, dict(twin.named_buffers()).keys() & weights.keys(), FIXED)
    graph, _ = detach(model, names=weights)
    return graph, weights


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
