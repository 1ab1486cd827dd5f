"""Where two networks part: the first place, in order of computation, at which they no longer compute the same.

Every value of a long network at once would take more memory than the network itself, so a few places that are spread
over it are compared, then a few between the last that agrees and the first that does not, until nothing is between
them. Places are values that both graphs name alike, and what each weight is used for, where a format renamed the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy import ndarray

from engram.errors import EngramError
from engram.formats import _onnxruntime
from engram.formats._answers import Piece, tensors
from engram.graphs.layers import network
from engram.graphs.weights import attach
from engram.records import Model

__all__ = ["Place", "first_difference"]

_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Place:
    """Where two networks part.

    Attributes:
        node: of the original's graph; empty where that cannot be told.
        layer: what the source calls what the node belongs to; empty where it has no weights.
    """

    node: str = ""
    layer: str = ""

    def __str__(self) -> str:
        if not self.node or self.layer in {"", self.node}:
            return f"node {self.node!r}" if self.node else ""
        return f"node {self.node!r} of layer {self.layer!r}"


def first_difference(original: Model, converted: Model, asked: Sequence[Piece], tolerance: float) -> Place:
    """The first place at which two networks part, by the words of the source.

    Args:
        original: names the layers.
        converted: the same network as it came back; with or without the original's preprocessing.
        asked: raw inputs of the original, as it was asked them.
        tolerance: as of a certificate.
    """
    try:
        for piece in asked:
            ready = tensors(original, piece)
            one, other = _Network(original, ready), _Network(converted, ready)
            found = _searched(one, other, tolerance)
            if found:
                return one.named(found)
    except (EngramError, onnx.checker.ValidationError, ValueError):
        return Place()
    return Place()


def _searched(one: _Network, other: _Network, tolerance: float) -> str:
    """The place at which they part first."""
    places = [place for place in one.places if place in other.places]
    low, high, differs = 0, len(places), ""
    while low < high:
        step = max((high - low) // _AT_ONCE, 1)
        tried = sorted({*range(low, high, step), high - 1})
        chosen = [places[number] for number in tried]
        mine, theirs = one.at(chosen), other.at(chosen)
        apart = [number for number in tried if _differ(mine, theirs, places[number], tolerance)]
        if not apart:
            return differs
        differs, high = places[apart[0]], apart[0]
        low = max((number + 1 for number in tried if number < high), default=low)
    return differs


def _differ(one: Mapping[str, ndarray], other: Mapping[str, ndarray], place: str, tolerance: float) -> bool:
    mine, theirs = one[place], other[place]
    if mine.dtype.kind != "f" or theirs.dtype.kind != "f" or mine.shape != theirs.shape:
        return False
    return not np.allclose(theirs, mine, rtol=tolerance, atol=tolerance, equal_nan=True)


class _Network:
    """A network of which any value inside can be asked for.

    Attributes:
        places: name of a value, or ``weight`` and the name of one → the value there, in order of computation.
    """

    def __init__(self, model: Model, ready: Piece) -> None:
        self._model = model
        self._whole = attach(model.graph, model.weights)
        given = [value.name for value in self._whole.graph.input]
        renamed = dict(zip(ready, given, strict=False)) if set(given) != set(ready) else {}
        self._inputs = {renamed.get(name, name): array for name, array in ready.items()}
        weights = {tensor.name for tensor in self._whole.graph.initializer}
        self.places: dict[str, str] = {}
        for node in self._whole.graph.node:
            if node.op_type == "Constant":
                continue
            self.places |= {name: name for name in node.output if name}
            for name in node.input:
                if name in weights:
                    self.places.setdefault(f"weight {name}", node.output[0])

    def at(self, places: Sequence[str]) -> dict[str, ndarray]:
        """What is computed at these places."""
        wanted = list(dict.fromkeys(self.places[place] for place in places))
        del self._whole.graph.output[:]
        self._whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
        found = _onnxruntime.run(self._whole.SerializeToString(), [self._inputs])[0]
        return {place: found[self.places[place]] for place in places}

    def named(self, place: str) -> Place:
        """What a place is called."""
        value = self.places[place]
        made = next(node for node in self._whole.graph.node if value in node.output)
        layers = network(self._model.graph, self._model.weights).layers
        layer = next((each.name for each in layers if set(each.parameters) & set(made.input)), "")
        return Place(made.name or value, layer)
