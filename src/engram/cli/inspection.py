"""The command that looks into a model without running it: inspect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from engram.cli.terminal import JSON, STORE, notice, pairs, say, show_json, size, table

if TYPE_CHECKING:
    from engram.lifecycle.inspect import Inspected
    from engram.records import TensorSpec

__all__ = ["COMMANDS"]


def inspect(
    place: str = typer.Argument(..., help="A model file, or a version of the store.", metavar="PATH|REF"),
    out: Path | None = typer.Option(
        None, "-o", "--out", help="An SVG picture of the network to write.", show_default=False
    ),
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Show the layers of a model, what it costs and what is odd about it, without running anything of it."""
    from engram import settings
    from engram.lifecycle.inspect import inspect as look

    seen = look(place, store=store, settings=settings.read(), picture=out)
    if json:
        show_json(seen.as_json())
        return
    made = f"  made by {seen.kind}" if seen.kind else ""
    say(f"[bold]{seen.name}[/]{made}  {seen.parameters:,} parameters in {len(seen.layers)} layers")
    pairs(_facts(seen))
    if seen.layers:
        say()
        _layers(seen)
    for sentence in seen.suspicious:
        notice(sentence)
    if out is not None:
        typer.echo(f"✓ drawn in {out}")


def _facts(seen: Inspected) -> dict[str, str]:
    assumed = ", ".join(f"{axis} = {length}" for axis, length in seen.assumed.items() if length != 1)
    facts = {"carries": ", ".join(seen.carries)}
    facts |= {"in": _specs(seen.signature.inputs), "out": _specs(seen.signature.outputs)}
    facts["memory"] = f"{size(seen.weight_bytes)} of weights, {size(seen.peak_bytes)} at most beside them for one row"
    facts["operations"] = f"{_count(seen.operations)} for one row{f', where {assumed}' if assumed else ''}"
    if seen.labels:
        facts["labels"] = ", ".join(seen.labels[:8]) + (f" and {len(seen.labels) - 8} more" * (len(seen.labels) > 8))
    return {key: value for key, value in facts.items() if value and (seen.layers or key in {"carries", "labels"})}


def _layers(seen: Inspected) -> None:
    whole = max(seen.operations, 1)
    rows = [
        (
            layer.name,
            layer.operator,
            _shape(layer.shape),
            layer.size or "",
            f"{layer.operations / whole:.1%}" if layer.operations else "",
            _weights(layer.parameters),
        )
        for layer in seen.layers
    ]
    headings = ("layer", "operator", "output", "parameters", "operations", "weights")
    table(headings, rows, right=("parameters", "operations"))


def _specs(specs: Sequence[TensorSpec]) -> str:
    shown = [f"{spec.name} {spec.dtype}{f' {_shape(spec.shape)}' if spec.shape else ''}" for spec in specs[:12]]
    return ", ".join(shown) + (f" and {len(specs) - 12} more" if len(specs) > 12 else "")


def _count(number: int) -> str:
    """A count in the unit that reads best."""
    amount = float(number)
    for unit in ("", " thousand", " million", " billion"):
        if amount < 1000:
            return f"{amount:,.0f}" if not unit else f"{amount:.3g}{unit}"
        amount /= 1000
    return f"{amount:,.3g} trillion"


def _shape(axes: Sequence[object]) -> str:
    return "×".join(str(axis) for axis in axes)


def _weights(shapes: Mapping[str, Sequence[int]]) -> str:
    """``weight 256×282, bias 256``: the last part of each name says enough beside the layer's own."""
    ends = {name: name.rpartition(".")[2].rpartition("/")[2] for name in shapes}
    return ", ".join(f"{ends[name]} {_shape(shape) or '1'}" for name, shape in shapes.items())


COMMANDS = (inspect,)
