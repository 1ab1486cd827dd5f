"""From a network's description and its weights to a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx
from numpy import ndarray

from engram.errors import FormatError
from engram.formats._keras.config import Layer, Network, Reference
from engram.formats._keras.kind import Drawn, Part, Task
from engram.formats._keras.table import kind_of
from engram.formats._sheet import Sheet
from engram.graphs.canonical import canonical
from engram.graphs.naming import rename
from engram.graphs.weights import FIXED, detach, note
from engram.records import Signature, TensorSpec
from engram.records.tensors import DTYPES

__all__ = ["drawn", "ends"]

_MOST = 200_000
"""Calls of layers, counted as networks within networks are drawn."""


@dataclass(slots=True)
class _Drawing:
    """What stays the same while a network is drawn."""

    sheet: Sheet
    version: int
    calls: int = 0


def drawn(
    network: Network, parts: Mapping[str, Part], weights: Mapping[str, ndarray], fixed: set[str], version: int
) -> tuple[bytes, Signature]:
    """The canonical graph of a network without its weights, and what goes in and comes out.

    Args:
        network: outermost.
        parts: its layers.
        weights: by the names that ``parts`` gives them; their numbers are not looked at.
        fixed: those that training does not move.
        version: the major version of the Keras that wrote the description.

    Raises:
        FormatError: a layer cannot be drawn, or its weights do not fit it.
    """
    inputs = ends(network)
    sheet = Sheet(inputs, weights)
    values = _network(_Drawing(sheet, version), network, parts, {spec.name: spec.name for spec in inputs})
    names = _output_names(network)
    made = [
        sheet.node("Identity", value) if value in names or value in weights else value
        for value in _distinct(sheet, values, inputs)
    ]
    model = sheet.finish(made)
    _rename(model, dict(zip(made, names, strict=True)))
    whole = canonical(model, set(weights))
    note(whole, fixed & set(weights), FIXED)
    graph, _ = detach(whole, set(weights))
    from engram.graphs.signature import signature

    found = signature(graph)
    outputs = tuple(
        TensorSpec(s.name, s.dtype, s.shape, kind=_meaning(network, reference, s))
        for s, (_, reference) in zip(found.outputs, network.outputs, strict=True)
    )
    return graph, Signature(found.inputs, outputs)


def ends(network: Network) -> list[TensorSpec]:
    """What goes into a network, in its order.

    Raises:
        FormatError: an input does not say its shape, or is of a type that is not known.
    """
    by_name = {layer.name: layer for layer in network.layers}
    return [_input(by_name, reference) for _, reference in network.inputs]


def _input(by_name: Mapping[str, Layer], reference: Reference) -> TensorSpec:
    layer = by_name.get(reference.layer)
    if layer is None or layer.kind != "InputLayer":
        raise FormatError(f"the input {reference.layer!r} is no InputLayer")
    shape = layer.settings.get("batch_shape") or layer.settings.get("batch_input_shape")
    if not isinstance(shape, list) or not shape or not all(n is None or (type(n) is int and n >= 0) for n in shape):
        raise FormatError(f"the input {layer.name!r} has the shape {shape!r}, which is none")
    if layer.settings.get("sparse") or layer.settings.get("ragged"):
        raise FormatError(f"the input {layer.name!r} is sparse or ragged, which is not read")
    dtype = layer.settings.get("dtype", "float32") or "float32"
    dtype = dtype.get("config", {}).get("name", "float32") if isinstance(dtype, Mapping) else dtype
    if dtype not in DTYPES:
        raise FormatError(f"the input {layer.name!r} is of type {dtype!r}, which is not known")
    lengths = [
        "batch" if not at and n is None else f"{layer.name}.{at}" if n is None else n for at, n in enumerate(shape)
    ]
    return TensorSpec(layer.name, dtype, tuple(lengths))


def _network(drawing: _Drawing, network: Network, parts: Mapping[str, Part], given: Mapping[str, str]) -> list[str]:
    """Draw all layers whose inputs are known, until all are; the outputs' values."""
    known: dict[tuple[str, int], Drawn] = {(name, 0): value for name, value in given.items()}
    waiting = [(layer, at) for layer in network.layers for at in range(len(layer.calls))]
    while waiting:
        later = []
        for layer, at in waiting:
            call = layer.calls[at]
            if not all((one.layer, one.call) in known for one in _references((call.positional, dict(call.named)))):
                later.append((layer, at))
                continue
            arguments = [_filled(one, known, layer) for one in call.positional]
            named = {key: _filled(one, known, layer) for key, one in call.named.items()}
            known[(layer.name, at)] = _layer(drawing, parts[layer.name], tuple(arguments), named)
        if len(later) == len(waiting):
            raise FormatError(f"layer {later[0][0].name!r} waits for a tensor that no layer makes")
        waiting = later
    return [_one(known, reference, f"the output {reference.layer!r}") for _, reference in network.outputs]


def _references(found: Any) -> list[Reference]:  # noqa: ANN401 - nested arguments
    if isinstance(found, Reference):
        return [found]
    if isinstance(found, Mapping):
        found = list(found.values())
    return [one for part in found for one in _references(part)] if isinstance(found, (list, tuple)) else []


def _filled(found: Any, known: Mapping[tuple[str, int], Drawn], layer: Layer) -> Any:  # noqa: ANN401 - nested arguments
    """An argument with the names of values in the place of references; a text of the file's own stays out."""
    if isinstance(found, Reference):
        return _one(known, found, f"layer {layer.name!r}")
    if isinstance(found, (list, tuple)):
        return [_filled(one, known, layer) for one in found]
    if isinstance(found, Mapping):
        return {key: _filled(one, known, layer) for key, one in found.items()}
    if isinstance(found, str):
        raise FormatError(f"layer {layer.name!r} is called with the text {found[:40]!r}, which is not known")
    return found


def _one(known: Mapping[tuple[str, int], Drawn], reference: Reference, where: str) -> str:
    made = known.get((reference.layer, reference.call))
    several = (made,) if isinstance(made, str) else made
    if several is None or reference.place >= len(several):
        raise FormatError(f"{where} takes output {reference.place} of {reference.layer!r}, which there is not")
    return several[reference.place]


def _layer(drawing: _Drawing, part: Part, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Drawn:
    drawing.calls += 1
    if drawing.calls > _MOST:
        raise FormatError(f"the network has more than {_MOST:,} calls of layers")
    if part.layer.network is not None:
        return _inner(drawing, part, arguments, named)
    sheet = drawing.sheet
    kind = kind_of(part.layer, part.where)
    dtype = _computed(part)
    sheet.begin(part.path)
    given = arguments if part.layer.operation else tuple(_typed(sheet, one, dtype) for one in arguments)
    names = {variable.key: f"{part.path}/{variable.called}" for variable in part.variables}
    weights = {key: _weight(sheet, name, dtype) for key, name in names.items()}

    def within(place: str, *inner: Any, **more: Any) -> Drawn:  # noqa: ANN401 - any arguments
        made = _layer(drawing, part.children[place], inner, more)
        sheet.begin(part.path)
        return made

    made = kind.draw(Task(sheet, part, given, named, weights, drawing.version, within))
    first = next((one for one in _texts(given)), "")
    if kind.masks == "keeps" and first in sheet.masks and isinstance(made, str):
        sheet.masks.setdefault(made, sheet.masks[first])
    return made


def _texts(found: Any) -> list[str]:  # noqa: ANN401 - nested arguments
    if isinstance(found, str):
        return [found]
    return [one for part in found for one in _texts(part)] if isinstance(found, (list, tuple)) else []


def _weight(sheet: Sheet, name: str, dtype: str) -> str:
    return sheet.cast(name, dtype) if sheet.dtype(name).startswith(("float", "bfloat")) else name


def _typed(sheet: Sheet, found: Any, dtype: str) -> Any:  # noqa: ANN401 - nested arguments
    """Floating inputs in the type in which the layer computes, as Keras has it."""
    if isinstance(found, list):
        return [_typed(sheet, one, dtype) for one in found]
    if not isinstance(found, str) or not sheet.dtype(found).startswith(("float", "bfloat")):
        return found
    made = sheet.cast(found, dtype)
    if made != found and found in sheet.masks:
        sheet.masks[made] = sheet.masks[found]
    return made


def _computed(part: Part) -> str:
    """The type in which a layer computes; in bfloat16's place float32, which no processor's runtime lacks."""
    found = part.layer.settings.get("dtype", "float32")
    if isinstance(found, Mapping):
        kind = str(found.get("class_name"))
        if "Quantized" in kind or "Map" in kind:
            raise FormatError(f"{part.where} is quantized ({kind}), which is not read; load and save it dequantized")
        found = (found.get("config") or {}).get("name", "float32")
    name = str(found or "float32").removeprefix("mixed_")
    return name if name in {"float16", "float32", "float64"} else "float32"


def _inner(drawing: _Drawing, part: Part, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Drawn:
    network = part.layer.network
    assert network is not None
    given = _texts([*arguments, *(value for key, value in named.items() if key != "mask")])
    keys = [key for key, _ in network.inputs]
    if len(arguments) == 1 and isinstance(arguments[0], Mapping) and all(keys):
        given = [arguments[0].get(key, "") for key in keys]
    if len(given) != len(network.inputs) or not all(given):
        raise FormatError(f"{part.where} takes {len(network.inputs)} tensors, but is called with {len(given)}")
    specs = ends(network)
    values = {spec.name: drawing.sheet.cast(one, spec.dtype) for spec, one in zip(specs, given, strict=True)}
    made = _network(drawing, network, part.children, values)
    return made[0] if len(made) == 1 else tuple(made)


def _distinct(sheet: Sheet, values: list[str], inputs: list[TensorSpec]) -> list[str]:
    """Each value once; an input or a second use gets a node of its own."""
    taken, made = {spec.name for spec in inputs}, []
    for value in values:
        made.append(sheet.node("Identity", value) if value in taken else value)
        taken.add(value)
    return made


def _output_names(network: Network) -> list[str]:
    """Outputs are called by their keys, or after the layer that makes them, each by a name of its own."""
    taken = {reference.layer for _, reference in network.inputs}
    names = []
    for key, reference in network.outputs:
        plain = key or reference.layer
        name, count = plain, 1
        while name in taken:
            name, count = f"{plain}.{count}", count + 1
        taken.add(name)
        names.append(name)
    return names


def _rename(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Give values their names as outputs; whatever else has such a name gets another."""
    used = {name for node in model.graph.node for name in node.output} - names.keys()
    moved = {name: f"{name}/inside" for name in names.values() if name in used}
    rename(model.graph, {**moved, **names})
    for value in model.graph.output:
        value.name = names.get(value.name, value.name)


def _meaning(network: Network, reference: Reference, spec: TensorSpec) -> str:
    layer = next((one for one in network.layers if one.name == reference.layer), None)
    word = layer.settings.get("activation") if layer is not None else None
    if layer is not None and layer.kind == "Softmax":
        word = "softmax"
    if len(spec.shape) != 2 or not isinstance(word, str):
        return "tensor"
    if word == "softmax" and spec.shape[1] != 1:
        return "probabilities"
    return "probability" if word == "sigmoid" and spec.shape[1] == 1 else "tensor"
