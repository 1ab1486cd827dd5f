"""``inspect``: what a model is made of, what it costs and what is odd about it, and nothing of it is run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from engram.formats._convert import read
from engram.graphs.layers import Layer, Network, network
from engram.graphs.signature import signature as declared
from engram.lifecycle.drawing import drawn
from engram.lifecycle.places import open_store
from engram.lifecycle.suspicions import suspicions
from engram.lifecycle.whole import write
from engram.records import Model, Signature
from engram.settings import Settings

__all__ = ["Inspected", "inspect"]


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a model is made of.

    Attributes:
        name: the file or the version.
        kind: what framework it says to come from; empty if it does not say.
        carries: the parts that are there: graph, weights, preprocessing, labels, statistics, source.
        parameters: numbers in its weights.
        weight_bytes: bytes of its weights.
        peak_bytes: bytes that intermediate results of one row take at the worst moment.
        operations: additions and multiplications for one row.
        assumed: free axis → the length taken for it where costs were counted.
        signature: inputs and outputs.
        layers: in the order they run.
        labels: the classes.
        suspicious: one sentence for each thing that is odd.
    """

    name: str
    kind: str
    carries: tuple[str, ...]
    parameters: int
    weight_bytes: int
    peak_bytes: int
    operations: int
    assumed: dict[str, int]
    signature: Signature
    layers: tuple[Layer, ...]
    labels: tuple[str, ...]
    suspicious: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """As plain JSON values."""
        return {**asdict(self), "signature": self.signature.as_json()}


def inspect(place: str, *, store: str, settings: Settings, picture: Path | None = None) -> Inspected:
    """Look at a model file, or at a version where there is no such file.

    Args:
        place: path, or reference to a version.
        store: where versions are; empty for the one that the settings name.
        settings: of this process.
        picture: an SVG file to draw the network into; None for none.

    Raises:
        FormatError: the file is no model.
        VersionNotFound: there is neither a file nor a version of this name.
        UsageError: the picture cannot be written.
    """
    model: Model = read(place) if Path(place).exists() else open_store(store, settings).load(place)
    found = network(model.graph, model.weights) if model.graph else Network((), (), 0, 0, {})
    if picture is not None:
        title = f"{Path(place).name}: {model.parameters:,} parameters, {found.operations:,} operations a row"
        ends = declared(model.graph) if model.graph else model.signature
        write(picture, drawn(title, found, ends), "choose another place with -o")
    return Inspected(
        name=place,
        kind=str(model.source.get("framework", "")),
        carries=_carried(model),
        parameters=model.parameters,
        weight_bytes=sum(array.nbytes for array in model.weights.values()),
        peak_bytes=found.memory,
        operations=found.operations,
        assumed=dict(found.assumed),
        signature=model.signature,
        layers=found.layers,
        labels=model.labels,
        suspicious=suspicions(model),
    )


def _carried(model: Model) -> tuple[str, ...]:
    parts = {
        "graph": model.graph,
        "weights": model.weights,
        "preprocessing": model.preprocessing,
        "labels": model.labels,
        "statistics": model.statistics,
        "source": model.source,
    }
    return tuple(name for name, part in parts.items() if part)
