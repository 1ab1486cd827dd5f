"""``inspect``: what a model is made of, what it costs and what is odd about it, and nothing of it is run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from engram.formats._convert import left, read, read_state
from engram.graphs.layers import Layer, Network, network
from engram.graphs.signature import signature as declared
from engram.lifecycle.drawing import drawn
from engram.lifecycle.holding import Held, Training, held, odd_slots, training
from engram.lifecycle.places import open_store
from engram.lifecycle.size_drawing import sizes_drawn
from engram.lifecycle.suspicions import suspicions
from engram.lifecycle.whole import write
from engram.records import Model, Signature, TrainingState
from engram.settings import Settings

__all__ = ["Inspected", "inspect"]


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a model is made of.

    Attributes:
        name: the file or the version.
        kind: what framework it says to come from; empty if it does not say.
        carries: the parts that are there: graph, weights, preprocessing, labels, statistics, source, training state.
        parameters: numbers in its weights.
        weight_bytes: bytes of its weights.
        peak_bytes: bytes that intermediate results of one row take at the worst moment.
        operations: additions and multiplications for one row.
        assumed: free axis → the length taken for it where costs were counted.
        signature: inputs and outputs.
        layers: in the order they run.
        labels: the classes.
        suspicious: one sentence for each thing that is odd.
        tensors: its weights one by one.
        training: what training would go on from; None where there is nothing.
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
    tensors: tuple[Held, ...] = ()
    training: Training | None = None

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
    model, state = _opened(place, store, settings)
    found = network(model.graph, model.weights) if model.graph else Network((), (), 0, 0, {})
    if picture is not None:
        title = f"{Path(place).name}: {model.parameters:,} parameters, {found.operations:,} operations a row"
        alone = f"{Path(place).name}: {model.parameters:,} parameters in {len(model.weights):,} tensors"
        made = drawn(title, found, declared(model.graph)) if model.graph else sizes_drawn(alone, held(model.weights))
        write(picture, made, "choose another place with -o")
    return Inspected(
        name=place,
        kind=str(model.source.get("framework", "")),
        carries=_carried(model, state),
        parameters=model.parameters,
        weight_bytes=sum(array.nbytes for array in model.weights.values()),
        peak_bytes=found.memory,
        operations=found.operations,
        assumed=dict(found.assumed),
        signature=model.signature,
        layers=found.layers,
        labels=model.labels,
        suspicious=(*suspicions(model), *(odd_slots(state) if state is not None else ()), *left(model, state)),
        tensors=held(model.weights),
        training=training(state) if state is not None else None,
    )


def _opened(place: str, store: str, settings: Settings) -> tuple[Model, TrainingState | None]:
    if Path(place).exists():
        return read(place), read_state(place)
    opened = open_store(store, settings)
    return opened.load(place), opened.state(place) if "training" in opened.version(place).holds else None


def _carried(model: Model, state: TrainingState | None) -> tuple[str, ...]:
    parts = {
        "graph": model.graph,
        "weights": model.weights,
        "preprocessing": model.preprocessing,
        "labels": model.labels,
        "statistics": model.statistics,
        "source": model.source,
    }
    return (*(name for name, part in parts.items() if part), *(["training state"] if state is not None else []))
