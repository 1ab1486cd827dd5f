"""A layers model of TensorFlow.js: the description that Keras 2 wrote, with weights found by name.

The names in the list of weights are Keras' or TensorFlow.js' own (``dense_Dense1/kernel``), with or without the names
of networks around a layer. A weight is therefore looked for by its whole name, then by its layer and its own name, then
by its place among the weights of its layer, which all writers list in one order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from numpy import ndarray

from engram.errors import FormatError
from engram.formats._keras import read as reading
from engram.formats._keras.kind import Part
from engram.formats._keras.parts import arrays
from engram.records import Limits, Model

__all__ = ["config_of", "found_in", "model"]


def model(topology: Mapping[str, Any], held: Mapping[str, ndarray], about: Mapping[str, Any], limits: Limits) -> Model:
    """The network with its weights under Keras' names.

    Args:
        topology: ``modelTopology`` of ``model.json``.
        held: the weights as they are listed.
        about: what else is said of the source.
        limits: of a stranger's file.

    Raises:
        FormatError: a layer is not known, or a weight is not there.
    """
    config = config_of(topology)
    source = {"format": "tfjs", "keras_version": str(topology.get("keras_version", "")), "config": config, **about}
    return reading.built(config, lambda parts: found_in(held, parts), source, limits)


def config_of(topology: Mapping[str, Any]) -> dict[str, Any]:
    """The description of the network in a topology, which TensorFlow.js writes as the topology itself.

    Raises:
        FormatError: there is none.
    """
    found = topology.get("model_config", topology)
    if not isinstance(found, Mapping) or not isinstance(found.get("class_name"), str):
        raise FormatError("model.json: modelTopology describes no layers; save the model again")
    made: dict[str, Any] = _told({key: found[key] for key in ("class_name", "config") if key in found})
    return made


def _told(found: Any) -> Any:  # noqa: ANN401 - of a stranger's file
    """A description in which layers say what TensorFlow.js leaves out: its GRU resets before it multiplies."""
    if isinstance(found, list):
        return [_told(one) for one in found]
    if not isinstance(found, Mapping):
        return found
    made = {str(key): _told(one) for key, one in found.items()}
    settings = made.get("config")
    if made.get("class_name") in {"GRU", "GRUCell"} and isinstance(settings, dict):
        settings.setdefault("reset_after", False)
    return made


def found_in(held: Mapping[str, ndarray], parts: Mapping[str, Part]) -> dict[str, ndarray]:
    """The weights of layers under our names.

    Raises:
        FormatError: one is missing, or there is one that no layer has.
    """
    left = {name: tuple(name.split("/")) for name in held}
    made: dict[str, ndarray] = {}
    for part in _leaves(parts):
        wanted = [(f"{part.path}/{one.called}", one.called) for one in _sorted(part)]
        for name, called in wanted:
            place = name if name in left else _by_words(left, part, called)
            if place:
                made[name] = held[place]
                del left[place]
        missing = [name for name, _ in wanted if name not in made]
        near = [name for name, words in left.items() if part.layer.name in words]
        if missing and len(missing) == len(near):
            made |= {name: held[place] for name, place in zip(missing, near, strict=True)}
            left = {name: words for name, words in left.items() if name not in near}
    every = [name for part in parts.values() for name, _, _ in arrays(part)]
    for name in every:
        if name not in made:
            raise FormatError(f"model.json lists no weight for {name!r}, which a layer of the model has")
    if left:
        raise FormatError(f"model.json lists the weight {min(left)!r}, which no layer of the model has")
    return {name: made[name] for name in every}


def _sorted(part: Part) -> list[Any]:
    return sorted(part.variables, key=lambda one: not one.trained)


def _leaves(parts: Mapping[str, Part]) -> Iterator[Part]:
    """Every layer with arrays of its own, those within others included."""
    for part in parts.values():
        if part.variables:
            yield part
        yield from _leaves(part.children)


def _by_words(left: Mapping[str, tuple[str, ...]], part: Part, called: str) -> str:
    """The one name that has the layer and the last word of what its array is called; empty where there is not one.

    A word between (``forward_lstm``) must be there, too, or be the beginning of one that is (``forward_lstm_LSTM1``).
    """
    *between, last = called.split("/")
    found = [
        name
        for name, words in left.items()
        if words[-1] == last
        and part.layer.name in words
        and (len(between) < 2 or any(word.startswith(between[0]) for word in words))
    ]
    return found[0] if len(found) == 1 else ""
