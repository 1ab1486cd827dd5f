"""What Keras says of a network, as records: layers, who feeds whom, what goes in and what comes out.

Keras has written this in three dialects: with ``inbound_nodes`` as nested lists (1 and 2), as calls with arguments (3),
and as a plain list of layers (Sequential). They become one here. Classes are names to be looked up in a table of ours;
what is not in Keras itself (a class of the user's, a Lambda, which is code) is refused by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import FormatError

__all__ = ["NETWORKS", "Call", "Layer", "Network", "Reference", "layer", "network"]

NETWORKS = frozenset({"Functional", "Sequential", "Model"})
_HOMES = ("keras", "tf_keras", "tensorflow.python.keras", "tensorflow.keras", "builtins")
_DEEPEST = 32


@dataclass(frozen=True, slots=True)
class Reference:
    """A tensor: which output of which call of which layer."""

    layer: str
    call: int = 0
    place: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """A use of a layer: arguments as JSON has them, with references where tensors go in."""

    positional: tuple[Any, ...]
    named: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer, an operation, or a network that is used as one.

    Attributes:
        kind: the class, without its module.
        name: unique among its neighbors.
        settings: its config.
        calls: in order.
        operation: whether it is a function of ``keras.ops`` and not a layer.
        network: what is in it, for one of ``NETWORKS``.
        bare: whether it may be a function although it does not say so.
    """

    kind: str
    name: str
    settings: Mapping[str, Any]
    calls: tuple[Call, ...] = ()
    operation: bool = False
    network: Network | None = None
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Network:
    """Layers and how they hang together.

    Attributes:
        kind: ``Functional`` or ``Sequential``.
        layers: in an order in which they can be computed.
        inputs, outputs: in order; the keys where Keras has a dictionary of them, else empty texts.
    """

    kind: str
    name: str
    layers: tuple[Layer, ...]
    inputs: tuple[tuple[str, Reference], ...]
    outputs: tuple[tuple[str, Reference], ...]


def network(found: Any, where: str, depth: int = 0) -> Network:  # noqa: ANN401 - of a stranger's file
    """The network that a config describes.

    Args:
        found: with ``class_name`` and ``config``.
        where: what to call it in an error.
        depth: networks around this one.

    Raises:
        FormatError: it is no network, not whole, or holds what Keras itself does not have.
    """
    kind, said = _said(found, where)
    if kind not in NETWORKS or "layers" not in (said if isinstance(said, Mapping) else {"layers": said}):
        raise FormatError(
            f"{where}: {kind} is a class of its own, whose layers only its code knows; build it by the functional API"
        )
    if depth > _DEEPEST:
        raise FormatError(f"{where}: networks stand in networks deeper than {_DEEPEST} levels")
    if isinstance(said, list):  # Keras 1 and early 2: a Sequential was its list of layers
        said = {"name": "sequential", "layers": said}
    listed = _list(said.get("layers"), where)
    name = str(said.get("name", kind.lower()))
    layers = tuple(layer(one, f"{where}: layer {place}", depth) for place, one in enumerate(listed))
    _distinct(layers, where)
    if kind == "Sequential":
        return _sequence(name, layers, said, where)
    inputs, outputs = (_ends(said.get(key), f"{where}: {key}") for key in ("input_layers", "output_layers"))
    return _counted(Network("Functional", name, layers, inputs, outputs), listed)


def layer(found: Any, where: str, depth: int = 0) -> Layer:  # noqa: ANN401 - of a stranger's file
    """One layer from its description.

    Raises:
        FormatError: it is not whole, or of a class that is not Keras' own.
    """
    kind, said = _said(found, where)
    settings = said if isinstance(said, Mapping) else {}
    name = str(found.get("name") or settings.get("name") or kind.lower())
    home = found.get("module")
    registered = found.get("registered_name")
    if kind == "Lambda":
        raise FormatError(f"{where}: {name!r} is a Lambda, which holds code; it is not run, so say it with layers")
    foreign = isinstance(home, str) and not home.split(".")[0].startswith(_HOMES) and not home.startswith(_HOMES)
    registered = kind if ">" in kind else registered  # the older format knows no other place for it
    if foreign or home == "builtins" or (isinstance(registered, str) and ">" in registered):
        called = registered or f"{home}.{kind}"
        raise FormatError(f"{where}: {name!r} is of the class {called}, which is not Keras' own and is not run")
    operation = isinstance(home, str) and ".ops" in home
    # the older format leaves modules out; nearly every layer says whether it is trainable, and no function does
    bare = home is None and "trainable" not in settings
    inner = network(found, f"{where} ({name})", depth + 1) if kind in NETWORKS and not operation else None
    calls = tuple(_call(one, where) for one in _list(found.get("inbound_nodes", []), where))
    return Layer(kind, name, settings, calls, operation, inner, bare)


def _said(found: Any, where: str) -> tuple[str, Any]:  # noqa: ANN401 - of a stranger's file
    if not isinstance(found, Mapping) or not isinstance(found.get("class_name"), str) or "config" not in found:
        raise FormatError(f"{where}: has no class_name and config, as Keras writes them")
    return found["class_name"], found["config"]


def _list(found: Any, where: str) -> list[Any]:  # noqa: ANN401 - of a stranger's file
    if not isinstance(found, list):
        raise FormatError(f"{where}: a list is needed, not {type(found).__name__}")
    return found


def _distinct(layers: Iterable[Layer], where: str) -> None:
    seen = set()
    for one in layers:
        if one.name in seen:
            raise FormatError(f"{where}: two layers are called {one.name!r}")
        seen.add(one.name)


def _sequence(name: str, layers: tuple[Layer, ...], said: Mapping[str, Any], where: str) -> Network:
    """A list of layers as one that says who feeds whom; the input is made where the list has none."""
    if not layers:
        raise FormatError(f"{where}: {name!r} has no layers")
    first = layers[0]
    if first.kind != "InputLayer":
        shape = first.settings.get("batch_input_shape") or first.settings.get("batch_shape")
        shape = shape or said.get("build_input_shape")
        if first.network is not None and shape is None:
            shape = _shape_of(first.network)
        if not isinstance(shape, list):
            raise FormatError(f"{where}: {name!r} does not say the shape of its input; call it once before saving it")
        kind = "int32" if first.kind == "Embedding" else first.settings.get("dtype", "float32")
        settings = {"batch_shape": shape, "dtype": kind, "name": f"{first.name}_input"}
        layers = (Layer("InputLayer", f"{first.name}_input", settings), *layers)
    made, before = [layers[0]], layers[0].name
    for one in layers[1:]:
        made.append(replace(one, calls=(Call((Reference(before),)),)))
        before = one.name
    return Network("Sequential", name, tuple(made), (("", Reference(layers[0].name)),), (("", Reference(before)),))


def _counted(made: Network, listed: list[Any]) -> Network:
    """The same with the calls of inner networks counted from 0.

    A functional model is born with a call of itself. Keras 2 counts it in every reference to a model that stands in
    another, a Sequential with an input included; Keras 3 for functional models and in ``output_layers`` alone.
    """
    older = any(isinstance(node, list) for one in listed for node in one.get("inbound_nodes") or [])
    inner = {one.name: one for one in made.layers if one.network is not None}
    born = {name for name, one in inner.items() if older or one.kind != "Sequential"}

    def less(reference: Reference) -> Reference:
        known = reference.layer in born and reference.call
        return Reference(reference.layer, reference.call - 1, reference.place) if known else reference

    outputs = tuple((key, less(reference)) for key, reference in made.outputs)
    if not older:
        return replace(made, outputs=outputs)
    calls = {one.name: tuple(_moved(call, less) for call in one.calls) for one in made.layers}
    return replace(made, layers=tuple(replace(one, calls=calls[one.name]) for one in made.layers), outputs=outputs)


def _moved(found: Any, moved: Callable[[Reference], Reference]) -> Any:  # noqa: ANN401 - nested arguments
    """A call, or a part of its arguments, with other references."""
    if isinstance(found, Call):
        return Call(tuple(_moved(one, moved) for one in found.positional), _moved(dict(found.named), moved))
    if isinstance(found, Reference):
        return moved(found)
    if isinstance(found, dict):
        return {key: _moved(one, moved) for key, one in found.items()}
    return [_moved(one, moved) for one in found] if isinstance(found, list) else found


def _shape_of(inner: Network) -> Any:  # noqa: ANN401 - of a stranger's file
    begin = next(one for one in inner.layers if one.name == inner.inputs[0][1].layer)
    return begin.settings.get("batch_shape") or begin.settings.get("batch_input_shape")


def _ends(found: Any, where: str) -> tuple[tuple[str, Reference], ...]:  # noqa: ANN401 - of a stranger's file
    """Inputs or outputs: one ``[layer, call, place]``, a list of them, or a dictionary."""
    if _is_reference(found):
        return (("", _reference(found)),)
    if isinstance(found, Mapping):
        named = [(str(key), reference) for key, one in found.items() for _, reference in _ends(one, where)]
        return tuple(named)
    listed = [reference for one in _list(found, where) for _, reference in _ends(one, where)]
    if not listed:
        raise FormatError(f"{where}: names no layers")
    return tuple(("", reference) for reference in listed)


def _is_reference(found: Any) -> bool:  # noqa: ANN401 - of a stranger's file
    return (
        isinstance(found, list)
        and len(found) in {3, 4}
        and isinstance(found[0], str)
        and all(type(number) is int and number >= 0 for number in found[1:3])
    )


def _reference(found: list[Any]) -> Reference:
    return Reference(found[0], found[1], found[2])


def _call(found: Any, where: str) -> Call:  # noqa: ANN401 - of a stranger's file
    if isinstance(found, Mapping):
        positional = tuple(_tensors(one, where) for one in _list(found.get("args", []), where))
        named = found.get("kwargs", {})
        if not isinstance(named, Mapping):
            raise FormatError(f"{where}: kwargs must be an object")
        return Call(positional, {str(key): _tensors(one, where) for key, one in named.items()})
    return _older(found, where)


def _older(found: Any, where: str) -> Call:  # noqa: ANN401 - of a stranger's file
    """A call as Keras 2 wrote it: references with the keyword arguments behind each, or one of them alone."""
    if _is_reference(found):
        found = [found]
    if isinstance(found, Mapping):
        found = list(found.values())
    named: dict[str, Any] = {}
    tensors = []
    for one in _list(found, where):
        if not _is_reference(one):
            raise FormatError(f"{where}: a call names its tensors in a way that is not known")
        tensors.append(_reference(one))
        if len(one) == 4 and isinstance(one[3], Mapping):
            named |= {str(key): _named(value) for key, value in one[3].items()}
    return Call((tensors[0] if len(tensors) == 1 else tensors,), named)


def _named(found: Any) -> Any:  # noqa: ANN401 - of a stranger's file
    """A keyword argument of Keras 2, in which ``[layer, call, place]`` is a tensor and so is a list of them."""
    if _is_reference(found) and len(found) == 3:
        return _reference(found)
    return [_named(one) for one in found] if isinstance(found, list) else found


def _numbers(config: Any, where: str) -> ndarray:  # noqa: ANN401 - of a stranger's file
    """An array that stands in the description itself."""
    try:
        array = np.asarray(config["value"], dtype=config.get("dtype", "float32"))
    except (TypeError, ValueError, KeyError, AttributeError) as wrong:
        raise FormatError(f"{where}: an array in a call is none: {wrong}") from wrong
    if array.dtype.kind not in "biuf":
        raise FormatError(f"{where}: an array in a call holds {array.dtype}, not numbers")
    return array


def _tensors(found: Any, where: str) -> Any:  # noqa: ANN401 - of a stranger's file
    """An argument of Keras 3, with a reference in the place of each tensor."""
    if isinstance(found, list):
        return [_tensors(one, where) for one in found]
    if not isinstance(found, Mapping):
        return found
    kind, config = found.get("class_name"), found.get("config")
    if kind == "__keras_tensor__" and isinstance(config, Mapping):
        history = config.get("keras_history")
        if not isinstance(history, list) or not _is_reference(history):
            raise FormatError(f"{where}: a tensor does not say where it comes from")
        return _reference(history)
    if kind == "__slice__" and isinstance(config, Mapping):
        return slice(config.get("start"), config.get("stop"), config.get("step"))
    if kind in {"__ellipsis__", "__tensor__", "__numpy__"}:
        return Ellipsis if kind == "__ellipsis__" else _numbers(config, where)
    return {key: _tensors(one, where) for key, one in found.items()}
