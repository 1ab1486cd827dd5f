"""Any canonical graph in Keras' words, and its weights found again in what Keras keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError
from engram.formats._keras import read as reading
from engram.formats._keras.kind import Part
from engram.formats._keras.learned import Array, Ground
from engram.formats._keras.lowering import Lowering
from engram.formats._keras.parts import arrays
from engram.formats._keras.said_layers import LAYERS
from engram.formats._keras.said_operations import OPERATIONS
from engram.formats._keras.said_recurrences import RECURRENCES

__all__ = ["NAME", "Lowered", "lowered"]

NAME = "network"
"""What a network is called whose layers are our words for a graph."""
_NODES = {**LAYERS, **OPERATIONS, **RECURRENCES}


class Told(Mapping[str, ndarray]):
    """Keras' arrays by our names for them, each made when it is asked for and held by nobody."""

    def __init__(self, arrays: Mapping[str, Array], weights: Mapping[str, ndarray]) -> None:
        self._arrays, self._weights = arrays, weights

    def __getitem__(self, name: str) -> ndarray:
        return np.asarray(self._arrays[name].valued(self._weights), order="C")

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


class Lowered:
    """A graph in Keras' words.

    Attributes:
        config: with ``class_name`` and ``config``.
        parts: its layers.
        weights: Keras' arrays by our names for them.
        names: weight of the graph → the array that is all of it and nothing else, where there is one.
        kept: names of weights that cannot be found again in the arrays.
        found: names of those that can.
    """

    def __init__(self, config: Mapping[str, Any], low: Lowering) -> None:
        self.config = config
        self.parts: Mapping[str, Part] = reading.layers(config)
        known = [name for part in self.parts.values() for name, _, _ in arrays(part)]
        self._ground = low.ground
        self._arrays = {name: low.words.arrays[name] for name in known}
        self.weights = self.told(low.ground.weights)
        orders = {name: array.order() for name, array in self._arrays.items()}
        self._turned = {name: order for name, order in orders.items() if order is not None}
        self._scattered = [name for name, order in orders.items() if order is None]
        roots = {root for name in self._scattered for root in self._arrays[name].roots}
        own = low.ground.weights
        self._partial = Ground.of({name: own[name] for name in own if name in roots})
        found = self._filled({name: np.broadcast_to(True, self._arrays[name].shape) for name in self._scattered})
        whole_ones = {self._arrays[name].roots[0] for name in self._turned}
        self.kept = [name for name in own if name not in whole_ones and not (name in found and found[name].all())]
        self.found = own.keys() - set(self.kept)
        self.names = self._whole()

    def told(self, weights: Mapping[str, ndarray]) -> Mapping[str, ndarray]:
        """Keras' arrays with other numbers than the graph was put into words with."""
        return Told(self._arrays, weights)

    def originals(self, given: Mapping[str, ndarray]) -> dict[str, ndarray]:
        """The graph's weights, but for those of ``kept``, out of Keras' arrays."""
        made = {}
        for name, order in self._turned.items():
            if name in given:
                (weight,) = self._arrays[name].roots
                shape = self._ground.weights[weight].shape
                made[weight] = np.ascontiguousarray(given[name].transpose(order)).reshape(shape)
        scattered = [name for name in self._scattered if name in given]
        found = self._filled({name: np.broadcast_to(True, self._arrays[name].shape) for name in scattered})
        whole = {name for name, truths in found.items() if truths.all()} - set(self.kept)
        if whole:
            del found
            numbers = self._filled(_Only(given, scattered), np.float32)
            made |= {name: numbers[name] for name in whole if name not in made}
        return {name: made[name] for name in self._ground.weights if name in made}

    def moved(self, given: Mapping[str, ndarray]) -> dict[str, ndarray]:
        """What stands in place of the graph's weights (an optimizer's slots), as it lies in Keras; whole ones alone."""
        own = self._ground.weights
        fits = {name: given[name].reshape(own[name].shape) for name in own if _size(given, name) == own[name].size}
        made = {}
        for name, array in self._arrays.items():
            if array.whole and fits.keys() >= set(array.roots):
                made[name] = array.valued(fits)
        return made

    def _filled(self, given: Mapping[str, ndarray], kind: type = bool) -> dict[str, ndarray]:
        """The weights that arrays other than turned ones hold numbers of, with those in their places, else zeros."""
        own, starts = self._partial.weights, self._partial.starts
        flat: ndarray = np.zeros(sum(array.size for array in own.values()), kind)
        made = {name: flat[starts[name] : starts[name] + own[name].size].reshape(own[name].shape) for name in own}
        for name in given:
            array, values = self._arrays[name], given[name]
            seen = array.seen_in(made)
            if seen is None:
                places = array.places(self._partial)
                flat[places[places >= 0]] = values[places >= 0]
            for key, view in seen or ():
                view[...] = values[key]
        return made

    def _whole(self) -> dict[str, str]:
        """Weights that are one array each, by where the array's numbers stand."""
        found: dict[str, str] = {}
        for name, array in self._arrays.items():
            if len(array.roots) != 1 or array.size != self._ground.weights[array.roots[0]].size or not array.size:
                continue
            if array.whole:
                found.setdefault(array.roots[0], name)
        return found


class _Only(Mapping[str, ndarray]):
    """Some of a mapping, whose values are still made one at a time."""

    def __init__(self, given: Mapping[str, ndarray], names: Sequence[str]) -> None:
        self._given, self._names = given, names

    def __getitem__(self, name: str) -> ndarray:
        return np.asarray(self._given[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _size(given: Mapping[str, ndarray], name: str) -> int:
    return given[name].size if name in given else -1


def lowered(graph: bytes, weights: Mapping[str, ndarray]) -> Lowered:
    """The graph in Keras' words.

    Args:
        graph: canonical, without its weights.
        weights: by name; those the graph does not use are left out.

    Raises:
        ConversionError: a node cannot be said in Keras; it is named.
    """
    odd = [name for name, array in weights.items() if array.dtype != np.float32]
    low = Lowering(graph, weights)
    if set(odd) & set(low.graph.weights):
        name = min(set(odd) & set(low.graph.weights))
        raise ConversionError(f"the weight {name!r} is {weights[name].dtype}, but layers are written in float32 alone")
    low.begin()
    for step in low.graph.nodes:
        if low.folded(step):
            continue
        if step.domain or step.operator not in _NODES:
            raise low.refused(step, "has no layer and no function in Keras")
        _NODES[step.operator](low, step)
    outputs = _ends(low)
    config = low.words.finished(NAME, low.inputs, outputs)
    return Lowered(config, low)


def _ends(low: Lowering) -> list[Any]:
    """The outputs, each made by a layer that is called as the output is."""
    made = []
    for name in low.graph.outputs:
        if low.is_static(name):
            raise ConversionError(f"the output {name!r} is known beforehand, which no network of Keras says")
        tensor = low.first(name)
        kind = low.words.layer("Identity", {"dtype": low.dtype(name)}, [tensor], name=name)
        made.append(type(tensor)(kind, 0, tensor.shape, tensor.dtype))
    return made
