"""``inspect``: what a model is made of, found by reading and never by running it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path

from engram.formats._convert import read
from engram.graphs.walk import Layer, layers
from engram.lifecycle.places import open_store
from engram.records import Model, Signature
from engram.settings import Settings

__all__ = ["Inspected", "inspect"]


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a model is made of.

    Attributes:
        name: the file or the version.
        kind: what framework it says to come from; empty if it does not say.
        parameters: numbers in its weights.
        signature: inputs and outputs.
        layers: in the order they run.
        labels: the classes.
    """

    name: str
    kind: str
    parameters: int
    signature: Signature
    layers: tuple[Layer, ...]
    labels: tuple[str, ...]

    @staticmethod
    def size_of(layer: Layer) -> int:
        """Numbers in the weights of a layer."""
        return sum(prod(shape) for shape in layer.parameters.values())

    def as_json(self) -> dict[str, object]:
        """As plain JSON values."""
        return {**asdict(self), "signature": self.signature.as_json()}


def inspect(place: str, *, store: str, settings: Settings) -> Inspected:
    """Look at a model file, or at a version where there is no such file.

    Raises:
        FormatError: the file is no model.
        VersionNotFound: there is neither a file nor a version of this name.
    """
    model: Model = read(place) if Path(place).exists() else open_store(store, settings).load(place)
    kind = str(model.source.get("framework", ""))
    found = tuple(layers(model.graph, model.weights)) if model.graph else ()
    return Inspected(place, kind, model.parameters, model.signature, found, model.labels)
