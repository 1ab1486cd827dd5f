"""onnxruntime, asked in a process that may be killed: graphs here come from strangers' files.

A graph of a few bytes can ask for terabytes or turn for ever, and a native library that is handed one may crash. What
a network costs is known when it was asked once, so serving and evaluation run in the process itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from engram.formats import _parcel, _worker
from engram.graphs.compose import classes, compose
from engram.graphs.weights import attach
from engram.records import Model, Signature
from engram.runtime import onnxruntime as runtime

__all__ = ["VERSION", "predict", "prepare", "run", "stages"]

VERSION = runtime.VERSION

_Piece = Mapping[str, ndarray]
_SECONDS = 600
_MEMORY = 4 << 30
_COPIES = 4
"""Of a network's bytes, while onnxruntime opens it."""
_GRAPH, _PREPARING = "graph", "preparing"


def run(graph: bytes | Path, pieces: Sequence[_Piece]) -> list[dict[str, ndarray]]:
    """What a graph answers to several batches, every output by name.

    Args:
        graph: a serialized ModelProto with its weights inside, or a file of one with its weights beside it.
        pieces: by the graph's names; strings as object arrays.

    Raises:
        FormatError: onnxruntime cannot open the graph, or it took too long or too much.
        ShapeError: the inputs do not fit it.
    """
    return _asked("answer", graph, pieces)


def stages(model: Model, pieces: Sequence[_Piece]) -> list[dict[str, ndarray]]:
    """What the network of a model answers to raw inputs, once preprocessing has run before it by itself.

    Raises:
        FormatError: as ``run``.
        ShapeError: the inputs do not fit.
    """
    network = attach(model.graph, model.weights).SerializeToString()
    return _asked("answer", network, pieces, preparing=model.preprocessing)


def prepare(model: Model, pieces: Sequence[_Piece]) -> list[_Piece]:
    """What the network of a model takes, from raw inputs.

    Raises:
        ShapeError: the inputs do not fit.
    """
    if not model.preprocessing:
        return list(pieces)
    return [*_asked("answer", b"", pieces, preparing=model.preprocessing)]


def predict(model: Model, pieces: Sequence[_Piece]) -> list[dict[str, ndarray]]:
    """What the session that serves answers: outputs, and what it makes of the first.

    Raises:
        FormatError: onnxruntime cannot open the composed graph, or it took too long or too much.
        ShapeError: the inputs do not fit.
    """
    said = {"signature": model.signature.as_json(), "classes": list(classes(model))}
    return _asked("serve", compose(model, network_outputs=True), pieces, said=said)


def answer(said: Mapping[str, Any], arrays: Mapping[str, ndarray]) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """Run the graph, if any, on what the preprocessing, if any, makes of each piece; a job of the worker."""
    pieces = _pieces(said, arrays)
    if preparing := arrays[_PREPARING].tobytes():
        ready = runtime.Preprocessor(preparing)
        pieces = [ready.run(piece) for piece in pieces]
    return {}, _parcel.numbered(runtime.run_pieces(Path(said[_GRAPH]), pieces) if said[_GRAPH] else pieces)


def serve(said: Mapping[str, Any], arrays: Mapping[str, ndarray]) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """Ask a session; a job of the worker."""
    signature = Signature.from_json(said["signature"])
    session = runtime.Session(Path(said[_GRAPH]), signature, tuple(said["classes"]))
    answers = []
    for piece in _pieces(said, arrays):
        found = session.predict(piece)
        made = {"label": found.labels, "probabilities": found.probabilities, "value": found.values}
        answers.append({**found.outputs, **{name: array for name, array in made.items() if array is not None}})
    return {}, _parcel.numbered(answers)


def _asked(
    job: str,
    graph: bytes | Path,
    pieces: Sequence[_Piece],
    *,
    preparing: bytes = b"",
    said: Mapping[str, Any] | None = None,
) -> list[dict[str, ndarray]]:
    arrays = {**_parcel.numbered(pieces), _PREPARING: np.frombuffer(preparing, np.uint8)}
    with tempfile.TemporaryDirectory(prefix="engram-") as folder:
        path, size = Path(folder, "model.onnx"), len(preparing)
        if isinstance(graph, Path):
            path, size = graph.resolve(), size + graph.stat().st_size
        else:
            path.write_bytes(graph)
            size += len(graph)
        question = {**(said or {}), _GRAPH: str(path) if graph else "", "pieces": len(pieces)}
        bounds = _worker.Bounds(memory=_MEMORY + _COPIES * size, seconds=_SECONDS)
        _, made = _worker.asked(f"{__name__}:{job}", question, arrays, bounds=bounds)
    return [_parcel.piece(made, number) for number in range(len(pieces))]


def _pieces(said: Mapping[str, Any], arrays: Mapping[str, ndarray]) -> list[_Piece]:
    return [_parcel.piece(arrays, number) for number in range(int(said["pieces"]))]
