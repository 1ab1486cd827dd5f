"""From Keras' description and arrays to a model: what both of its formats share once their files are open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from numpy import ndarray

from engram.errors import FormatError
from engram.formats._keras.config import network
from engram.formats._keras.draw import drawn
from engram.formats._keras.kind import Part
from engram.formats._keras.parts import arrays, tree
from engram.records import Limits, Model

__all__ = ["built", "layers", "major", "trained"]


def built(
    config: Mapping[str, Any],
    weights: Callable[[Mapping[str, Part]], Mapping[str, ndarray]],
    source: Mapping[str, Any],
    limits: Limits,
) -> Model:
    """The model that a config describes.

    Args:
        config: as Keras wrote it.
        weights: finds the arrays for the layers.
        source: what is kept of the origin; ``config`` and ``keras_version`` among it.
        limits: the largest of everything that is accepted.

    Raises:
        FormatError: the config or the weights cannot be read, or do not fit each other.
    """
    try:
        known = network(config, "the config")
        parts = tree(known)
        found = weights(parts)
        if len(found) > limits.tensors:
            raise FormatError(f"the model has {len(found):,} weights, over the limit of {limits.tensors:,}")
        every = [(name, trained) for part in parts.values() for name, _, trained in arrays(part)]
        fixed = {name for name, trained in every if not trained}
        held = {name: found[name] for name, _ in every}
        graph, signature = drawn(known, parts, held, fixed, major(source))
    except RecursionError as wrong:
        raise FormatError("the config is nested deeper than can be followed") from wrong
    return Model(graph, held, signature, source=source)


def major(source: Mapping[str, Any]) -> int:
    """The major version of the Keras that wrote a description; 2 where it does not say."""
    first = str(source.get("keras_version", "")).split(".")[0]
    return int(first) if first.isdigit() and len(first) < 4 else 2


def layers(config: Mapping[str, Any]) -> dict[str, Part]:
    """The layers that a config describes, by name.

    Raises:
        FormatError: it is damaged, or a layer is of a kind that is not known.
    """
    try:
        return tree(network(config, "the config"))
    except RecursionError as wrong:
        raise FormatError("the config is nested deeper than can be followed") from wrong


def trained(parts: Mapping[str, Part]) -> list[str]:
    """Names of the weights that training moves, in Keras' order."""
    return [name for part in parts.values() for name, _, moves in arrays(part) if moves]
