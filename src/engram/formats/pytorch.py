"""PyTorch: what ``torch.save`` writes of a network, as a state_dict or a whole training checkpoint.

The file is a pickle beside raw numbers; both are read without torch, and nothing of the pickle is run. Weights become
the model. There is no graph, unless Engram wrote the file: then the zip has one member more, which torch does not look
at, with the graphs and the description. An optimizer is taken by the names of its parameters where these
can be told, and named as left with the reason where not. A whole pickled module is code and is refused.

What is written opens with ``torch.load(weights_only=True)`` and loads with ``strict=True``; with a training state it is
``{"model", "optimizer", "epoch", "step", …}``, from which the original optimizer goes on to the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engram.errors import FormatError
from engram.formats import _carried
from engram.formats._pickle import SpecialDict
from engram.formats._pytorch import container, layout, recognition, writing
from engram.formats._pytorch import state as _state
from engram.formats._pytorch.tensors import Tensor
from engram.records import Limits, Model, Signature, TrainingState

__all__ = ["ALSO", "CARRIES", "SUFFIXES", "read", "recognizes", "state", "write", "write_training"]

SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
ALSO = (".pth.tar", ".pt.tar")  # scripts after PyTorch's own example for ImageNet call a checkpoint so
CARRIES = ("graph", "weights", "training state", "preprocessing", "names")


def recognizes(head: bytes, path: Path) -> bool:
    """Whether a file is a checkpoint of either form that ``torch.save`` has written."""
    return recognition.recognizes(head, path)


def read(path: Path, limits: Limits) -> Model:
    """The network's weights, with graph and description where Engram wrote the file.

    What the file holds and is not taken stands in ``source`` under ``not_taken``, each with its reason.

    Raises:
        FormatError: the file is damaged, hostile, or holds code, no weights, or several networks.
    """
    with container.opened(path, limits) as found:
        parts = layout.contents(found.tree, path.name)
        if len(parts.weights) > limits.tensors:
            raise FormatError(f"{path.name} has {len(parts.weights):,} tensors, over the limit of {limits.tensors:,}")
        weights = {
            name: found.memory.array(value, name) if isinstance(value, Tensor) else value
            for name, value in parts.weights.items()
        }
    if found.notes:
        return _carried.whole(found.notes, weights, f"the member {container.NOTES!r}", limits)
    return Model(graph=b"", weights=weights, signature=Signature((), ()), source=_source(parts, found.form))


def state(path: Path, limits: Limits) -> TrainingState | None:
    """What training goes on from; None where the file holds weights alone.

    Raises:
        FormatError: as ``read``.
    """
    with container.opened(path, limits) as found:
        return _state.read(layout.contents(found.tree, path.name), found.memory)


def write(model: Model, path: Path) -> None:
    """A state_dict, as ``module.state_dict()`` saved with torch.

    Raises:
        ConversionError: torch has no tensors of the type of a weight.
    """
    writing.save(_state_dict(model), path, _carried.text(model))


def write_training(model: Model, state: TrainingState, path: Path) -> None:
    """A checkpoint: the state_dict under ``model`` and the optimizer's under ``optimizer``, with epoch and step.

    Raises:
        ConversionError: torch has no tensors of the type of an array, or the state is damaged.
    """
    writing.save(_state.tree(_state_dict(model), state, model.weights), path, _carried.text(model))


def _state_dict(model: Model) -> SpecialDict:
    made = SpecialDict("OrderedDict", dict(model.weights))
    metadata = model.source.get("metadata") if model.source.get("format") == "pytorch" else None
    if isinstance(metadata, Mapping) and metadata:
        versions = {name: dict(entry) for name, entry in metadata.items()}
        made.attributes["_metadata"] = SpecialDict("OrderedDict", versions)
    return made


def _source(parts: layout.Contents, form: str) -> dict[str, Any]:
    """What the file says of itself."""
    _, left = _state.optimizer(parts)
    found: dict[str, Any] = {"format": "pytorch", "form": form, "layout": parts.layout}
    if parts.metadata:
        found["metadata"] = dict(parts.metadata)
    if parts.left or left:
        found["not_taken"] = [*parts.left, *left]
    return found
