"""Asking the worker for one of torch's own files of a network."""

from __future__ import annotations

import importlib.util
import keyword
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError, MissingLibrary
from engram.formats import _carried, _onnxruntime, _worker
from engram.formats._nursery import Framework
from engram.graphs.signature import signature as declared
from engram.records import Model

__all__ = ["TORCH", "answers", "checked", "installed", "question", "runtime"]

TORCH = Framework(("torch.export._trace",))
"""What torch is asked with; exporting takes longer to import than torch itself."""


def installed(doing: str) -> None:
    """Whether torch is there.

    Args:
        doing: what it is needed for.

    Raises:
        MissingLibrary: it is not.
    """
    if importlib.util.find_spec("torch") is None:
        raise MissingLibrary(f"{doing} needs torch, which is not installed; pip install 'engram[torch]'")


def checked(model: Model, doing: str) -> None:
    """See that torch can be asked for a file of a model.

    Args:
        model: any.
        doing: what torch is needed for.

    Raises:
        ConversionError: the model is weights alone, or has a weight whose name is a word of Python's.
        MissingLibrary: torch is not installed.
    """
    if not model.graph:
        raise ConversionError("the model is weights without a graph, which is no program; write pytorch or safetensors")
    for name in model.weights:
        if any(keyword.iskeyword(part) or not part for part in name.split(".")):
            raise ConversionError(f"torch writes programs as Python, where no weight can be called {name!r}; rename it")
    installed(doing)


def runtime() -> str:
    """Name and version of torch."""
    try:
        return f"torch {version('torch')}"
    except PackageNotFoundError:
        return "torch (not installed)"


def answers(job: str, path: Path, model: Model, pieces: Sequence[Mapping[str, ndarray]]) -> list[dict[str, ndarray]]:
    """What torch answers from a file that was made a moment ago.

    Args:
        job: of the worker.
        path: of the file.
        model: as read from it.
        pieces: its inputs, for several batches.

    Raises:
        FormatError: torch cannot open or run it.
        MissingLibrary: torch is not installed.
    """
    installed(f"running {path.name}")
    ready = _onnxruntime.prepare(model, pieces)
    names = [spec.name for spec in declared(model.graph).inputs]
    given = [{str(place): piece[name] for place, name in enumerate(names)} for piece in ready]
    made = _worker.asked_pieces(job, {"path": str(path.resolve())}, given, framework=TORCH)
    outputs = [spec.name for spec in model.signature.outputs]
    return [{name: piece[str(place)] for place, name in enumerate(outputs)} for piece in made]


def question(model: Model, weights: Mapping[str, ndarray]) -> dict[str, ndarray]:
    """A model as the arrays of a question.

    Args:
        model: with a graph.
        weights: those of its weights that come along.
    """
    arrays = {f"weight:{name}": array for name, array in weights.items()}
    arrays["graph"] = np.frombuffer(model.graph, np.uint8)
    arrays["notes"] = np.frombuffer(_carried.text(model), np.uint8)
    return arrays
