"""SavedModel: the folder in which TensorFlow keeps networks, read and written without TensorFlow.

A stranger's SavedModel is a program: it may read files, call Python, or run forever. TensorFlow's own loader runs parts
of it on opening, so it is never asked to open one. Its protobuf and its index of variables are read here; every
operation of every function must be on a list of those that only compute, or the folder is refused with the operation's
name; and what the serving signature computes is written down as ONNX, with loops that are LSTM or GRU as what they are.

What is written loads in TensorFlow 2 (``tf.saved_model.load``) and in its server: variables under their own names, one
signature ``serving_default`` with inputs and outputs by name, preprocessing inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy import ndarray

from engram.errors import ConversionError
from engram.formats import _worker
from engram.formats._faults import typed
from engram.formats._tensorflow import carried, reading, running, saving, training
from engram.formats._tensorflow.lowering import speaks
from engram.graphs.signature import signature as declared
from engram.records import Limits, Model, Signature, TrainingState

__all__ = [
    "CARRIES",
    "FOLDER",
    "SUFFIXES",
    "lost",
    "read",
    "recognizes",
    "run",
    "run_pieces",
    "runtime",
    "state",
    "write",
    "write_training",
]

FOLDER = True
SUFFIXES = (".savedmodel", "")
CARRIES = ("graph", "weights", "training state", "preprocessing", "names")


def recognizes(head: bytes, path: Path) -> bool:  # noqa: ARG001 - the contract of the shelf
    """Whether a folder holds a SavedModel."""
    return (path / "saved_model.pb").is_file()


@typed
def read(path: Path, limits: Limits) -> Model:
    """The model in a folder: whole when Engram wrote it, else network and variables in canonical form.

    Raises:
        FormatError: the folder is damaged, hostile or over a limit, or holds an operation that is not read.
    """
    saved = reading.load(path, limits)
    found = carried.noted(saved.graph, limits)
    if found is not None and saved.bundle is not None:
        whole = carried.restored(found, saved.file, saved.bundle, limits)
        if whole is not None:
            return whole
    network = reading.network(saved, limits)
    source = {"format": "savedmodel", "tensorflow": str(saved.graph.meta_info_def.tensorflow_version)}
    return Model(network.graph, network.weights, network.signature, source=source)


def write(model: Model, path: Path) -> None:
    """The whole model as one serving signature, with its weights as variables of their own names.

    Raises:
        ConversionError: the model has no graph, or a node that TensorFlow has no words for.
    """
    _written(model, path, None)


def write_training(model: Model, state: TrainingState, path: Path) -> None:
    """The same, with the training state in the checkpoint.

    Raises:
        ConversionError: as ``write``.
    """
    _written(model, path, state)


def lost(model: Model) -> tuple[str, ...]:
    """What a SavedModel cannot hold of a model."""
    if model.preprocessing and not speaks(model.preprocessing):
        return (
            "the preprocessing is left out, because TensorFlow has no words for it; give it what preprocessing makes",
        )
    return ()


@typed
def state(path: Path, limits: Limits) -> TrainingState | None:
    """The training state in a folder: ours, or the slots of a Keras optimizer.

    Raises:
        FormatError: the folder is damaged.
    """
    saved = reading.load(path, limits)
    if saved.bundle is None:
        return None
    found = carried.noted(saved.graph, limits)
    made = carried.restored_state(found, saved.bundle) if found is not None else None
    return made if made is not None else training.state(saved.bundle, limits)


def run(path: Path, inputs: Mapping[str, ndarray]) -> dict[str, ndarray]:
    """What TensorFlow itself answers, every output by name.

    Raises:
        FormatError: the folder is not one that is read here, or TensorFlow refuses it.
        MissingLibrary: TensorFlow is not installed.
    """
    return run_pieces(path, [inputs])[0]


def run_pieces(path: Path, pieces: Sequence[Mapping[str, ndarray]]) -> list[dict[str, ndarray]]:
    """As ``run`` for several batches at once, in one process."""
    library = running.installed()
    ends = reading.places(reading.load(path, Limits()))
    said: dict[str, Any] = {"library": str(library), "folder": str(path.resolve()), "tags": ends.tags}
    said |= {"inputs": ends.inputs, "outputs": ends.outputs}
    given = [running.inputs_of(piece, list(ends.inputs)) for piece in pieces]
    return _worker.asked_pieces("engram.formats._tensorflow.running:answer", said, given)


def runtime() -> str:
    """Name and version of TensorFlow.

    Raises:
        MissingLibrary: it is not installed.
    """
    return running.runtime()


def _written(model: Model, path: Path, state: TrainingState | None) -> None:
    if not model.graph:
        raise ConversionError("the model is weights without a graph, which a SavedModel cannot hold; write safetensors")
    if lost(model):
        plain = Signature(declared(model.graph).inputs, model.signature.outputs)
        model = replace(model, preprocessing=b"", signature=plain)
    content = carried.enclosed(saving.graph_bytes(model), carried.note(model, state))
    saving.write(content, model.weights, path, carried.arrays(state) if state is not None else {})
