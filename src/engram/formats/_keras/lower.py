"""Any canonical graph in Keras' words, and its weights found again in what Keras keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError
from engram.formats._keras import read as reading
from engram.formats._keras.kind import Part
from engram.formats._keras.lowering import Lowering
from engram.formats._keras.parts import arrays
from engram.formats._keras.said_layers import LAYERS
from engram.formats._keras.said_operations import OPERATIONS
from engram.formats._keras.said_recurrences import RECURRENCES
from engram.formats._keras.words import Array

__all__ = ["NAME", "Lowered", "lowered"]

NAME = "network"
"""What a network is called whose layers are our words for a graph."""
_NODES = {**LAYERS, **OPERATIONS, **RECURRENCES}


class Lowered:
    """A graph in Keras' words.

    Attributes:
        config: with ``class_name`` and ``config``.
        parts: its layers.
        weights: Keras' arrays by our names for them.
        names: weight of the graph → the array that is all of it and nothing else, where there is one.
        kept: names of weights that cannot be found again in the arrays.
    """

    def __init__(self, config: Mapping[str, Any], low: Lowering, weights: Mapping[str, ndarray]) -> None:
        said: Mapping[str, Array] = low.words.arrays
        self.config = config
        weight_of = {id(places): name for name, places in low.places.items()}
        self.parts: Mapping[str, Part] = reading.layers(config)
        known = [name for part in self.parts.values() for name, _, _ in arrays(part)]
        self.weights = {name: said[name].values for name in known}
        self._own = {name: (array.shape, array.dtype) for name, array in weights.items()}
        self._starts = np.cumsum([0, *(array.size for array in weights.values())])
        self._turned: dict[str, tuple[str, list[int]]] = {}
        self._places: dict[str, ndarray] = {}
        for name in known:
            places = said[name].places
            weight, order = weight_of.get(id(places.base)), _turning(places)
            if weight is not None and order is not None:
                self._turned[name] = weight, order
            else:
                self._places[name] = places.ravel()
        found = self._found(self._places)
        whole_ones = {weight for weight, _ in self._turned.values()}
        self.kept = [name for name, span in self._spans() if name not in whole_ones and not found[span].all()]
        self.names = self._whole()

    def originals(self, given: Mapping[str, ndarray]) -> dict[str, ndarray]:
        """The graph's weights, but for those of ``kept``, out of Keras' arrays."""
        made = {
            weight: np.ascontiguousarray(given[name].transpose(order)).reshape(self._own[weight][0])
            for name, (weight, order) in self._turned.items()
            if name in given
        }
        scattered = {name: places for name, places in self._places.items() if name in given}
        found = self._found(scattered)
        flat = np.zeros(len(found), np.float32)
        for name, places in scattered.items():
            learned = places >= 0
            flat[places[learned]] = np.asarray(given[name]).ravel()[learned]
        for name, span in self._spans():
            if name not in made and name not in set(self.kept) and found[span].all():
                made[name] = flat[span].reshape(self._own[name][0]).copy()
        return {name: made[name] for name in self._own if name in made}

    def moved(self, given: Mapping[str, ndarray]) -> dict[str, ndarray]:
        """What stands in place of the graph's weights (an optimizer's slots), as it lies in Keras; whole ones alone."""
        made = {
            name: given[weight].reshape(self._lying(name, order)).transpose(np.argsort(order))
            for name, (weight, order) in self._turned.items()
            if weight in given and given[weight].size == self.weights[name].size
        }
        flat, found = np.zeros(int(self._starts[-1]), np.float32), np.zeros(int(self._starts[-1]), bool)
        for name, span in self._spans():
            if name in given and given[name].size == span.stop - span.start:
                flat[span], found[span] = given[name].ravel(), True
        return made | {
            name: flat[places].reshape(self.weights[name].shape)
            for name, places in self._places.items()
            if places.size and places.min() >= 0 and found[places].all()
        }

    def _lying(self, name: str, order: list[int]) -> tuple[int, ...]:
        shape = self.weights[name].shape
        return tuple(shape[axis] for axis in order)

    def _found(self, scattered: Mapping[str, ndarray]) -> ndarray:
        """Of every learned number whether it stands in one of these arrays."""
        found = np.zeros(int(self._starts[-1]), bool)
        for places in scattered.values():
            found[places[places >= 0]] = True
        return found

    def _spans(self) -> Iterator[tuple[str, slice]]:
        for place, name in enumerate(self._own):
            yield name, slice(int(self._starts[place]), int(self._starts[place + 1]))

    def _whole(self) -> dict[str, str]:
        """Weights that are one array each, by where the array's numbers stand."""
        spans = dict(enumerate(self._spans()))
        found: dict[str, str] = {}
        for name in self.weights:
            if name in self._turned:
                found.setdefault(self._turned[name][0], name)
                continue
            places = self._places[name]
            if not places.size or places.min() < 0:
                continue
            weight, span = spans[int(np.searchsorted(self._starts, places.min(), side="right")) - 1]
            if places.size == span.stop - span.start and places.max() < span.stop:
                found.setdefault(weight, name)
        return found


def _turning(places: ndarray) -> list[int] | None:
    """The order of axes that turns a view back into the list that it is of; None where it is less or more than that.

    What is a view of all places of a weight was only turned: this needs no look at the numbers, which for a large
    network takes longer than reading its file.
    """
    every = places.base
    if every is None or every.size != places.size or not places.size:
        return None
    order = sorted(range(places.ndim), key=lambda axis: (-places.strides[axis], places.shape[axis] > 1))
    return order if places.transpose(order).flags.c_contiguous else None


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
    own = {name: weights[name] for name in low.graph.weights}
    return Lowered(config, low, own)


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
