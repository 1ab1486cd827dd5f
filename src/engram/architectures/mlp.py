"""Fully connected layers, for tables. Images are flattened first, which forgets what lies beside what."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from engram.architectures._parts import activation, output_width, sequence, table_width
from engram.records import Signature

__all__ = ["Options", "build", "found"]


@dataclass(frozen=True, slots=True)
class Options:
    """Options of ``kind = "mlp"``.

    Attributes:
        layers: units of each hidden layer; found from the number of rows.
        activation: between layers.
        dropout: share of units dropped after each hidden layer while training; found from the number of rows.
        norm: whether each hidden layer is followed by batch normalization.
    """

    layers: tuple[int, ...] | None = None
    activation: str = "relu"
    dropout: float | None = None
    norm: bool = True


def found(options: Options, signature: Signature, rows: int) -> tuple[Options, dict[str, str]]:
    """The options with everything left open decided, and why."""
    reasons = {}
    width = table_width(signature, "mlp")
    if options.layers is None:
        units = next(units for least, units in ((2_000, 256), (500, 128), (0, 64)) if rows >= least)
        options = replace(options, layers=(units, units))
        reasons["layers"] = f"{rows:,} rows of {width} features"
    if options.dropout is None:
        options = replace(options, dropout=0.4 if rows >= 2_000 else 0.2)
        reasons["dropout"] = f"{rows:,} rows"
    return options, reasons


def build(options: Options, signature: Signature) -> nn.Module:
    """The network: (batch, features) → (batch, outputs). Images are flattened first."""
    width = table_width(signature, "mlp")
    parts: list[tuple[str, nn.Module]] = []
    if len(signature.inputs[0].shape) > 2:
        parts.append(("flatten", nn.Flatten()))
    for number, units in enumerate(options.layers or (), start=1):
        parts.append((f"dense{number}", nn.Linear(width, units)))
        if options.norm:
            parts.append((f"norm{number}", nn.BatchNorm1d(units)))
        parts.append((f"activation{number}", activation(options.activation)))
        if options.dropout:
            parts.append((f"dropout{number}", nn.Dropout(options.dropout)))
        width = units
    parts.append(("output", nn.Linear(width, output_width(signature))))
    return sequence(parts, signature.outputs)
