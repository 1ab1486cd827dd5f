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
    from rich.markup import escape

    from engram import settings
    from engram.lifecycle.inspect import inspect as look

    seen = look(place, store=store, settings=settings.read(), picture=out)
    if json:
        show_json(seen.as_json())
        return
    made = f"  made by {seen.kind}" if seen.kind else ""
    where = f"{len(seen.layers):,} layers" if seen.layers else f"{len(seen.tensors):,} tensors"
    say(f"[bold]{escape(seen.name)}[/]{made}  {seen.parameters:,} parameters in {where}")
    pairs(_facts(seen))
    if seen.layers:
        say()
        _layers(seen)
    elif seen.tensors:
        say()
        _tensors(seen)
    for sentence in seen.suspicious:
        notice(sentence)
    if out is not None:
        typer.echo(f"✓ drawn in {out}")


def _facts(seen: Inspected) -> dict[str, str]:
    assumed = ", ".join(f"{axis} = {length}" for axis, length in seen.assumed.items() if length != 1)
    facts = {"carries": ", ".join(seen.carries)}
    facts |= {"in": _specs(seen.signature.inputs), "out": _specs(seen.signature.outputs)}
    beside = f", {size(seen.peak_bytes)} at most beside them for one row" if seen.layers else ""
    facts["memory"] = f"{size(seen.weight_bytes)} of weights{beside}"
    facts["operations"] = f"{_count(seen.operations)} for one row{f', where {assumed}' if assumed else ''}"
    if seen.labels:
        facts["labels"] = ", ".join(seen.labels[:8]) + (f" and {len(seen.labels) - 8} more" * (len(seen.labels) > 8))
    if not seen.layers:
        del facts["operations"]
    return {key: value for key, value in (facts | _training(seen)).items() if value}


def _training(seen: Inspected) -> dict[str, str]:
    """What training would go on from, a line each."""
    if seen.training is None:
        return {}
    found = seen.training
    kept = ", ".join(f"{slot} of {count:,}" for slot, count in found.slots.items())
    facts = {"training": f"epoch {found.epoch:,}, step {found.step:,}, {size(found.size)}"}
    if found.groups:
        facts["optimizer"] = (found.optimizer or "of an unknown class") + (f": {kept}" if kept else "")
    for number, group in enumerate(found.groups):
        facts[f"group {number}"] = f"{len(group.parameters):,} parameters, {_options(group.options)}"
    facts["schedule"] = _options(found.scheduler)
    facts["average"] = f"of {found.average:,} weights" if found.average else ""
    facts["also"] = ", ".join(found.rest)
    return facts


def _options(options: Mapping[str, object]) -> str:
    """The settings that say something; a switch that is off, and what a schedule keeps for itself, do not."""
    telling = {name: value for name, value in options.items() if value is not False and not name.startswith("_")}
    return ", ".join(f"{name} = {value}" for name, value in telling.items())


def _tensors(seen: Inspected) -> None:
    """Every tensor, with the module it belongs to where that begins."""
    rows, before = [], ""
    for tensor in seen.tensors:
        end = tensor.name[len(tensor.module) + 1 :] if tensor.module else tensor.name
        shown, before = tensor.module if tensor.module != before else "", tensor.module
        rows.append((shown, end, tensor.dtype, _shape(tensor.shape) or "1", tensor.count, size(tensor.size)))
    headings = ("module", "tensor", "type", "shape", "numbers", "memory")
    table(headings, rows, right=("numbers", "memory"))


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
