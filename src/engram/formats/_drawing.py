"""Reading a network that somebody drew as a list of layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from numpy import ndarray

from engram.errors import FormatError
from engram.formats import _tensors
from engram.formats._layers import KINDS, Layer, nodes, turned
from engram.graphs.build import Builder
from engram.graphs.canonical import canonical
from engram.graphs.weights import detach
from engram.plugins import nearest
from engram.records import TensorSpec

__all__ = ["build", "layers"]

_OWN_KEYS = ("type", "name", "names")
_OPTIONAL = {"biases", "beta", "scale", "offset"}
_FLAT, _PICTURE = 2, 4


def layers(drawn: Any) -> tuple[list[Layer], dict[str, ndarray]]:  # noqa: ANN401 - of a stranger's file
    """The layers of a drawing, and all their arrays by name, as they lie in a graph.

    Raises:
        FormatError: a layer is not whole; the message names it by its number from 1.
    """
    if not isinstance(drawn, list) or not drawn:
        raise FormatError("layers must be a list of at least one layer")
    found: list[Layer] = []
    arrays: dict[str, ndarray] = {}
    for number, one in enumerate(drawn, start=1):
        layer = _layer(one, number)
        for role, name in layer.weights.items():
            if name in arrays:
                raise FormatError(f"{layer.where}: the name {name!r} is taken by an earlier layer")
            arrays[name] = _array(layer, role, one[role])
        found.append(layer)
        if layer.settings.get("activation") is not None and layer.kind != "Activation":
            said = {"activation": layer.settings["activation"]}
            found.append(Layer("Activation", layer.where, said, {}))
    return found, arrays


def build(
    found: Sequence[Layer],
    arrays: Mapping[str, ndarray],
    ends: tuple[TensorSpec | None, TensorSpec | None],
    *,
    channels_first: bool,
) -> tuple[bytes, dict[str, ndarray]]:
    """The layers one after the other as a canonical graph, and its weights.

    Args:
        found: at least one.
        arrays: by name.
        ends: input and output where the drawing tells them; found from the layers otherwise.
        channels_first: how pictures lie; otherwise channels come last, as people draw it.

    Raises:
        FormatError: two neighbors do not fit together.
    """
    first = ends[0] or _input(found, arrays, channels_first=channels_first)
    if not first.shape:
        raise FormatError(f"input {first.name!r} must have at least one axis, the batch")
    chain = list(found) if channels_first else _with_channels_last(found, len(first.shape))
    width = _widths(chain, arrays, first)
    last = ends[1] or TensorSpec("output", "float32", ("batch", *width))
    clash = {first.name, last.name} & arrays.keys()
    if clash or first.name == last.name:
        raise FormatError(f"the name {min(clash or {first.name})!r} stands for two things; change one")
    builder = Builder([first], name="network")
    for name, array in arrays.items():
        builder.constant(array, name=name)
    value = first.name
    for number, layer in enumerate(chain, start=1):
        builder.scope = f"{number}"
        value = nodes(layer, builder, value, last.name if number == len(chain) else "")
    try:
        made = builder.finish([last])
    except onnx.checker.ValidationError as wrong:
        raise FormatError(f"the layers make no valid graph: {str(wrong).splitlines()[0]}") from wrong
    return detach(canonical(onnx.ModelProto.FromString(made), names=arrays), names=arrays)


def _layer(one: Any, number: int) -> Layer:  # noqa: ANN401 - of a stranger's file
    kind = one.get("type") if isinstance(one, dict) else None
    if not isinstance(kind, str):
        raise FormatError(f"layer {number} must be an object with a type")
    where = f"layer {number} ({kind})"
    if kind not in KINDS:
        raise FormatError(f"{where}: this kind of layer does not exist; {nearest(kind, KINDS)}")
    shelf = KINDS[kind]
    known = (*_OWN_KEYS, *shelf.keys, *shelf.roles)
    for key in one:
        if key not in known:
            raise FormatError(f"{where} has no key {key!r}; {nearest(key, known)}")
    for role in shelf.roles:
        if one.get(role) is None and role not in _OPTIONAL:
            raise FormatError(f"{where} needs {role}")
    settings = {key: one[key] for key in shelf.keys if one.get(key) is not None}
    return Layer(kind, where, settings, _names(one, kind, where, number))


def _names(one: Mapping[str, Any], kind: str, where: str, number: int) -> dict[str, str]:
    """Role → name in the graph, for the arrays that are there."""
    name, names = one.get("name", f"{kind.lower()}_{number}"), one.get("names", {})
    if not isinstance(name, str) or not isinstance(names, dict):
        raise FormatError(f"{where}: name must be text, and names an object")
    roles = {role: end for role, end in KINDS[kind].roles.items() if one.get(role) is not None}
    found = {role: names.get(role, f"{name}.{end}" if name else end) for role, end in roles.items()}
    if not names.keys() <= roles.keys() or not all(isinstance(n, str) and n for n in found.values()):
        raise FormatError(f"{where}: names must give a text to any of {', '.join(roles) or 'nothing'}")
    return found


def _array(layer: Layer, role: str, given: Any) -> ndarray:  # noqa: ANN401 - of a stranger's file
    where = f"{layer.where}: {role}"
    array = _tensors.array(given, where)
    rank = dict(zip(KINDS[layer.kind].roles, KINDS[layer.kind].ranks, strict=True))[role]
    if rank and array.ndim != rank:
        raise FormatError(f"{where} must be lists {rank} deep, but are {array.ndim} deep")
    if array.size == 0:
        raise FormatError(f"{where} are empty")
    return turned(layer.kind, role, array)


def _input(found: Sequence[Layer], arrays: Mapping[str, ndarray], *, channels_first: bool) -> TensorSpec:
    """The input that the first layer with weights wants."""
    for layer in found:
        if layer.kind == "Conv2D":
            channels = arrays[layer.weights["weights"]].shape[1] * _groups(layer)
            axes = (channels, "height", "width") if channels_first else ("height", "width", channels)
            return TensorSpec("input", "float32", ("batch", *axes))
        if layer.kind in {"Flatten", "Permute", "GlobalAveragePooling2D", "MaxPooling2D", "AveragePooling2D"}:
            break
        if layer.kind == "Dense":
            return TensorSpec("input", "float32", ("batch", int(arrays[layer.weights["weights"]].shape[1])))
        if layer.kind in {"BatchNormalization", "LayerNormalization"}:
            return TensorSpec("input", "float32", ("batch", int(arrays[layer.weights["gamma"]].shape[0])))
    raise FormatError('the layers do not tell how large the input is; add "input": {"shape": ["batch", …]}')


def _with_channels_last(found: Sequence[Layer], rank: int) -> list[Layer]:
    """Graphs keep channels before height and width: turn the picture on the way in, and back where it is flattened."""
    pictures = {"Conv2D", "MaxPooling2D", "AveragePooling2D", "GlobalAveragePooling2D"}
    if rank != _PICTURE or not any(layer.kind in pictures for layer in found):
        return list(found)
    back = Layer("Permute", "the turning back", {"dims": [2, 3, 1]}, {})
    chain = [Layer("Permute", "the turning", {"dims": [3, 1, 2]}, {})]
    turned_now = True
    for layer in found:
        wide = layer.kind == "LayerNormalization" or layer.settings.get("activation") == "softmax"
        if turned_now and (layer.kind in {"Flatten", "Permute"} or wide):
            chain.append(back)
            turned_now = False
        turned_now = turned_now and not (layer.kind == "GlobalAveragePooling2D" and not layer.settings.get("keepdims"))
        chain.append(layer)
    return [*chain, back] if turned_now else chain


def _widths(chain: Sequence[Layer], arrays: Mapping[str, ndarray], first: TensorSpec) -> tuple[int | str, ...]:
    """Check that neighbors fit, and tell the axes of the output behind the batch as far as they are known."""
    rank, width = len(first.shape), first.shape[1 if len(first.shape) == _PICTURE else -1]
    for layer in chain:
        wanted, made = _width(layer, arrays)
        if layer.kind == "Dense" and rank != _FLAT:
            raise FormatError(f"{layer.where} wants one row of numbers; put a Flatten before it")
        if wanted and isinstance(width, int) and width != wanted:
            raise FormatError(f"{layer.where} wants {wanted} inputs, but gets {width}")
        width = made or width
        if layer.kind == "Flatten" or (layer.kind == "GlobalAveragePooling2D" and not layer.settings.get("keepdims")):
            width = width if layer.kind == "GlobalAveragePooling2D" or rank == _FLAT else "features"
            rank = _FLAT
        if layer.kind == "Permute":
            width = "channels"
    return (width,) if rank == _FLAT else ("channels", "rows", "columns")[: rank - 1]


def _width(layer: Layer, arrays: Mapping[str, ndarray]) -> tuple[int, int]:
    """Inputs that a layer wants and outputs that it makes; 0 where it takes any or changes nothing."""
    if layer.kind not in {"Dense", "Conv2D", "BatchNormalization", "LayerNormalization"}:
        return 0, 0
    sizes = {role: int(arrays[name].shape[0]) for role, name in layer.weights.items()}
    if len(set(sizes.values())) > 1:
        raise FormatError(f"{layer.where}: {' and '.join(f'{role} for {size}' for role, size in sizes.items())} differ")
    made = next(iter(sizes.values()))
    if layer.kind not in {"Dense", "Conv2D"}:
        return made, made
    said = layer.settings.get("units" if layer.kind == "Dense" else "filters", made)
    if said != made:
        raise FormatError(f"{layer.where} says it has {said!r} units, but its weights are for {made}")
    return int(arrays[layer.weights["weights"]].shape[1]) * (_groups(layer) if layer.kind == "Conv2D" else 1), made


def _groups(layer: Layer) -> int:
    groups = layer.settings.get("groups", 1)
    return groups if type(groups) is int and 0 < groups < 2**31 else 1
